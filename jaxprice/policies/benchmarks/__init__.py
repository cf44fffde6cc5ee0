"""Benchmarks for other policies, from the seller who knows the market to the seller who never learns."""
