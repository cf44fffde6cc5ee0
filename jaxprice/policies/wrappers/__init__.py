"""Policies of policies: a policy made of others, with the tests for change that some of them need."""
