"""The Alpaca-compatible API under /v2."""
