// What the page says of a halt that was not a plain yes: never that trading is halted, and never a doubt where there is none.

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { Problem } from '../../app/static/js/api.js';
import { modeBar } from '../../app/static/js/mode.js';

const NO_ANSWER = { code: 'no_answer', detail: 'No answer from the server.' };
const ENDED = { status: 401, detail: 'Your session has ended.' };

let api, bar, desk, heard;

beforeEach(() => {
  vi.useFakeTimers();
  api = { halt: vi.fn(), watch: (key, watcher) => { heard = watcher; } };
  desk = { state: { trading_mode: 'paper' }, lastGood: '12:00:00', refused: vi.fn(), announce: vi.fn() };
  bar = Object.assign(modeBar({ api, random: () => 0.5 })(), { $store: { desk } });
  api.follow = (key, take) => take({ get trading_mode() { return desk.state.trading_mode; } });
  bar.init();
});
afterEach(() => vi.useRealTimers());

/** The server's answers, one after the other; the last one is given for ever. */
function answers(...problems) {
  const [last] = problems.slice(-1);
  api.halt.mockImplementation(async () => {
    const problem = problems.length ? problems.shift() : last;
    if (problem) throw new Problem(problem);
  });
}

/** Press it, and let what needs no time happen. */
async function halt() {
  bar.halt();
  await vi.advanceTimersByTimeAsync(0);
}

describe('a halt that was refused for certain', () => {
  test.for([
    [ENDED, 'NOT HALTED: your session has ended. Sign in and halt again.'],
    [{ status: 403, detail: 'the role viewer may not do this' }, 'NOT HALTED: the role viewer may not do this'],
  ])('%# says so, and why', async ([problem, said]) => {
    answers(problem);
    await halt();
    expect(bar.said).toBe(said);
    expect(bar.halting).toBe(false);
    expect(desk.refused).toHaveBeenCalledOnce();
  });
});

describe('a halt of which nobody knows', () => {
  test.for([
    [NO_ANSWER, /^HALT NOT CONFIRMED\. No answer from the server\./],
    [{ status: 502 }, /^HALT NOT CONFIRMED\. The server answered 502\./],
    [{ status: 503, code: 'database_unavailable', detail: 'the database cannot be reached' }, /^HALT NOT CONFIRMED\. The database/],
  ])('%# says that, and no more', async ([problem, said]) => {
    answers(problem);
    await halt();
    expect(bar.said).toMatch(said);
  });
});

describe('a halt without an answer', () => {
  const AGAIN = / Halting, trying again…$/;

  test('is asked for again by itself until the server says yes, and is called halting until then', async () => {
    answers(NO_ANSWER, { status: 503, code: 'busy', detail: 'the desk is busy' }, NO_ANSWER, null);
    await halt();
    for (const [wait, tries] of [[999, 1], [1, 2], [1999, 2], [1, 3], [3999, 3]]) {
      await vi.advanceTimersByTimeAsync(wait);
      expect(api.halt).toHaveBeenCalledTimes(tries);
      expect(bar.said).toMatch(/^HALT NOT CONFIRMED/);
      expect(bar.said).toMatch(AGAIN);
      expect(bar.halting).toBe(true);
    }
    await vi.advanceTimersByTimeAsync(1);
    expect(api.halt).toHaveBeenCalledTimes(4);
    expect(bar).toMatchObject({ said: '', halting: false, trying: false });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(api.halt).toHaveBeenCalledTimes(4);
  });

  test('is never asked for less often than every few seconds', async () => {
    answers(NO_ANSWER);
    await halt();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(api.halt.mock.calls.length).toBeGreaterThanOrEqual(12);
  });

  test('is asked for no more once somebody stops it', async () => {
    answers(NO_ANSWER);
    await halt();
    bar.dismiss();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(api.halt).toHaveBeenCalledOnce();
    expect(bar).toMatchObject({ said: '', halting: false });
  });

  test('is asked for no more once the session has ended, and stays in doubt', async () => {
    answers(NO_ANSWER, ENDED);
    await halt();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(api.halt).toHaveBeenCalledTimes(2);
    expect(bar).toMatchObject({ said: 'HALT NOT CONFIRMED. Your session has ended. Sign in and halt again.', halting: false, trying: false });
  });

  test('is asked for no more once a good read shows the halt', async () => {
    answers(NO_ANSWER);
    await halt();
    desk.state = { trading_mode: 'disabled' };
    heard({ patched: true });
    expect(bar.trying).toBe(true);
    heard({});
    await vi.advanceTimersByTimeAsync(60_000);
    expect(api.halt).toHaveBeenCalledOnce();
    expect(bar).toMatchObject({ said: '', halting: false });
  });

  test('is said not to be one where a good read shows none, and goes on', async () => {
    answers(NO_ANSWER, null);
    await halt();
    heard({});
    expect(bar.said).toBe('NOT HALTED as of 12:00:00 UTC. Halting, trying again…');
    await vi.advanceTimersByTimeAsync(1000);
    expect(api.halt).toHaveBeenCalledTimes(2);
    expect(bar.said).toBe('');
  });

  test('can be pressed again between two tries, and is then asked for once at a time', async () => {
    answers(NO_ANSWER);
    await halt();
    await vi.advanceTimersByTimeAsync(2500);
    expect(api.halt).toHaveBeenCalledTimes(2);
    await halt();
    expect(api.halt).toHaveBeenCalledTimes(3);
    await vi.advanceTimersByTimeAsync(999);
    expect(api.halt).toHaveBeenCalledTimes(3);
    await vi.advanceTimersByTimeAsync(1);
    expect(api.halt).toHaveBeenCalledTimes(4);
  });
});
