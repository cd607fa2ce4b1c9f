"""Notifications for people who are elsewhere."""
