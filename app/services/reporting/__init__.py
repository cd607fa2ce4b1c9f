"""Read-only views: the state of the desk, metrics and the last 24 hours."""
