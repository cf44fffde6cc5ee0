"""Related products: many products one after the other or in turns, each learned from those before (meta-learning)."""
