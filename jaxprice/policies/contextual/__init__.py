"""Contextual bandits: the seller sees features of the buyer before it posts a price of a grid."""
