"""Benchmarks: what other policies are measured against, from the seller who knows the market to one who never learns."""
