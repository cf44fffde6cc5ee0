"""Experiments: commands at the top, studies and tools in folders."""
