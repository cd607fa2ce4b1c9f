"""Forms, shared by pages and JSON routes."""
