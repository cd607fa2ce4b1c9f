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
    expect(bar.problem).toBe(said);
    expect(bar.halting).toBe(false);
    expect(desk.refused).toHaveBeenCalledOnce();
  });
});

describe('a halt of which nobody knows', () => {
  test.for([
    [NO_ANSWER, /^HALT NOT CONFIRMED\. No answer from the server\./],
    [{ status: 502 }, /^HALT NOT CONFIRMED\. The server answered 502\./],
    [{ status: 503, code: 'database_unavailable', detail: 'the database cannot be reached' }, /^HALT NOT CONFIRMED\. the database/],
  ])('%# says that, and no more', async ([problem, said]) => {
    answers(problem);
    await halt();
    expect(bar.problem).toMatch(said);
  });
});
