"""HTTP plumbing: requests, errors, compression and static files."""
