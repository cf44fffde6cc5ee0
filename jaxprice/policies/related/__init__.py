"""Related products: many products in sequence or in turns, each learned with help from earlier ones (meta-learning)."""
