// The API document that the server would serve, from the server's own code; no database is needed for it.

import { execFileSync } from 'node:child_process';

const PRINT = 'from app import strict_json; from app.web.openapi import document; print(strict_json.dumps(document()))';

export default function setup({ provide }) {
  provide('openapi', JSON.parse(execFileSync('.venv/bin/python', ['-c', PRINT], { encoding: 'utf8', maxBuffer: 2 ** 26 })));
}
