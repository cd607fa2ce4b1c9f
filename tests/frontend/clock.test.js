// @vitest-environment node
// The server's clock, and times as words.

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { createClock, minutesInWords, timeLeft, utcEnd, utcTime } from '../../app/static/js/clock.js';

const NOON = Date.parse('2026-11-22T12:00:00Z');
const [SECOND, MINUTE, HOUR, DAY] = [1000, 60_000, 3_600_000, 86_400_000];

beforeEach(() => { vi.useFakeTimers({ now: NOON }); });
afterEach(() => { vi.useRealTimers(); });

describe('the clock', () => {
  test('is the server’s, however wrong this machine’s is', () => {
    const clock = createClock('2026-11-22T15:30:00Z');
    expect(clock.now()).toBe(NOON + 3.5 * HOUR);
    vi.advanceTimersByTime(SECOND);
    expect(clock.now()).toBe(NOON + 3.5 * HOUR + SECOND);
  });

  test('is set by an answer that was made half-way between asking and hearing', () => {
    const clock = createClock('2026-11-22T12:00:00Z');
    clock.set('2026-11-22T12:00:05Z', NOON - 400, NOON);
    expect(clock.now()).toBe(NOON + 5 * SECOND + 200);
  });
});

describe('an instant', () => {
  test('is shown in UTC', () => {
    expect(utcTime(NOON + 61 * SECOND)).toBe('12:01:01');
  });

  test('names the day where it is another one', () => {
    expect(utcEnd(NOON + HOUR, NOON)).toBe('13:00:00 UTC');
    expect(utcEnd(NOON + 12 * HOUR, NOON)).toBe('2026-11-23 00:00 UTC');
    expect(utcEnd(NOON - 12 * HOUR - 1, NOON)).toBe('2026-11-21 23:59 UTC');
  });
});

describe('the time left', () => {
  test.for([
    [59 * MINUTE + 32 * SECOND, '59m 32s'],
    [3 * HOUR + 4 * MINUTE + 10 * SECOND, '3h 04m 10s'],
    [2 * DAY + 3 * HOUR + 4 * MINUTE + 10 * SECOND, '2d 03h 04m 10s'],
    [9 * SECOND, '9s'],
    [MINUTE, '1m 00s'],
    [HOUR, '1h 00m 00s'],
    [365 * DAY, '365d 00h 00m 00s'],
  ])('of %i ms is %s', ([ms, words]) => {
    expect(timeLeft(ms)).toBe(words);
  });

  test('is nothing only when it is over', () => {
    expect([1001, 1000, 1, 0, -1, -DAY].map(timeLeft)).toEqual(['2s', '1s', '1s', '0s', '0s', '0s']);
  });
});

test('one minute is one minute', () => {
  expect([1, 2, 60].map(minutesInWords)).toEqual(['1 minute', '2 minutes', '60 minutes']);
});
