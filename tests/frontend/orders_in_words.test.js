// @vitest-environment node
// Orders in words and numbers. Amounts are decimal strings, and no digit of them is ever lost.

import { describe, expect, test } from 'vitest';

import * as words from '../../app/static/js/orders.js';

const ORDER = {
  side: 'buy', ticker: 'AAPL', qty: '1500', notional: null, type: 'stop_limit', time_in_force: 'day', limit_price: '187.5', stop_price: '190',
  reference_price: null, signal_layer: null, trading_mode: 'paper', status: 'released', decided_by: 'olga', decided_at: '2026-11-22T14:03:11.000000Z', value: '281250',
};
const NOTIONAL = { ...ORDER, qty: null, notional: '5000', type: 'market', limit_price: null, stop_price: null, value: '5000' };

describe('amounts', () => {
  test.for([
    ['0', '0'], ['999', '999'], ['1000', '1,000'], ['1234567.5', '1,234,567.5'], ['0.000000001', '0.000000001'],
    ['999999999999999999.999999999', '999,999,999,999,999,999.999999999'],
  ])('%s is grouped as %s', ([amount, said]) => {
    expect(words.grouped(amount)).toBe(said);
  });

  test('of money have at least cents', () => {
    expect(['5', '5.5', '5.123', '1000'].map(words.money)).toEqual(['5.00', '5.50', '5.123', '1,000.00']);
  });

  test('that are only to be judged say what was cut off, unless nothing would be left', () => {
    expect(['5', '1234.56', '1234.567', '0.009', '0.019'].map(words.about)).toEqual(['5.00', '1,234.56', '≈ 1,234.56', '0.009', '≈ 0.01']);
  });

  test('are summed exactly', () => {
    expect(words.sum([])).toBe('0');
    expect(words.sum(['0.1', '0.2'])).toBe('0.3');
    expect(words.sum(['999999999999999999.999999999999999999', '0.000000000000000001'])).toBe('1000000000000000000');
    expect(words.sum(['100', '20'])).toBe('120');
  });
});

describe('an order', () => {
  test('is named by what it does', () => {
    expect(words.named(ORDER)).toBe('buy 1,500 AAPL');
    expect(words.named(NOTIONAL)).toBe('buy 5,000.00 notional of AAPL');
  });

  test('says what it is worth, or that nobody knows', () => {
    expect(words.worth(ORDER)).toBe('value 281,250.00');
    expect(words.worth(NOTIONAL)).toBe('notional');
    expect(words.worth({ ...ORDER, value: null })).toBe('contract size unknown');
    const market = { ...ORDER, value: null, limit_price: null, stop_price: null, reference_price: null };
    expect(words.worth(market)).toBe('value unknown');
  });

  test('says its prices', () => {
    expect(words.prices(ORDER)).toBe('stop 190.00, limit 187.50');
    expect(words.prices({ ...ORDER, type: 'limit', stop_price: null })).toBe('limit 187.50');
    expect(words.prices(NOTIONAL)).toBe('market');
  });

  test('says its terms, and where it comes from', () => {
    expect(words.terms(ORDER)).toBe('day · no ref. price');
    expect(words.terms({ ...ORDER, reference_price: '188' })).toBe('day · ref. 188.00');
    expect(words.origin(ORDER)).toBe('paper');
    expect(words.origin({ ...ORDER, signal_layer: 'macro' })).toBe('paper · macro');
  });
});

describe('what became of an order', () => {
  test.for([
    [{}, 'Released by olga at 14:03:11 UTC'],
    [{ decided_by: 'system:gate' }, 'Released by the gate at 14:03:11 UTC'],
    [{ status: 'rejected' }, 'Rejected by olga at 14:03:11 UTC'],
    [{ status: 'canceled', decided_by: 'bot' }, 'Canceled by bot at 14:03:11 UTC'],
    [{ status: 'expired', decided_by: 'system:deadline' }, 'Timed out at 14:03:11 UTC: nobody decided'],
    [{ send_by: '2026-11-22T14:22:24.000000Z' }, 'Released by olga at 14:03:11 UTC, not sent yet (until 14:22:24)'],
    [{ status: 'unknown' }, 'Released by olga at 14:03:11 UTC, now: UNKNOWN'],
    [{ status: 'venue_rejected' }, 'Released by olga at 14:03:11 UTC, now: rejected by venue'],
    [{ status: 'sending' }, 'Released by olga at 14:03:11 UTC, now: being sent'],
    [{ status: 'partially_filled' }, 'Released by olga at 14:03:11 UTC, now: partly filled'],
    [{ status: 'canceled', decided_by: 'system:dispatch' }, 'Canceled by the desk, before sending at 14:03:11 UTC'],
    [{ status: 'resting' }, 'resting by olga at 14:03:11 UTC'],
  ])('%o: %s', ([changes, said]) => {
    expect(words.verdict({ ...ORDER, ...changes })).toBe(said);
  });

  test('names the day only where it is another one', () => {
    expect(words.moment('2026-11-22T14:03:11.5Z', '2026-11-22T23:59:59Z')).toBe('14:03:11');
    expect(words.moment('2026-11-22T14:03:11.5Z', '2026-11-23T00:00:00Z')).toBe('2026-11-22 14:03');
  });

  test('is told with instants for people', () => {
    expect(words.plain('the order is rejected already, by otto at 2026-11-22T14:03:11.123456Z')).toBe('the order is rejected already, by otto at 14:03:11 UTC');
  });
});

describe('the venue’s own words', () => {
  const NO = '{"code":40310000,"message":"insufficient buying power <b>"}';

  test.for([
    [{ status: 'venue_rejected', venue_words: NO }, 'the venue: insufficient buying power <b>'],
    [{ status: 'venue_rejected', venue_words: 'status 403' }, 'the venue: status 403'],
    [{ status: 'venue_rejected', venue_words: '{"code":1}' }, 'the venue: {"code":1}'],
    [{ status: 'venue_rejected', venue_words: '{"message":5}' }, 'the venue: {"message":5}'],
    [{ status: 'venue_rejected', venue_words: 'null' }, 'the venue: null'],
    [{ status: 'venue_rejected', venue_words: null }, ''],
    [{ status: 'released', venue_words: '{"message":"too many requests"}' }, 'not sent: too many requests'],
    [{ status: 'canceled', venue_words: 'cannot be reached' }, 'not sent: cannot be reached'],
    [{ status: 'accepted', venue_words: 'new' }, ''],
    [{ status: 'released' }, ''],
  ])('%o: %s', ([changes, said]) => expect(words.venueSaid({ ...ORDER, ...changes })).toBe(said));
});

test('orders are counted, and sentences begin with a capital', () => {
  expect([0, 1, 2].map(words.count)).toEqual(['0 orders', '1 order', '2 orders']);
  expect(words.capital('buy 1 AAPL')).toBe('Buy 1 AAPL');
  expect([words.isLive(ORDER), words.isLive({ trading_mode: 'live' })]).toEqual([false, true]);
});
