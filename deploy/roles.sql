-- The role that the desk runs as. It owns nothing: it adds to the record, and can neither alter nor remove anything
-- there, switch the triggers off, or drop a table. The tables belong to another role, whose URL is
-- MIGRATION_DATABASE_URL and is only used by `countersign db upgrade`.
--
--     psql -v app=countersign_app -f deploy/roles.sql "$MIGRATION_DATABASE_URL"
--
-- Run it after every `countersign db upgrade`, as the owner of the tables or an administrator. The role must be there
-- already (CREATE ROLE countersign_app LOGIN; then \password countersign_app). Running it again is harmless.

\set ON_ERROR_STOP on
\if :{?app}
\else
    \set app countersign_app
\endif

BEGIN;

-- From nothing: what an earlier version needed and this one does not is taken back.
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM :"app";
REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM :"app";
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC;
-- Up to PostgreSQL 14 everybody may make things in this schema, functions that ours would call among them.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
REVOKE CREATE ON SCHEMA public FROM :"app";
GRANT USAGE ON SCHEMA public TO :"app";

-- The record. Number and time of an event are the database's to give.
GRANT SELECT ON audit_events, audit_seals TO :"app";
GRANT INSERT (actor, action, subject, before, after, note, request_id) ON audit_events TO :"app";
GRANT INSERT ON audit_seals TO :"app";

-- The rules. The one active row of the configuration is changed, and never replaced by another.
GRANT SELECT, UPDATE (config, trading_mode, version, updated_at, updated_by, second_factor_for_live)
    ON risk_configs TO :"app";
GRANT SELECT, INSERT, UPDATE (expires_at), DELETE ON symbol_lockouts TO :"app";

-- An order stays as it was sent: only what becomes of it is written later.
GRANT SELECT, INSERT, UPDATE (status, reasons, decided_at, decided_by, decision_note, self_approved, send_by, sent_at, try_at, tries,
    venue_id, venue_words, venue_at, filled_qty, filled_avg_price, cancel_asked_at) ON orders TO :"app";

-- People and tokens: nobody is renamed or removed, and of a token no more is changed than that it was used or revoked.
GRANT SELECT, INSERT, UPDATE (owner_id, role, password_hash, password_set_by_id, second_factor_removed_by_id,
    deactivated_at, suspended_at, signed_in_at) ON accounts TO :"app";
GRANT SELECT, INSERT, UPDATE (revoked_at, last_used_at) ON tokens TO :"app";
GRANT SELECT, INSERT, UPDATE (seen_at, confirmed_at), DELETE ON web_sessions TO :"app";
GRANT SELECT, INSERT, DELETE ON sign_in_attempts, sign_in_steps, second_factor_tries TO :"app";
GRANT SELECT, INSERT, DELETE, UPDATE (sealed_secret, last_step, started_at, started_in, confirmed_at)
    ON second_factors TO :"app";
GRANT SELECT, INSERT, DELETE, UPDATE (used_at) ON recovery_codes TO :"app";

-- What people are told of, and how that went. Nothing else depends on it.
GRANT SELECT, INSERT, UPDATE, DELETE ON notices, notice_receivers TO :"app";

-- So that `serve` sees by itself that the tables are of its version.
GRANT SELECT ON alembic_version TO :"app";

-- All of this is worth nothing for a role that owns the tables, belongs to their owner, or is a superuser.
SELECT set_config('countersign.app', :'app', true);
DO $$
DECLARE
    owned text;
BEGIN
    SELECT string_agg(relname, ', ' ORDER BY relname) INTO owned FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
        AND pg_has_role(current_setting('countersign.app'), relowner, 'MEMBER');
    IF owned IS NOT NULL THEN
        RAISE EXCEPTION 'the role % has the rights of the owner of %', current_setting('countersign.app'), owned;
    END IF;
END $$;

COMMIT;
