"""Helpers that know nothing of the application."""
