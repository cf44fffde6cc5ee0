"""Non-stationary bandits and pricing: demand that jumps or drifts while prices are learned."""
