"""People, service accounts, tokens, sessions and the second factor."""
