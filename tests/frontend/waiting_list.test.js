// @vitest-environment node
// Which orders the list of those that wait shows, and in what order.

import { describe, expect, test } from 'vitest';

import { createWaitingList } from '../../app/static/js/waiting.js';

const order = (id, minute = 0) => ({ id, expires_at: `2026-11-22T12:${String(minute).padStart(2, '0')}:00.000000Z` });
const [A, B, C] = [order('a', 10), order('b', 20), order('c', 30)];

/** The ids that are shown, those that wait no more in brackets. */
function shows(list, { waiting = [], decided = [], now = 0, still = false, keep = () => false }) {
  return list.update({ waiting, decided, now, still, keep }).map(({ id }) => (list.waits(id) ? id : `(${id})`)).join(' ');
}

describe('the list of orders that wait', () => {
  test('has the one that expires next first, and of the same instant the lower id', () => {
    expect(shows(createWaitingList(), { waiting: [C, order('z', 10), A, B] })).toBe('a z b c');
  });

  test('keeps one that waits no more in its place for five seconds', () => {
    const list = createWaitingList();
    shows(list, { waiting: [A, B, C] });
    expect(shows(list, { waiting: [A, C], now: 1000 })).toBe('a (b) c');
    expect(list.overdue(5_999)).toBe(false);
    expect(list.overdue(6_000)).toBe(true);
    expect(shows(list, { waiting: [A, C], now: 6_000 })).toBe('a c');
  });

  test('keeps one for longer where it was not what the operator wanted', () => {
    const list = createWaitingList();
    shows(list, { waiting: [A, B] });
    list.settle('a', 0, { end: { status: 'rejected' }, refused: true });
    expect(shows(list, { waiting: [B], now: 19_999 })).toBe('(a) b');
    expect(shows(list, { waiting: [B], now: 20_000 })).toBe('b');
  });

  test('keeps one beyond its time while it has the focus', () => {
    const list = createWaitingList();
    shows(list, { waiting: [A, B] });
    shows(list, { waiting: [B] });
    expect(shows(list, { waiting: [B], now: 60_000, keep: (id) => id === 'a' })).toBe('(a) b');
    expect(shows(list, { waiting: [B], now: 60_000 })).toBe('b');
  });

  test('says what became of it as soon as that is known', () => {
    const list = createWaitingList();
    shows(list, { waiting: [A] });
    shows(list, { waiting: [] });
    expect(list.end('a')).toBeUndefined();
    shows(list, { waiting: [], decided: [{ ...A, status: 'released' }] });
    expect(list.end('a')).toMatchObject({ status: 'released' });
  });

  test('believes an answer more than a read that began before it', () => {
    const list = createWaitingList();
    shows(list, { waiting: [A, B] });
    list.settle('a', 0, { end: { status: 'released' } });
    expect(shows(list, { waiting: [A, B], now: 10_000 })).toBe('(a) b');
    expect(list.waiting()).toEqual([B]);
  });

  test('does not move while a pointer is over it: what comes goes to the end', () => {
    const list = createWaitingList();
    shows(list, { waiting: [B, C] });
    expect(shows(list, { waiting: [A, B, C], still: true })).toBe('b c a');
    expect(shows(list, { waiting: [A, C], still: true })).toBe('(b) c a');
    expect(shows(list, { waiting: [A, C], now: 60_000 })).toBe('a c');
  });

  test('knows those that it shows, and no others', () => {
    const list = createWaitingList();
    shows(list, { waiting: [A] });
    expect(list.get('a')).toBe(A);
    expect(list.get('b')).toBeUndefined();
    expect(list.waits('b')).toBe(false);
  });

  test('keeps at most a hundred that wait no more', () => {
    const list = createWaitingList();
    const many = Array.from({ length: 150 }, (_, index) => order(`order-${index}`, index % 60));
    shows(list, { waiting: many });
    expect(list.update({ waiting: [], decided: [], now: 1, still: false, keep: () => false })).toHaveLength(100);
  });

  test('never drops one that was refused for the many that were not', () => {
    const list = createWaitingList();
    const many = Array.from({ length: 150 }, (_, index) => order(`order-${index}`));
    shows(list, { waiting: many });
    many.forEach(({ id }, index) => list.settle(id, 0, { refused: index === 0 }));
    const left = list.update({ waiting: [], decided: [], now: 1, still: false, keep: () => false });
    expect(left).toHaveLength(101);
    expect(left).toContain(many[0]);
  });

  test('keeps one for as long as an answer is still to come for it', () => {
    const list = createWaitingList();
    const many = Array.from({ length: 150 }, (_, index) => order(`order-${index}`));
    const asked = (id) => id === 'order-7';
    const left = (now) => list.update({ waiting: [], decided: [], now, still: false, keep: () => false, asked });
    shows(list, { waiting: many });
    expect(left(1)).toContain(many[7]);
    expect(left(60_000)).toEqual([many[7]]);
  });
});
