"""Fits: constants of the package, and its markets of real purchases."""
