"""Benchmarks: what a policy is measured against, from the seller who knows the market to the one who never learns."""
