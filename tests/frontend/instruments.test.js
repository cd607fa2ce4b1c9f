// @vitest-environment node
// The page and the server agree on which tickers name the same instrument and which lockouts block it.

import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';

import { instrumentKey, isBlockedBy, lockoutKeys } from '../../app/static/js/instruments.js';
import { isTicker } from '../../app/static/js/tickers.js';

const TABLE = JSON.parse(readFileSync(new URL('../domain/instruments.json', import.meta.url)));

test.for(TABLE)('$ticker is the same as on the server', ({ ticker, key, blocked_by: keys }) => {
  expect(instrumentKey(ticker)).toBe(key);
  expect(lockoutKeys(ticker)).toEqual(new Set(keys));
  expect(isTicker(ticker)).toBe(true);
});

describe('a lockout', () => {
  test('of an underlying or root blocks what derives from it', () => {
    expect(isBlockedBy('AAPL261218C00200000', 'AAPL')).toBe(true);
    expect(isBlockedBy('ESZ26', 'ES=F')).toBe(true);
    expect(isBlockedBy('AAPL', 'AAPL261218C00200000')).toBe(false);
  });

  test('of every symbol blocks all', () => {
    expect(isBlockedBy('BTC/USDT:USDT', '*')).toBe(true);
  });
});

test.for(['', '.', '.A', 'A B', 'A*', 'ß', '\u017fPY', 'a', 'A'.repeat(33)])('%s is not a ticker', (text) => {
  expect(isTicker(text)).toBe(false);
});
