"""The desk: one function is one use case is one transaction. It knows models and domain, never the web."""
