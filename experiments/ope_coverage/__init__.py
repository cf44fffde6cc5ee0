"""How often the intervals of off-policy evaluation hold, in markets whose values are known; see `study`."""
