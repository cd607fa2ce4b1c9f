#!/bin/sh
# The browser tests need a real Chromium. Use the one that is here; install one where that is possible.
set -eu
bin=$1
find_chromium() { "$bin/python" -m tests.browser.chromium >/dev/null 2>&1; }

find_chromium && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "Installing Debian's chromium for the browser tests ..."
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq && { apt-get install -y -qq chromium-headless-shell || apt-get install -y -qq chromium; } >/dev/null || true
fi
find_chromium || "$bin/playwright" install chromium || true
find_chromium || {
    echo "The browser tests need Chromium: install it (Debian: apt-get install chromium), or set CHROMIUM." >&2
    exit 1
}
