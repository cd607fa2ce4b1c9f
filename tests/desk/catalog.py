"""What a database is made of, as its own catalogs tell it."""

from __future__ import annotations

from sqlalchemy.engine import URL

from app.server.background import LEADER_LOCK
from tests.database import connect

# Of this database alone: others use the same server.
# The keeper's leader holds one of its own for as long as it leads.
ADVISORY_LOCKS = f"""
    SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database
    WHERE locktype = 'advisory' AND datname = current_database()
      AND (classid::bigint << 32) + objid::bigint <> {LEADER_LOCK}
"""

# The table in which Alembic remembers what it did is not ours.
QUERIES = {
    "tables": """
        SELECT c.relname, c.relkind, c.relpersistence, c.relrowsecurity, c.reloptions
        FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
    """,
    "columns": """
        SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
            a.attgenerated, pg_get_expr(d.adbin, d.adrelid), a.attcollation::regcollation::text
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0
            AND NOT a.attisdropped
    """,
    "constraints": """
        SELECT conrelid::regclass::text, conname, contype, convalidated, pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    """,
    "indexes": """
        SELECT indrelid::regclass::text, indexrelid::regclass::text, indisunique, indisvalid,
            pg_get_indexdef(indexrelid), pg_get_expr(indpred, indrelid)
        FROM pg_index WHERE indrelid IN
            (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)
    """,
    "triggers": """
        SELECT tgrelid::regclass::text, tgname, tgenabled, pg_get_triggerdef(oid)
        FROM pg_trigger WHERE NOT tgisinternal
    """,
    "functions": """
        SELECT proname, pg_get_function_arguments(oid), pg_get_function_result(oid), provolatile, prosecdef,
            proconfig, regexp_replace(btrim(prosrc, E' \\n'), '\\s+', ' ', 'g')
        FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    """,
}


def catalog(url: URL) -> dict[str, list[str]]:
    """Every object by its kind, each as one line."""
    with connect(url) as connection:
        return {
            kind: sorted(
                line
                for row in connection.execute(query).fetchall()
                if not (line := " | ".join(map(str, row))).startswith("alembic_version")
            )
            for kind, query in QUERIES.items()
        }
