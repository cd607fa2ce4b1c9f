// Sound and notifications for orders that come in: off until switched on, told together, and not for what is over.

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { createAlerts } from '../../app/static/js/alerts.js';
import { createFront } from '../../app/static/js/front.js';
import { reach } from '../../app/static/js/storage.js';

const order = (id, more = {}) => ({ id, ticker: 'AAPL', side: 'buy', qty: '10', notional: null, ...more });

let kept, sound, shown, waiting, inFront, permission;

class Notice {
  static get permission() {
    return permission;
  }
  static requestPermission = vi.fn(async () => permission);

  constructor(title, { tag, body }) {
    Object.assign(this, { title, tag, body, close: vi.fn() });
    shown.push(this);
  }
}

const make = (more = {}) => createAlerts({ sound, waiting: () => waiting, kept, Notice, locks: undefined, inFront: () => inFront, ...more });

const pass = (ms = 0) => vi.advanceTimersByTimeAsync(ms);

function arrive(alerts, ...orders) {
  waiting = { orders: [...waiting.orders, ...orders], number: waiting.number + orders.length };
  alerts.arrived({ listed: orders, number: orders.length });
  return pass();
}

beforeEach(() => {
  vi.useFakeTimers();
  const items = new Map();
  kept = { getItem: (key) => items.get(key) ?? null, setItem: (key, value) => items.set(key, value), removeItem: (key) => items.delete(key) };
  sound = { possible: true, ready: false, unlock: vi.fn(async () => { sound.ready = true; }), play: vi.fn() };
  Notice.requestPermission.mockClear();
  shown = [];
  waiting = { orders: [], number: 0 };
  inFront = false;
  permission = 'granted';
});
afterEach(() => vi.useRealTimers());

async function both() {
  const alerts = make();
  alerts.sound = alerts.notice = true;
  await alerts.keepSound();
  await alerts.keepNotice();
  sound.play.mockClear();
  return alerts;
}

test('both are off until somebody switches them on, and are remembered', async () => {
  const alerts = make();
  await arrive(alerts, order('1'));
  expect(alerts.words).toBe('off');
  expect([shown.length, sound.play.mock.calls.length]).toEqual([0, 0]);
  await both();
  const again = make();
  expect([again.sound, again.notice]).toEqual([true, true]);
});

test('switching the sound on plays it once', async () => {
  const alerts = make();
  alerts.sound = true;
  await alerts.keepSound();
  expect(sound.play).toHaveBeenCalledOnce();
  alerts.sound = false;
  await alerts.keepSound();
  expect(sound.play).toHaveBeenCalledOnce();
  expect(make().sound).toBe(false);
});

test('a sound that the browser holds back until a click is not passed off as on', async () => {
  await both();
  sound.ready = false;
  const alerts = make();
  alerts.start();
  expect(alerts.words).toBe('muted');
  await arrive(alerts, order('1'));
  expect(sound.play).not.toHaveBeenCalled();
  document.dispatchEvent(new Event('click'));
  await pass();
  expect(alerts.words).toBe('on');
});

test('one order is named', async () => {
  const alerts = await both();
  await arrive(alerts, order('1'));
  expect(sound.play).toHaveBeenCalledOnce();
  expect(shown.map(({ title, body }) => [title, body])).toEqual([['AAPL buy 10 waits for approval', '']]);
});

test('one by its notional, while others wait', async () => {
  const alerts = await both();
  waiting = { orders: [order('0')], number: 1 };
  await arrive(alerts, order('1', { qty: null, notional: '5000', side: 'sell' }));
  expect(shown.map(({ title, body }) => [title, body]))
    .toEqual([['AAPL sell 5,000.00 notional waits for approval', '2 orders wait for approval.']]);
});

test('many are told together, and those that come soon after once more', async () => {
  const alerts = await both();
  await arrive(alerts, order('1'), order('2'));
  for (let id = 3; id <= 12; id += 1) await arrive(alerts, order(String(id)));
  await pass(5000);
  expect(shown.map(({ title }) => title)).toEqual(['2 orders wait for approval', '12 orders wait for approval']);
  expect(shown[0].close).toHaveBeenCalled();
  expect(sound.play).toHaveBeenCalledTimes(2);
  await pass(60_000);
  expect(shown).toHaveLength(2);
});

test('what was decided before it could be told is not told', async () => {
  const alerts = await both();
  await arrive(alerts, order('1'));
  await arrive(alerts, order('2'));
  waiting = { orders: [], number: 0 };
  await pass(5000);
  expect(shown).toHaveLength(1);
});

test('of more than are listed the number is told', async () => {
  const alerts = await both();
  waiting = { orders: [], number: 512 };
  alerts.arrived({ listed: [], number: 12 });
  await pass();
  expect(shown[0].title).toBe('512 orders wait for approval');
});

test('whoever looks at the page needs no notification', async () => {
  const alerts = await both();
  inFront = true;
  await arrive(alerts, order('1'));
  expect(shown).toEqual([]);
  expect(sound.play).toHaveBeenCalledOnce();
});

test('a click on the notification brings the page to the front', async () => {
  vi.spyOn(window, 'focus').mockImplementation(() => {});
  const alerts = await both();
  await arrive(alerts, order('1'));
  shown[0].onclick();
  expect(window.focus).toHaveBeenCalledOnce();
  expect(shown[0].close).toHaveBeenCalled();
});

test('a browser that says no is quoted, and the box stays empty', async () => {
  permission = 'denied';
  const alerts = make();
  expect(Notice.requestPermission).not.toHaveBeenCalled();
  alerts.notice = true;
  await alerts.keepNotice();
  expect(alerts.notice).toBe(false);
  expect(alerts.problem).toMatch(/refuses notifications/);
  expect(make().problem).toBe('');
});

test('a permission that was taken back meanwhile is said', async () => {
  await both();
  permission = 'denied';
  const alerts = make();
  expect([alerts.notice, alerts.problem]).toEqual([false, expect.stringMatching(/refuses notifications/)]);
});

test('a browser without notifications says so', async () => {
  const alerts = make({ Notice: undefined });
  alerts.notice = true;
  await alerts.keepNotice();
  expect([alerts.notice, alerts.problem]).toEqual([false, expect.stringMatching(/cannot show/)]);
});

function switchElsewhere(key, value) {
  if (value) kept.setItem(key, value);
  else kept.removeItem(key);
  window.dispatchEvent(Object.assign(new Event('storage'), { key, newValue: value }));
}

test('what is switched on another page of the browser holds here too', () => {
  const alerts = make();
  alerts.start();
  switchElsewhere('countersign.alert-sound', 'on');
  expect([alerts.sound, alerts.notice]).toEqual([true, false]);
  switchElsewhere('countersign.alert-notice', 'on');
  expect([alerts.sound, alerts.notice]).toEqual([true, true]);
});

test('as far as the browser lets it, and no further', () => {
  permission = 'denied';
  const alerts = make();
  alerts.start();
  switchElsewhere('countersign.alert-notice', 'on');
  expect([alerts.notice, alerts.problem]).toEqual([false, expect.stringMatching(/refuses notifications/)]);
  permission = 'granted';
  switchElsewhere('countersign.alert-notice', 'on');
  expect([alerts.notice, alerts.problem]).toEqual([true, '']);
});

test('where the browser refuses to let one page sound for all, each does', async () => {
  const locks = { request: async () => { throw new DOMException('refused', 'SecurityError'); } };
  const alerts = make({ locks });
  alerts.sound = true;
  await alerts.keepSound();
  sound.play.mockClear();
  await arrive(alerts, order('1'));
  expect(sound.play).toHaveBeenCalledOnce();
});

describe('whether somebody looks at the desk', () => {
  let locks;

  /** A page of the same browser: as the browser tells it where it is. */
  function page(front = false) {
    const view = { front };
    view.looked = createFront({ locks, here: () => view.front });
    view.turn = (yes) => {
      view.front = yes;
      window.dispatchEvent(new Event(yes ? 'focus' : 'blur'));
    };
    return view;
  }

  beforeEach(() => {
    const held = [];
    locks = {
      async request(name, options, act) {
        held.push({ name });
        await act();
        held.pop();
      },
      query: async () => ({ held: [...held] }),
    };
  });

  test('is known of this page, and of another one', async () => {
    const [one, other] = [page(), page()];
    expect([await one.looked(), await other.looked()]).toEqual([false, false]);
    other.turn(true);
    expect([await one.looked(), await other.looked()]).toEqual([true, true]);
    other.turn(false);
    await pass();
    expect([await one.looked(), await other.looked()]).toEqual([false, false]);
  });

  test('is known from the beginning', async () => {
    page(true);
    expect(await page().looked()).toBe(true);
  });

  test.for([undefined, { request: () => Promise.reject(new Error('no')), query: () => Promise.reject(new Error('no')) }])(
    'is known of this page alone where pages may not share: %o', async (refusing) => {
      locks = refusing;
      const [one, other] = [page(true), page()];
      expect([await one.looked(), await other.looked()]).toEqual([true, false]);
    });
});

test('a browser that keeps nothing remembers for as long as the page is open', () => {
  vi.spyOn(window, 'localStorage', 'get').mockImplementation(() => { throw new DOMException('refused', 'SecurityError'); });
  const storage = reach('localStorage');
  expect(storage.getItem('a')).toBeNull();
  storage.setItem('a', 'on');
  expect(storage.getItem('a')).toBe('on');
  storage.removeItem('a');
  expect(storage.getItem('a')).toBeNull();
});
