"""Submitting orders, deciding on them and reading them."""
