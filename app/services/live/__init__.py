"""Changes as they happen, for streams and waiting requests."""
