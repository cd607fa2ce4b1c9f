// @vitest-environment node
// The lock file: every package pinned by its hash, and no word about where it comes from.

import { readFileSync } from 'node:fs';

import { expect, test } from 'vitest';

const lock = JSON.parse(readFileSync('package-lock.json', 'utf8'));
const wanted = JSON.parse(readFileSync('package.json', 'utf8'));
const packages = Object.entries(lock.packages).filter(([path]) => path);

test('every package is pinned by a hash', () => {
  expect(packages.filter(([, { integrity }]) => !/^sha512-[\w+/]{86}==$/.test(integrity)).map(([path]) => path)).toEqual([]);
});

test('no package says from where it was fetched', () => {
  expect(packages.filter(([, about]) => 'resolved' in about).map(([path]) => path)).toEqual([]);
});

test('what is wanted is pinned exactly, and locked so', () => {
  for (const kind of ['dependencies', 'devDependencies']) {
    expect(lock.packages[''][kind]).toEqual(wanted[kind]);
    for (const [name, version] of Object.entries(wanted[kind])) {
      expect(version).toMatch(/^\d+\.\d+\.\d+$/);
      expect(lock.packages[`node_modules/${name}`].version).toBe(version);
    }
  }
});

test('to serve, Alpine with what it is made of and the library for charts are enough', () => {
  const served = packages.filter(([, { dev, optional, devOptional }]) => !dev && !optional && !devOptional).map(([path]) => path);
  expect(served.sort()).toEqual(['node_modules/@alpinejs/csp', 'node_modules/@vue/reactivity', 'node_modules/@vue/shared', 'node_modules/uplot']);
});
