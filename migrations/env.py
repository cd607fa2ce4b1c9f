"""Alembic's environment: migrations run on the connection that `app.db.migrate.upgrade` holds the lock on."""

from alembic import context
from flask import current_app


def run(connection) -> None:
    metadata = current_app.extensions["migrate"].db.metadata
    context.configure(
        connection=connection, target_metadata=metadata, compare_type=True, transaction_per_migration=True
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    with current_app.extensions["migrate"].db.engine.connect() as opened:
        run(opened)
