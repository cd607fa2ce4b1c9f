"""`python -m app.web.openapi` prints the API document; it needs no server and no database."""

from __future__ import annotations

from app.lib import strict_json
from app.web.openapi import document

print(strict_json.dumps(document(), indent=2))
