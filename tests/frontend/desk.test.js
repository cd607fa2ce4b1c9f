// What the page knows of the desk: how changes are told, and when it is out of date.

import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { createClock } from '../../app/static/js/clock.js';
import { createDesk } from '../../app/static/js/desk.js';

const START = Date.parse('2026-11-22T14:00:00Z');
const at = (ms) => new Date(START + ms).toISOString();

const order = (id, ticker, more = {}) => ({
  id, ticker, side: 'buy', qty: '10', notional: null, status: 'pending_approval', expires_at: at(1_800_000), ...more,
});
const state = (...approvals) => ({
  trading_mode: 'paper', approval_config: {}, signal_layers: {}, config_error: null, lockouts: [], lockouts_total: 0,
  approvals, approvals_total: approvals.length, approvals_by_ticker: {}, recent_orders: [], state_version: 1, server_time: at(0),
});

let tell, follows, arrived;

function start(initial = state()) {
  const listed = ({ lockouts: items, lockouts_total: total }) => ({ items, total });
  let take;
  const api = {
    seed: vi.fn(),
    follow: (key, taking) => {
      take = taking;
      take(listed(initial));
    },
    watch: (key, watcher) => {
      tell = (event) => {
        if (event.data) take(listed(event.data));
        watcher(event);
      };
    },
  };
  const desk = createDesk({ initial: { state: initial }, api, clock: createClock(at(0)), updates: { start: (to) => { follows = to; } }, arrived });
  desk.start();
  return desk;
}
const read = (data) => tell({ data, sent: Date.now(), received: Date.now() });

beforeEach(() => {
  vi.useFakeTimers({ now: START });
  arrived = vi.fn();
});
afterEach(() => vi.useRealTimers());

test('a change is told at once, and those that follow within a second together', () => {
  const desk = start();
  read(state(order('1', 'AAPL')));
  expect(desk.notice).toBe('Buy 10 AAPL waits for approval.');
  read(state(order('1', 'AAPL'), order('2', 'MSFT')));
  read({ ...state(order('1', 'AAPL'), order('2', 'MSFT')), trading_mode: 'live' });
  expect(desk.notice).toBe('Buy 10 AAPL waits for approval.');
  vi.advanceTimersByTime(1000);
  expect(desk.notice).toBe('The trading mode is now LIVE. Buy 10 MSFT waits for approval.');
});

test('what an act has to say comes at once, and takes with it what was still to be told, or its place', () => {
  const desk = start();
  read(state(order('1', 'AAPL')));
  read(state(order('1', 'AAPL'), order('2', 'MSFT')));
  desk.announce(['Look again.']);
  expect(desk.notice).toBe('Look again. Buy 10 MSFT waits for approval.');
  read(state());
  desk.announce(['2 orders approved.'], { instead: true });
  vi.advanceTimersByTime(1000);
  expect(desk.notice).toBe('2 orders approved.');
});

test('orders that come in are passed on, with how many of them there are', () => {
  start(state(order('1', 'AAPL')));
  read(state(order('1', 'AAPL'), order('2', 'MSFT')));
  expect(arrived.mock.calls).toEqual([[{ listed: [expect.objectContaining({ id: '2' })], number: 1 }]]);
  read({ ...state(order('2', 'MSFT'), order('3', 'TSLA')), approvals_total: 7 });   // more than are listed: some merely moved up
  expect(arrived).toHaveBeenLastCalledWith({ listed: [], number: 5 });
});

test('it is stale when a read fails, and when nothing confirmed it for 15 seconds; a beat confirms it', () => {
  const desk = start();
  tell({ problem: { status: 0 } });
  expect(desk.stale).toBe(true);
  read(state());
  expect(desk.stale).toBe(false);
  vi.advanceTimersByTime(14_000);
  follows.confirmed();
  vi.advanceTimersByTime(14_000);
  expect([desk.stale, desk.lastGood]).toEqual([false, '14:00:14']);
  vi.advanceTimersByTime(2000);
  expect(desk.stale).toBe(true);
});

test('a page that polls instead says so and is not stale', () => {
  const desk = start();
  follows.polling(true);
  expect([desk.updatesLost, desk.stale]).toEqual([true, false]);
  tell({ problem: { status: 401 } });
  expect([desk.updatesLost, desk.signedOut]).toEqual([false, true]);
});

test('what waits of a symbol is counted however it is spelt, as a lockout would hold it', () => {
  const listed = [order('1', 'BTC/USD'), order('2', 'BTCUSD'), order('3', 'BRK.B')];
  const desk = start({ ...state(...listed), approvals_total: 5, approvals_by_ticker: { 'BTC/USD': 2, BTCUSD: 1, 'BRK.B': 1, 'BRK/B': 1 } });
  expect(desk.waitingOf('BTC-USD')).toBe(3);
  expect(desk.waitingOf('BRKB')).toBe(2);
  expect(desk.waitingOf('BRK')).toBe(0);
  expect(desk.waitingOf('BRKB', true)).toBe(0);
});

test.each([
  ['database_unavailable', 'The database is down.', 'Until it is back nothing is released, and nothing can be changed;'],
  ['no_answer', 'Live updates lost: the desk cannot be reached.', 'Trying again;'],
  ['busy', 'Live updates lost.', 'Trying again;'],
])('what keeps it from knowing is said by its kind: %s', (code, name, now) => {
  const desk = start();
  tell({ problem: { status: code === 'no_answer' ? 0 : 503, code } });
  expect([desk.lost, desk.trouble.name, desk.trouble.now]).toEqual([true, name, now]);
  expect(desk.noDatabase).toBe(code === 'database_unavailable');
  read(state());
  expect([desk.lost, desk.noDatabase]).toEqual([false, false]);
});

test('the age of what is shown counts for as long as nothing newer comes', () => {
  const desk = start();
  expect(desk.age).toBe('');
  tell({ problem: { status: 503, code: 'database_unavailable' } });
  expect(desk.age).toBe('0s');
  vi.advanceTimersByTime(75_000);
  expect(desk.age).toBe('1m 15s');
  read(state());
  vi.advanceTimersByTime(1000);
  expect(desk.age).toBe('');
});

test('reading now and then is no trouble, and says how old it is', () => {
  const desk = start();
  vi.advanceTimersByTime(2000);
  follows.polling(true);
  expect([desk.lost, desk.trouble.name, desk.trouble.now, desk.age]).toEqual([false, 'Live updates lost.', 'Reading every 5 seconds instead;', '2s']);
});
