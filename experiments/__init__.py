"""Studies: one thin script each."""
