"""Wrappers: policies built from other policies, with the change detectors that some of them need."""
