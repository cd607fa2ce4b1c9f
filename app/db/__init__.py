"""Database access: pools, transactions, migrations and the embedded PostgreSQL."""
