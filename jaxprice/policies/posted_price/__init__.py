"""Posted prices: bandits that know how demand depends on the price: a sale at one price tells of the others."""
