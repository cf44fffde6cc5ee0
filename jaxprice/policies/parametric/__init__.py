"""Parametric demand: a demand curve of known form, its few coefficients learned from sales."""
