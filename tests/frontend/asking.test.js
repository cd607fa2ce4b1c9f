// @vitest-environment node
// What is asked before orders are decided, and what is told of those that were not decided as asked.

import { describe, expect, test } from 'vitest';

import { inBrief, question } from '../../app/static/js/questions.js';

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

describe('a question that lies open', () => {
  const order = (id, more) => ({
    id, ticker: id.toUpperCase(), side: 'buy', qty: '10', type: 'market', trading_mode: 'live', status: 'pending_approval',
    engine: 'bot', approvable: true, blocked_because: [], ...more,
  });
  const [A, B] = [order('a'), order('b')];
  const locked = order('a', { approvable: false, blocked_because: ['A is locked out'] });
  const released = { ...A, ...ended('A', 'released', 'me') };
  const desk = (waiting, recent_orders = []) => ({ waiting, state: { recent_orders } });

  test.for([
    ['approve', false, desk([A]), null],
    ['approve', false, desk([]), { said: 'The order is no longer pending.', over: true }],
    ['approve', false, desk([], [released]), { said: 'Released by me at 12:00:00 UTC.', over: true }],
    ['approve', false, desk([locked]), { said: 'Not approvable now: A is locked out', over: true }],
    ['reject', false, desk([locked]), null],
    ['reject', false, desk([], [released]), { said: 'Released by me at 12:00:00 UTC.', over: true }],
    ['reject', true, desk([A, B]), null],
    ['reject', true, desk([B], [released]), { said: '1 order is no longer pending: A was released by me.', over: false }],
    ['reject', true, desk([]), { said: '2 orders are no longer pending: A, B.', over: true }],
    ['approve', true, desk([locked, B]), { said: '1 order cannot be approved now: A.', over: false }],
    ['approve', true, desk([locked]), { said: '1 order is no longer pending: B. 1 order cannot be approved now: A.', over: true }],
  ])('%#: %s, many %s', ([choice, many, now, said]) => {
    expect(question(many ? [A, B] : [A], choice, many, 0).stale(now)).toEqual(said);
  });
});
