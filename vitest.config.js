import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

// jsdom and msw need Node.js 24, which `make setup` installs: where the one on the PATH is older, that one runs the tests.
if (Number.parseInt(process.versions.node, 10) < 24) {
  const node = fileURLToPath(new URL('.venv/bin/node', import.meta.url));
  const { status } = spawnSync(node, process.argv.slice(1), { stdio: 'inherit' });
  process.exit(status ?? 1);
}

/** A test that is skipped is a check that did not happen. Only whoever picks tests by name has skipped the others. */
const noneIsSkipped = {
  onInit(vitest) {
    this.picked = vitest.config.testNamePattern;
  },
  onTestRunEnd(modules) {
    const skipped = modules.flatMap((module) => [...module.children.allTests('skipped')]);
    if (this.picked || !skipped.length) return;
    for (const test of skipped) console.error(`not run: ${test.module.relativeModuleId}: ${test.fullName}`);
    process.exitCode = 1;
  },
};

export default defineConfig({
  root: import.meta.dirname,
  test: {
    include: ['tests/frontend/**/*.test.js'],
    environment: 'jsdom',
    isolate: false,   // a window for each of the files takes longer than all tests; each test leaves it as it was
    globalSetup: 'tests/frontend/openapi.js',
    reporters: ['default', noneIsSkipped],
    allowOnly: false,
    testTimeout: 30_000,   // they take milliseconds, but not on a machine that is busy with something else
    restoreMocks: true,
    unstubGlobals: true,
  },
});
