"""Commands for whoever works on the project: comparisons of results, generated pages."""
