"""What orders are decided by: mode, configuration and lockouts."""
