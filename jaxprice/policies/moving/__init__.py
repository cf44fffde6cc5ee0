"""Non-stationary bandits and pricing: demand that jumps or drifts while the seller learns."""
