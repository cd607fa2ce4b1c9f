// A halt when every open connection of the browser is silent: given up after 1.5 seconds, and sent on new ones.

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { createApi } from '../../app/static/js/api.js';

const YES = { status: 200, body: { trading_mode: 'disabled' } };
const NO = { status: 403, body: { code: 'forbidden', detail: 'the role viewer may not do this' } };
const BUSY = { status: 503, body: { code: 'busy', detail: 'the desk is busy' } };

let api, closeStream, requests;

/** Every request stays without an answer until the test gives one, or the page aborts it. */
function fetch(url, { method, signal }) {
  return new Promise((resolve, reject) => {
    const request = {
      method, url, signal,
      answer: ({ status, body }) => resolve(new Response(JSON.stringify(body), { status })),
      fail: () => reject(new TypeError('Failed to fetch')),
    };
    signal.addEventListener('abort', () => reject(signal.reason));
    requests.push(request);
  });
}

const pass = (ms) => vi.advanceTimersByTimeAsync(ms);
const halts = () => requests.filter(({ method }) => method === 'PUT');
const open = () => halts().filter(({ signal }) => !signal.aborted);

beforeEach(() => {
  vi.useFakeTimers();
  requests = [];
  closeStream = vi.fn();
  api = createApi({ fetch, csrfToken: () => 'token', closeStream });
});
afterEach(() => vi.useRealTimers());

describe('a halt without an answer', () => {
  test('closes the stream and every request in flight after 1.5 seconds, and is sent six times', async () => {
    api.read('lockouts').catch(() => {});
    const act = api.halt();
    await pass(1499);
    expect(requests).toHaveLength(2);
    expect(closeStream).not.toHaveBeenCalled();
    await pass(1);
    expect(closeStream).toHaveBeenCalledOnce();
    expect(requests.slice(0, 2).map(({ signal }) => signal.aborted)).toEqual([true, true]);
    expect(open()).toHaveLength(6);
    open()[4].answer(YES);
    expect(await act).toEqual({ trading_mode: 'disabled' });
    expect(open()).toEqual([]);
  });

  test('is sent again on half of the connections every two seconds, while the others wait for a slow server', async () => {
    const act = api.halt();
    await pass(1500);
    const first = open();
    await pass(2000);
    expect(first.map(({ signal }) => signal.aborted)).toEqual([false, true, false, true, false, true]);
    expect(open()).toHaveLength(6);
    await pass(2000);
    expect(halts()).toHaveLength(1 + 6 + 3 + 3);
    first[0].answer(YES);
    expect(await act).toEqual({ trading_mode: 'disabled' });
    await pass(20_000);
    expect(halts()).toHaveLength(1 + 6 + 3 + 3);
  });

  test('is given up after some ten seconds more, and can be sent again', async () => {
    const act = api.halt().catch((problem) => problem);
    await pass(13_500);
    expect(await act).toMatchObject({ code: 'no_answer', status: 0 });
    expect(open()).toEqual([]);
    const again = api.halt();
    await pass(0);
    open()[0].answer(YES);
    expect(await again).toEqual({ trading_mode: 'disabled' });
  });

  test('is refused by the first certain no', async () => {
    const act = api.halt().catch((problem) => problem);
    await pass(1500);
    open()[0].answer(NO);
    expect(await act).toMatchObject({ status: 403, code: 'forbidden' });
    expect(open()).toHaveLength(1);
  });

  test('is not refused by one that was busy while another may say yes', async () => {
    const act = api.halt();
    await pass(1500);
    const [one, other] = open();
    one.answer(BUSY);
    await pass(0);
    other.answer(YES);
    expect(await act).toEqual({ trading_mode: 'disabled' });
  });

  test('names what it heard where none said yes', async () => {
    const act = api.halt().catch((problem) => problem);
    await pass(1500);
    const [one, ...others] = open();
    one.answer(BUSY);
    others.forEach((other) => other.fail());
    expect(await act).toMatchObject({ status: 503, code: 'busy' });
  });

  test('is one halt, however often it is asked for meanwhile', async () => {
    const acts = [api.halt()];
    await pass(2000);
    acts.push(api.halt());
    expect(halts()).toHaveLength(1 + 6);
    open()[0].answer(YES);
    expect(await Promise.all(acts)).toEqual([{ trading_mode: 'disabled' }, { trading_mode: 'disabled' }]);
  });
});

test('a halt waits ten seconds for the page that has a new token, and then says why it was refused', async () => {
  const refusal = { status: 403, body: { code: 'csrf_failed', detail: 'The CSRF tokens do not match.' } };
  const act = api.halt().catch((problem) => problem);
  await pass(0);
  halts()[0].answer(refusal);
  await pass(9999);
  expect(requests.map(({ url, signal }) => [url, signal.aborted])[1]).toEqual(['/trading', false]);
  await pass(1);
  halts()[1].answer(refusal);
  expect(await act).toMatchObject({ status: 403, code: 'csrf_failed' });
});

test('a halt that is answered in time closes nothing, and one that failed is not sent six times', async () => {
  const act = api.halt();
  await pass(1400);
  halts()[0].answer(YES);
  await act;
  const failed = api.halt().catch((problem) => problem);
  await pass(0);
  halts()[1].fail();
  expect(await failed).toMatchObject({ code: 'no_answer' });
  await pass(10_000);
  expect(closeStream).not.toHaveBeenCalled();
  expect(halts()).toHaveLength(2);
});
