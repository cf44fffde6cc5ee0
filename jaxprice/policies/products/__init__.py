"""Several products: prices or assortments of many products at once, which compete for buyers."""
