"""Authentication, permissions, rate limits and security headers."""
