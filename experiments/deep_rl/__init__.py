"""The command `deep_rl`: deep reinforcement learning against the exact optimum of six markets."""
