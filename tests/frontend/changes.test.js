// @vitest-environment node
// What became different, in sentences: for those who see the page and for those who hear it.

import { describe, expect, test } from 'vitest';

import { describeChanges } from '../../app/static/js/changes.js';

const NOW = Date.parse('2026-11-22T12:00:00Z');
const STATE = {
  trading_mode: 'paper', config_error: null, signal_layers: { macro: true, competitive: true },
  approval_config: { auto_approve_paper: true, require_approval_for_live: true, approval_timeout_minutes: 30 },
  lockouts: [], approvals: [], recent_orders: [], unseen: 0,
};

const lock = (ticker, end = '2026-11-22T13:00:00.000000Z') => ({ id: `lock-${ticker}`, ticker, expires_at: end });
const order = (id, changes) => ({ id, side: 'buy', ticker: 'AAPL', qty: '10', notional: null, expires_at: '2026-11-22T12:30:00.000000Z', ...changes });
const orders = (...ids) => ids.map((id) => order(id));

const said = (before, after) => describeChanges({ ...STATE, ...before }, { ...STATE, ...after }, NOW);

describe('changes in words', () => {
  test('there are none where nothing changed', () => {
    const same = { lockouts: [lock('AAPL')], approvals: orders('1') };
    expect(said(same, structuredClone(same))).toEqual([]);
  });

  test.for([
    [{ trading_mode: 'disabled' }, 'The trading mode is now HALTED.'],
    [{ trading_mode: 'live' }, 'The trading mode is now LIVE.'],
    [{ signal_layers: { macro: false, competitive: true } }, 'The macro signal layer is now disabled.'],
    [{ approval_config: { ...STATE.approval_config, auto_approve_paper: false } }, 'Paper orders now require approval.'],
    [{ approval_config: { ...STATE.approval_config, require_approval_for_live: false } }, 'Live orders are now auto-approved.'],
    [{ approval_config: { ...STATE.approval_config, approval_timeout_minutes: 1 } }, 'The approval timeout is now 1 minute.'],
    [{ config_error: { key: 'signal_layers', detail: 'must be an object' } }, 'The configuration cannot be read: the gate blocks every order.'],
  ])('%o: %s', ([after, sentence]) => {
    expect(said({}, after)).toEqual([sentence]);
  });

  test('a configuration that can be read again is told, and not every setting that came back', () => {
    const broken = { config_error: { key: 'x', detail: 'y' }, approval_config: null, signal_layers: null };
    expect(said(broken, {})).toEqual(['The configuration can be read again.']);
  });
});

describe('lockouts in words', () => {
  test('one that came, moved, ended or was removed', () => {
    expect(said({}, { lockouts: [lock('AAPL')] })).toEqual(['AAPL is locked out until 13:00:00 UTC.']);
    expect(said({ lockouts: [lock('AAPL')] }, { lockouts: [lock('AAPL', '2026-11-23T01:00:00.000000Z')] })).toEqual(['The lockout of AAPL now ends at 2026-11-23 01:00 UTC.']);
    expect(said({ lockouts: [lock('AAPL')] }, {})).toEqual(['The lockout of AAPL was removed.']);
    expect(said({ lockouts: [lock('AAPL', '2026-11-22T12:00:00.000000Z')] }, {})).toEqual(['The lockout of AAPL has ended.']);
  });

  test('that of every symbol is called so', () => {
    expect(said({}, { lockouts: [lock('*')] })).toEqual(['Every symbol is locked out until 13:00:00 UTC.']);
    expect(said({ lockouts: [lock('*')] }, {})).toEqual(['The lockout of every symbol was removed.']);
  });

  test('many at once are counted', () => {
    expect(said({}, { lockouts: ['A', 'B', 'C', 'D'].map((ticker) => lock(ticker)) })).toEqual(['4 lockouts changed.']);
  });
});

describe('orders that wait in words', () => {
  test('one that came in', () => {
    expect(said({}, { approvals: orders('1') })).toEqual(['Buy 10 AAPL waits for approval.']);
  });

  test('one that was decided, and by whom', () => {
    const decided = (status, by) => ({ recent_orders: [order('1', { status, decided_by: by })] });
    expect(said({ approvals: orders('1') }, decided('released', 'otto'))).toEqual(['Buy 10 AAPL: released by otto.']);
    expect(said({ approvals: orders('1') }, decided('canceled', 'bot'))).toEqual(['Buy 10 AAPL: canceled by bot.']);
  });

  test('whoever released it is not blamed for what the venue made of it', () => {
    const decided = (status) => ({ recent_orders: [order('1', { status, decided_by: 'olga' })] });
    expect(said({ approvals: orders('1') }, decided('venue_rejected'))).toEqual(['Buy 10 AAPL: released by olga; now: rejected by venue.']);
    expect(said({ approvals: orders('1') }, decided('sending'))).toEqual(['Buy 10 AAPL: released by olga; now: being sent.']);
  });

  test('one that timed out, written down or not', () => {
    const late = { approvals: [order('1', { expires_at: '2026-11-22T12:00:00.000000Z' })] };
    expect(said(late, {})).toEqual(['Buy 10 AAPL: timed out.']);
    expect(said(late, { recent_orders: [order('1', { status: 'expired', decided_by: 'system:deadline' })] })).toEqual(['Buy 10 AAPL: timed out.']);
  });

  test('one of which nothing is known', () => {
    expect(said({ approvals: orders('1') }, {})).toEqual(['Buy 10 AAPL: no longer pending.']);
  });

  test('many at once are counted', () => {
    expect(said({}, { approvals: orders('1', '2', '3', '4') })).toEqual(['4 orders came in that wait for approval.']);
    expect(said({ approvals: orders('1', '2', '3', '4') }, {})).toEqual(['4 orders are no longer pending.']);
  });

  test('where more wait than are listed, one that merely moved up is no news', () => {
    expect(said({ approvals: orders('1'), unseen: 1 }, { approvals: orders('2'), unseen: 0 })).toEqual(['Buy 10 AAPL: no longer pending.']);
    expect(said({ approvals: orders('1'), unseen: 1 }, { approvals: orders('1'), unseen: 3 })).toEqual(['2 more wait for approval.']);
  });
});

describe('orders at the venue in words', () => {
  const late = order('1', { status: 'canceled', decided_by: 'system:dispatch', reasons: [{ code: 'send_deadline', detail: '' }] });
  const sentence = 'Buy 10 AAPL was released, but could not be sent in time: it is not sent any more.';

  test('a released one that could not be sent in time is told once', () => {
    expect(said({ recent_orders: [order('1', { status: 'released' })] }, { recent_orders: [late] })).toEqual([sentence]);
    expect(said({}, { recent_orders: [late] })).toEqual([sentence]);
    expect(said({ recent_orders: [late] }, { recent_orders: [late] })).toEqual([]);
    expect(said({}, { recent_orders: [{ ...late, reasons: [{ code: 'mode_changed', detail: '' }] }] })).toEqual([]);
  });

  test('a halt says how many it leaves open', () => {
    const after = (total) => said({}, { trading_mode: 'disabled', venue: { open_orders_total: total } });
    expect(after(6)).toEqual(['The trading mode is now HALTED.', '6 orders are still open at the venue.']);
    expect(after(1)).toEqual(['The trading mode is now HALTED.', '1 order is still open at the venue.']);
    expect(after(0)).toEqual(['The trading mode is now HALTED.']);
    expect(said({ trading_mode: 'disabled' }, { trading_mode: 'paper', venue: { open_orders_total: 6 } })).toEqual(['The trading mode is now PAPER.']);
  });
});
