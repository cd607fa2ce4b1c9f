// The API document that the server would serve, from the server's own code; no database is needed for it.

import { execFileSync } from 'node:child_process';

export default function setup({ provide }) {
  provide('openapi', JSON.parse(execFileSync('.venv/bin/python', ['-m', 'app.web.openapi'], { encoding: 'utf8', maxBuffer: 2 ** 26 })));
}
