#!/bin/sh
# The pooler tests need a real PgBouncer. Use the one that is here; install one where that is possible.
set -eu
find_pgbouncer() { PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v pgbouncer >/dev/null 2>&1; }

find_pgbouncer && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "Installing Debian's pgbouncer for the pooler tests ..."
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq && apt-get install -y -qq --no-install-recommends pgbouncer >/dev/null || true
fi
find_pgbouncer || echo "PgBouncer is not installed: the pooler tests are skipped (Debian: apt-get install pgbouncer)." >&2
