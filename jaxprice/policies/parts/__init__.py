"""Parts that serve several families: signals and sums, posteriors, features of prices, linear and logistic models."""
