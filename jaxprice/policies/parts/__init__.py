"""What policies of several families share: signals and sums, posteriors, features of prices, linear and logistic models."""
