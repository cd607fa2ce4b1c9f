// @vitest-environment node
// What is asked before orders are decided, and what is told of those that were not decided as asked.

import { describe, expect, test } from 'vitest';

import { inBrief } from '../../app/static/js/questions.js';

const waits = (ticker) => ({ ticker, status: 'pending_approval', decided_at: null });
const ended = (ticker, status, by = 'olga') => ({ ticker, status, decided_by: by, decided_at: '2026-11-22T12:00:00.000000Z' });

describe('those that were not decided as asked', () => {
  test.for([
    [[ended('SYM3', 'released', 'me')], 'SYM3 was released by me.'],
    [[ended('AAPL', 'expired', 'system:deadline')], 'AAPL timed out.'],
    [[waits('AAPL')], 'AAPL; each says why.'],
    [[ended('AAPL', 'canceled'), ended('MSFT', 'rejected')], 'AAPL was canceled by olga, MSFT was rejected by olga.'],
  ])('%#', ([orders, words]) => expect(inBrief(orders)).toBe(words));

  test('are named first where they went to the market, and of many only a few', () => {
    const orders = [waits('A'), waits('B'), waits('C'), ended('D', 'rejected'), ended('E', 'released')];
    expect(inBrief(orders)).toBe('E was released by olga, A, B and 2 more; each says why.');
  });
});
