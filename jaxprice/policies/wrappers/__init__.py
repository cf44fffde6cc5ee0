"""Policies built from other policies, and the change detectors that some of them need."""
