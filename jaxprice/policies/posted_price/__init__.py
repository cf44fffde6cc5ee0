"""Posted prices: bandits that use the dependence of demand on the price, so a sale at one price is data for the others."""
