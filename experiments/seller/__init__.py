"""The seller for all markets: its mixture of training markets, its training, and its score against every other policy."""
