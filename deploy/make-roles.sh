#!/bin/sh
# The two roles of a new database and the database itself: one role owns the tables, the desk runs as the other.
# The image of PostgreSQL runs this once, when its data folder is made; anybody else may, as its administrator.
set -eu
psql --no-psqlrc --set=ON_ERROR_STOP=1 --quiet --username="${POSTGRES_USER:-postgres}" --dbname=postgres <<'SQL'
\getenv owner_password OWNER_PASSWORD
\getenv app_password APP_PASSWORD
CREATE ROLE countersign_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE countersign_app LOGIN PASSWORD :'app_password';
CREATE DATABASE countersign OWNER countersign_owner ENCODING 'UTF8' TEMPLATE template0;
REVOKE ALL ON DATABASE countersign FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE countersign TO countersign_owner;
GRANT CONNECT ON DATABASE countersign TO countersign_app;
SQL
