"""What several policies share: signals and sums, posteriors, features and models, fluid programmes, maximum likelihood."""
