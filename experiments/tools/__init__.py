"""Commands for developers of the project: comparison of results, generated pages."""
