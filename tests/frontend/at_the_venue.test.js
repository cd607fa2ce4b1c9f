// What is asked before orders are ended at the venue, what is told of it afterwards, and what the alarm says.

import { beforeEach, describe, expect, test, vi } from 'vitest';

import { Problem } from '../../app/static/js/api.js';
import { venueAlarm } from '../../app/static/js/venue.js';
import { asked, atVenue, filled, notOpen, question, told } from '../../app/static/js/venue_words.js';
import { answerBy, it } from './serving.js';

const ORDER = {
  id: '1', side: 'buy', qty: '10', notional: null, ticker: 'AAPL', type: 'limit', limit_price: '100', stop_price: null, status: 'accepted',
  protective: false, filled_qty: '0', filled_avg_price: null, cancel_asked_at: null, venue_order_id: 'cs-11111111-2222-4333-8444-555555555555',
};
const STOP = { ...ORDER, id: '2', side: 'sell', ticker: 'MSFT', type: 'stop', limit_price: null, stop_price: '90', protective: true };
const LOST = { ...ORDER, id: '3', ticker: 'LOST', status: 'unknown', venue_order_id: 'cs-3f2a91c0-2222-4333-8444-555555555555' };
const SENDING = { ...ORDER, id: '4', ticker: 'GOOG', status: 'sending' };
const ASKED = { cancel_asked_at: '2026-11-22T11:16:28.123456Z' };
const NOW = '2026-11-22T11:20:00.000000Z';

/** What the server says of these orders. */
const venue = (...orders) => {
  const open = orders.filter(({ status }) => !['unknown', 'sending'].includes(status));
  const way = orders.filter((order) => !open.includes(order));
  return {
    sending: way.length, unknown: way.filter(({ status }) => status === 'unknown').length, on_the_way: way,
    open_orders: open, open_orders_total: open.length, silent_since: null,
  };
};
const CANNOT_TELL = { sending: null, unknown: null, on_the_way: null, open_orders: null, open_orders_total: null, silent_since: null };
const desk = (mode, ...orders) => ({ trading_mode: mode, venue: venue(...orders), recent_orders: [], server_time: NOW });

describe('the question', () => {
  test('names what ends, and leaves stops to be chosen one by one', () => {
    const words = question(venue(ORDER, STOP));
    expect(words.title).toBe('Cancel 1 order at the venue?');
    expect(words.text).toBe('Buy 10 AAPL. What is filled already stays filled. Trading stays halted.');
    expect(words.choices).toEqual([{ id: '2', label: 'sell 10 MSFT, stop 90.00' }]);
    expect(words.choicesTitle).toBe('Stops stay unless chosen; a stop that opens a position opens it even while halted.');
  });

  test('has a no that cannot be taken for an act', () => {
    expect(question(venue(ORDER))).toMatchObject({ act: 'Cancel at the venue', dismiss: 'Leave them open' });
  });

  test('of stops alone promises nothing else', () => {
    expect(question(venue(STOP))).toMatchObject({
      title: 'Cancel stop orders at the venue?', text: 'Nothing else is open there. Trading stays halted.',
    });
  });

  test('says what is not listed', () => {
    expect(question({ ...venue(ORDER), open_orders_total: 503 }).text).toContain('502 orders more are not listed here');
    expect(question({ ...venue(SENDING), sending: 2 }).text).toContain('1 order more is not listed here');
  });

  test('names what may be there too, and lets stops among it be chosen', () => {
    const words = question(venue(ORDER, LOST, SENDING, { ...STOP, id: '5', status: 'unknown' }));
    expect(words.title).toBe('Cancel 3 orders at the venue?');
    expect(words.text).toContain('Buy 10 AAPL and 2 that may be there: buy 10 LOST, buy 10 GOOG.');
    expect(words.choices).toEqual([{ id: '5', label: 'sell 10 MSFT, stop 90.00 (may be there)' }]);
  });

  test('is asked also where everything only may be there', () => {
    expect(question(venue(LOST)).text).toContain('1 order that may be there: buy 10 LOST.');
  });

  test.for([
    [{ filled_qty: '4' }, 'Buy the open 6 of 10 AAPL.'],
    [{ qty: '0.3', filled_qty: '0.1' }, 'Buy the open 0.2 of 0.3 AAPL.'],
    [{ qty: null, notional: '5000', filled_qty: '4' }, 'Buy 5,000.00 notional of AAPL, partly filled.'],
  ])('of an order of which some is filled names what is open: %o', ([changes, said]) => {
    expect(question(venue({ ...ORDER, status: 'partially_filled', ...changes })).text).toContain(said);
  });
});

describe('a question that lies open', () => {
  const overtaken = (...orders) => question(venue(ORDER, STOP)).stale({ state: desk('disabled', ...orders) });

  test.for([
    ['is as good as before while the same orders are there', [STOP, { ...ORDER, filled_qty: '4', status: 'partially_filled' }], null],
    ['says what is open by now', [ORDER, { ...ORDER, id: '6', ticker: 'IBM' }, STOP], { said: 'By now 3 orders are open: buy 10 AAPL, buy 10 IBM, sell 10 MSFT.' }],
    ['says what may be', [LOST], { said: 'By now no order is open, but 1 may be there: buy 10 LOST.' }],
    ['says both', [ORDER, LOST], { said: 'By now 1 order is open: buy 10 AAPL, and 1 may be there: buy 10 LOST.' }],
    ['tells of a stop that came', [ORDER, STOP, { ...STOP, id: '7', ticker: 'IBM' }],
      { said: 'By now 3 orders are open: buy 10 AAPL, sell 10 MSFT, sell 10 IBM. A stop that came since stays: ask again to choose it.' }],
    ['is over where nothing is left', [], { said: 'By now no order is open at the venue.', over: true }],
  ])('%s', ([, orders, said]) => expect(overtaken(...orders)).toEqual(said));

  test('tells one order from another, though there are as many', () => {
    expect(overtaken(ORDER, { ...STOP, id: '9' }).said).toContain('By now 2 orders are open');
  });

  test('is over where trading goes on', () => {
    const state = desk('paper', ORDER, STOP);
    expect(question(venue(ORDER, STOP)).stale({ state })).toMatchObject({ over: true });
  });
});

describe('what is told afterwards', () => {
  const ended = (order, status) => ({ ...order, status, ended: true });

  test.for([
    [[], undefined, 'Nothing was to be canceled at the venue.'],
    [[ended(ORDER, 'venue_canceled')], [], '1 order ended at the venue (buy 10 AAPL: canceled at venue).'],
    [[ended(ORDER, 'filled'), { ...STOP, ended: false }], [],
      '1 order ended at the venue (buy 10 AAPL: filled). The end of 1 order was asked for: the list tells what becomes of it.'],
    [[{ ...ORDER, ended: false }, { ...STOP, ended: false }], [], 'The end of 2 orders was asked for: the list tells what becomes of them.'],
    [[ended(ORDER, 'filled')], ['2'], '1 order ended at the venue (buy 10 AAPL: filled). Of the stops that you chose 1 is not open any more.'],
  ])('%#', ([canceled, gone, said]) => expect(told({ canceled_orders: canceled, not_open: gone })).toBe(said));
});

describe('a row', () => {
  test.for([
    [{ filled_qty: '0' }, 'nothing filled'],
    [{ filled_qty: null }, 'nothing filled'],
    [{ filled_qty: '1200.5', filled_avg_price: '99.5' }, '1,200.5 filled at 99.50'],
    [{ filled_qty: '4', filled_avg_price: null }, '4 filled'],
    [{ status: 'sending' }, 'no answer yet'],
    [{ status: 'unknown' }, 'search for it at the broker'],
  ])('%o: %s', ([changes, said]) => expect(filled({ ...ORDER, ...changes })).toBe(said));

  test('tells an order whose end was asked for from one that was left', () => {
    expect(asked(ORDER, NOW)).toBe('');
    expect(asked({ ...ORDER, ...ASKED }, NOW)).toBe('Cancel asked 11:16:28');
  });
});

describe('the head of the list', () => {
  const head = (state) => notOpen({ venue: atVenue(state), state });
  const unsent = { ...ORDER, status: 'released', send_by: '2026-11-22T11:22:24.000000Z' };

  test.for([
    [desk('paper'), ''],
    [desk('paper', LOST, SENDING), '1 order UNKNOWN · 1 order on the way there'],
    [{ ...desk('paper'), recent_orders: [unsent, { ...unsent, send_by: undefined }, { ...unsent, status: 'filled' }] }, '1 order released, not sent yet'],
    [{ ...desk('paper'), venue: { ...venue(), silent_since: '2026-11-22T10:52:03.000000Z' } }, 'As of 10:52:03 UTC; the venue has not answered since'],
    [{ ...desk('paper'), venue: CANNOT_TELL }, 'What is there cannot be told now'],
  ])('%#', ([state, said]) => expect(head(state)).toBe(said));
});

describe('the alarm', () => {
  const alarm = (state, { api, ask } = {}) => Object.defineProperties(
    { $store: { desk: { state, refused: vi.fn(), announce: vi.fn() } } },
    Object.getOwnPropertyDescriptors(venueAlarm({ api, ask })()),
  );
  const HALTED = desk('disabled', ORDER, STOP);

  beforeEach(() => { document.body.innerHTML = '<h2 id="venue-title" tabindex="-1"></h2>'; });

  test.for([
    [desk('paper', ORDER), true],
    [desk('disabled'), true],
    [{ ...desk('disabled'), venue: undefined }, true],
    [{ ...desk('disabled'), venue: CANNOT_TELL }, false],
    [{ ...HALTED, venue: { ...HALTED.venue, untold: true } }, false],
    [HALTED, false],
    [desk('disabled', SENDING), false],
    [desk('paper', SENDING), true],
    [desk('paper', LOST), false],
    [{ ...desk('paper', ORDER), venue: { ...venue(ORDER), silent_since: NOW } }, false],
    [{ ...desk('paper'), venue: { ...venue(), silent_since: NOW } }, true],
  ])('%#: %o', ([state, none]) => expect(alarm(state).none).toBe(none));

  test('names what is unknown, with what the broker knows it by', () => {
    expect(alarm(desk('paper', LOST)).unknown)
      .toBe('It is UNKNOWN whether 1 order is at the venue: buy 10 LOST (cs-3f2a91c0…): search for it at the broker. The desk goes on asking.');
  });

  test('names six of many', () => {
    const lost = Array.from({ length: 8 }, (_, n) => ({ ...LOST, id: `lost-${n}`, ticker: `T${n}` }));
    const { unknown } = alarm(desk('paper', ...lost));
    expect(unknown).toContain('whether 8 orders are at the venue: buy 10 T0 (cs-3f2a91c0…)');
    expect(unknown).toContain('buy 10 T5 (cs-3f2a91c0…) and 2 more: search for them');
  });

  test('says in one sentence that something is left, and apart from it how much', () => {
    const shown = alarm(desk('disabled', { ...ORDER, ...ASKED }, { ...ORDER, ...ASKED, id: '8' }, STOP, SENDING));
    expect(shown.left).toBe('Trading is halted, but orders are still open at the venue.');
    expect(shown.counts).toBe('3 open: 2 of them asked to be canceled, not confirmed; 1 stop order was left. 1 on the way there.');
    expect(alarm(HALTED).counts).toBe('2 open: 1 stop order.');
  });

  test('is quieter where only stops are left', () => {
    const shown = alarm(desk('disabled', STOP, { ...STOP, id: '9', ...ASKED }));
    expect([shown.left, shown.counts]).toEqual(['Only stop orders are left at the venue.', '2 open: 1 of them asked to be canceled, not confirmed.']);
    expect([shown.mild, shown.act]).toEqual([true, 'Choose stops to cancel…']);
    expect([alarm(HALTED).mild, alarm(HALTED).act]).toEqual([false, 'Cancel them there…']);
    expect(alarm(desk('disabled', STOP, LOST)).mild).toBe(false);
  });

  test.for([
    [desk('disabled', ORDER), true], [desk('disabled', SENDING), true], [desk('disabled', LOST), true],
    [desk('disabled'), false], [desk('paper', LOST), false],
  ])('offers the second step also where everything is on its way or unknown: %#', ([state, may]) => expect(alarm(state).mayCancel).toBe(may));

  test('says since when the venue is silent', () => {
    const state = { ...HALTED, venue: { ...HALTED.venue, silent_since: '2026-11-22T10:52:03.000000Z' } };
    expect(alarm(state).silent).toBe('What is known is as of 10:52:03 UTC; the venue has not answered since.');
  });

  test('cancels what was chosen, says that it asks, and what came of it', async () => {
    let shown;
    const cancelAtVenue = vi.fn(async () => {
      expect(shown.act).toBe('Asking the venue…');
      return { canceled_orders: [{ ...ORDER, status: 'venue_canceled', ended: true }], not_open: [] };
    });
    shown = alarm(HALTED, { api: { cancelAtVenue }, ask: async () => ({ reason: '', chosen: ['2'] }) });
    await shown.cancelAll();
    expect(cancelAtVenue).toHaveBeenCalledExactlyOnceWith(['2']);
    expect(shown.$store.desk.announce).toHaveBeenCalledWith(['1 order ended at the venue (buy 10 AAPL: canceled at venue).']);
    expect(shown.act).toBe('Cancel them there…');
  });

  test('says what the server left out', async () => {
    const answer = { canceled_orders: [], not_open: [], ignored: { protective_stops: ['must be an array, not a string'] } };
    const shown = alarm(HALTED, { api: { cancelAtVenue: async () => answer }, ask: async () => ({ reason: '', chosen: [] }) });
    await shown.cancelAll();
    expect(shown.$store.desk.announce.mock.calls[0][0]).toContain('Ignored: protective_stops must be an array, not a string.');
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

  test('where its button went while it was asked, the list has the focus', async () => {
    const shown = alarm(HALTED, {
      api: { cancelAtVenue: async () => { shown.$store.desk.state = desk('disabled'); return { canceled_orders: [] }; } },
      ask: async () => ({ reason: '', chosen: [] }),
    });
    await shown.cancelAll();
    expect(document.activeElement.id).toBe('venue-title');
  });
});

describe('what the page knows after a change of the mode', () => {
  const told = async (api, answer) => {
    answerBy('PUT', '/mode', () => Response.json(answer));
    const seen = [];
    api.seed('state', { ...desk('disabled', ORDER, STOP) }, 'x');
    api.watch('state', ({ data, patched }) => { if (patched) seen.push(data.venue); });
    await api.cancelAtVenue([]);
    return seen;
  };

  it('is what the answer says', async ({ api }) => {
    const after = venue({ ...full(STOP), ...ASKED });
    expect(await told(api, { trading_mode: 'disabled', ...after, canceled_orders: [], not_open: [] })).toEqual([after]);
  });

  it('is what it was, and that it cannot be told, where the answer does not know', async ({ api }) => {
    expect(await told(api, { trading_mode: 'disabled', ...CANNOT_TELL })).toEqual([{ ...venue(ORDER, STOP), untold: true }]);
  });
});

/** An order with all that the API document wants of one that is open at the venue. */
function full(order) {
  return {
    client_order_id: 'c', engine: 'bot', time_in_force: 'day', reference_price: null, signal_layer: null, strategy: null, rationale: null,
    trading_mode: 'paper', reasons: [], value: null, created_at: NOW, expires_at: null, decided_at: NOW, decided_by: 'system:gate', decision_note: null,
    send_by: NOW, venue_id: null, venue_words: null, venue_at: null, replaces: null, ...order, id: '00000000-0000-4000-8000-000000000000',
  };
}
