"""References to compare with: vectorised NumPy, and a plain recurrent PPO."""
