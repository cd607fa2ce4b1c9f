// What is asked before orders are ended at the venue, and what is told of it afterwards.

import { describe, expect, test, vi } from 'vitest';

import { Problem } from '../../app/static/js/api.js';
import { filled, question, told, venueAlarm } from '../../app/static/js/venue.js';

const ORDER = {
  id: '1', side: 'buy', qty: '10', notional: null, ticker: 'AAPL', type: 'limit', limit_price: '100', stop_price: null, status: 'accepted',
  protective: false, filled_qty: '0', filled_avg_price: null,
};
const STOP = { ...ORDER, id: '2', side: 'sell', ticker: 'MSFT', type: 'stop', limit_price: null, stop_price: '90', protective: true };
const venue = (...open_orders) => ({ sending: 0, unknown: 0, open_orders, open_orders_total: open_orders.length });

describe('the question', () => {
  test('names what ends, and leaves stops to be chosen one by one', () => {
    const asked = question(venue(ORDER, STOP));
    expect(asked.title).toBe('Cancel 1 order at the venue?');
    expect(asked.text).toBe('Buy 10 AAPL. What is filled already stays filled. Trading stays halted.');
    expect(asked.choices).toEqual([{ id: '2', label: 'sell 10 MSFT, stop 90.00' }]);
  });

  test('of stops alone promises nothing else', () => {
    expect(question(venue(STOP))).toMatchObject({
      title: 'Cancel protective stops at the venue?', text: 'Nothing else is open there. Trading stays halted.',
    });
  });

  test('says what is not listed', () => {
    expect(question({ ...venue(ORDER), open_orders_total: 503 }).text).toContain('502 orders more are not listed here');
  });
});

describe('what is told afterwards', () => {
  test.for([
    [[], 'Nothing was to be canceled at the venue.'],
    [[{ ...ORDER, status: 'venue_canceled', ended: true }], '1 order ended at the venue (buy 10 AAPL: canceled at venue).'],
    [[{ ...ORDER, status: 'filled', ended: true }, { ...STOP, ended: false }],
      '1 order ended at the venue (buy 10 AAPL: filled). 1 order not confirmed yet: the venue is asked again until it ends.'],
    [[{ ...ORDER, ended: false }, { ...STOP, ended: false }], '2 orders not confirmed yet: the venue is asked again until they end.'],
  ])('%#', ([canceled, said]) => expect(told(canceled)).toBe(said));

  test.for([
    [{ filled_qty: '0' }, 'nothing filled'],
    [{ filled_qty: null }, 'nothing filled'],
    [{ filled_qty: '1200.5', filled_avg_price: '99.5' }, '1,200.5 filled at 99.50'],
    [{ filled_qty: '4', filled_avg_price: null }, '4 filled'],
  ])('%o: %s', ([changes, said]) => expect(filled({ ...ORDER, ...changes })).toBe(said));
});

describe('the alarm', () => {
  const alarm = (state, { api, ask } = {}) => Object.assign(venueAlarm({ api, ask })(), {
    $store: { desk: { state, refused: vi.fn(), announce: vi.fn() } },
  });
  const HALTED = { trading_mode: 'disabled', venue: venue(ORDER, STOP) };

  test.for([
    [{ trading_mode: 'paper', venue: venue(ORDER) }, true],
    [{ trading_mode: 'disabled', venue: venue() }, true],
    [{ trading_mode: 'disabled' }, true],
    [{ trading_mode: 'disabled', venue: { sending: null, unknown: null, open_orders: null, open_orders_total: null } }, true],
    [HALTED, false],
    [{ trading_mode: 'disabled', venue: { ...venue(), sending: 1 } }, false],
    [{ trading_mode: 'paper', venue: { ...venue(), sending: 1, unknown: 1 } }, false],
  ])('%#: %o', ([state, none]) => expect(alarm(state).none).toBe(none));

  test('cancels what was chosen, and says what came of it', async () => {
    const api = { cancelAtVenue: vi.fn(async () => ({ canceled_orders: [{ ...ORDER, status: 'venue_canceled', ended: true }] })) };
    const shown = alarm(HALTED, { api, ask: async () => ({ reason: '', chosen: ['2'] }) });
    await shown.cancelAll();
    expect(api.cancelAtVenue).toHaveBeenCalledExactlyOnceWith(['2']);
    expect(shown.$store.desk.announce).toHaveBeenCalledWith(['1 order ended at the venue (buy 10 AAPL: canceled at venue).']);
  });

  test('does nothing upon no', async () => {
    const api = { cancelAtVenue: vi.fn() };
    await alarm(HALTED, { api, ask: async () => null }).cancelAll();
    expect(api.cancelAtVenue).not.toHaveBeenCalled();
  });

  test('says what went wrong', async () => {
    const api = { cancelAtVenue: async () => { throw new Problem({ code: 'no_answer', detail: 'No answer from the server.' }); } };
    const shown = alarm(HALTED, { api, ask: async () => ({ reason: '' }) });
    await shown.cancelAll();
    expect(shown.problem).toBe('Not confirmed: No answer from the server.');
    expect(shown.none).toBe(false);
  });
});
