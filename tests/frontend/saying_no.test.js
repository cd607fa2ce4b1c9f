// Whatever goes wrong comes as a Problem that a person can read; never an error of the language, never a false yes.

import { beforeEach, describe, expect, vi } from 'vitest';

import { createApi, Problem } from '../../app/static/js/api.js';
import { cutOff, hold, intercept, it, refuse, settled } from './serving.js';

const NOT_KNOWN = /The change may or may not have been made/;

const act = (api) => api.updateSignalLayers({ macro: false }).then(() => 'yes', (problem) => problem);

describe('the no of the server', () => {
  it.for([
    [403, 'forbidden', 'the role viewer may not do this'],
    [409, 'config_invalid', 'signal_layers must be an object'],
    [500, 'internal_error', 'something went wrong on our side'],
    [503, 'busy', 'the desk is busy: nothing was changed, try again'],
  ])('%i %s is told in its own words', async ([status, code, detail], { api }) => {
    refuse('PUT', '/signal-layers', status, code, detail);
    const problem = await act(api);
    expect(problem).toBeInstanceOf(Problem);
    expect(problem).toMatchObject({ status, code, message: detail, errors: {}, order: null });
  });

  it('422 says by field what is wrong', async ({ api }) => {
    await expect(api.updateSignalLayers({ macro: 'no', micro: true })).rejects.toMatchObject({
      status: 422, code: 'invalid', errors: { macro: ['must be true or false, not a string'], micro: ['is not a known key'] },
    });
  });

  it('401 says that the session has ended', async ({ api, desk }) => {
    desk.who = null;
    expect(await act(api)).toMatchObject({ status: 401, message: 'Your session has ended.' });
    await expect(api.read('state')).rejects.toMatchObject({ status: 401, message: 'Your session has ended.' });
  });
});

describe('an answer that is not the server’s', () => {
  it('is told by its status where it says no', async ({ api }) => {
    intercept('PUT', '/signal-layers', '<h1>Bad gateway</h1>', { status: 502, headers: { 'Content-Type': 'text/html' } });
    expect(await act(api)).toMatchObject({ status: 502, code: '', message: 'The server answered 502.' });
  });

  it('is told even where it is JSON of another kind', async ({ api }) => {
    for (const [status, said] of [[401, 'Your session has ended.'], [502, 'The server answered 502.']]) {
      intercept('PUT', '/signal-layers', 'null', { status, headers: { 'Content-Type': 'application/json' } });
      expect(await act(api)).toMatchObject({ status, message: said });
    }
  });

  it('is never a yes: a page of HTML says nothing', async ({ api }) => {
    intercept('PUT', '/signal-layers', '<h1>Welcome to this network</h1>', { status: 200, headers: { 'Content-Type': 'text/html' } });
    const problem = await act(api);
    expect(problem).toMatchObject({ status: 0, code: 'no_answer', message: expect.stringMatching(NOT_KNOWN) });
    expect(problem.message).toMatch(/^The server’s answer cannot be read\./);
  });

  it('is not a change that may have been made where it was only a read', async ({ api }) => {
    intercept('GET', '/lockouts', '<h1>Welcome to this network</h1>', { status: 200, headers: { 'Content-Type': 'text/html' } });
    await expect(api.read('lockouts')).rejects.toMatchObject({ code: 'no_answer', message: 'The server’s answer cannot be read.' });
  });
});

describe('no answer', () => {
  it('is told where the network is gone', async ({ api }) => {
    cutOff('PUT', '/signal-layers');
    expect(await act(api)).toMatchObject({ status: 0, code: 'no_answer', message: expect.stringMatching(NOT_KNOWN) });
  });

  it('to a read leaves no change in doubt', async ({ api }) => {
    cutOff('GET', '/lockouts');
    await expect(api.read('lockouts')).rejects.toMatchObject({ code: 'no_answer', message: 'No answer from the server.' });
  });

  it('is told after ten seconds, and the request given up', async ({ api }) => {
    const held = hold('PUT', '/signal-layers');
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const told = act(api);
    await settled();
    await vi.advanceTimersByTimeAsync(9_999);
    expect(held[0].request.signal.aborted).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    expect(await told).toMatchObject({ status: 0, code: 'no_answer' });
    expect(held[0].request.signal.aborted).toBe(true);
  });

  it('does not keep a later read from being told', async ({ api }) => {
    const watcher = vi.fn();
    api.watch('state', watcher);
    const held = hold('GET', '/state');
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const reading = api.refetch('state');
    await settled();
    await vi.advanceTimersByTimeAsync(10_000);
    await reading;
    vi.useRealTimers();
    held.end();
    await api.refetch('state');
    expect(watcher.mock.calls.map(([{ problem, data }]) => problem?.code ?? data.trading_mode)).toEqual(['no_answer', 'paper']);
  });
});

describe('a mistake of the page', () => {
  let reported;

  beforeEach(() => {
    reported = vi.spyOn(window, 'reportError').mockImplementation(() => {});
  });

  const broken = () => { throw new TypeError('a mistake'); };

  it('in sending is not passed off as the server’s silence, and is reported', async () => {
    const api = createApi({ fetch: async () => ({ headers: { get: broken } }) });
    const problem = await act(api);
    expect(problem).toMatchObject({ code: 'no_answer', message: expect.stringMatching(/^A mistake in this page\..*may or may not/) });
    expect(reported).toHaveBeenCalledWith(new TypeError('a mistake'));
  });

  it('in drawing a yes does not make a no of it', async ({ api, desk }) => {
    api.seed('state', desk.state());
    api.watch('state', broken);
    const watcher = vi.fn();
    api.watch('state', watcher);
    expect(await api.halt()).toEqual({ trading_mode: 'disabled', ignored: {} });
    expect(watcher.mock.calls[0][0]).toMatchObject({ patched: true });
    expect(reported).toHaveBeenCalledWith(new TypeError('a mistake'));
  });

  it('in patching the state neither', async ({ api, desk }) => {
    api.seed('state', { ...desk.state(), lockouts: null });
    const made = await api.createLockout({ ticker: 'AAPL', reason: 'news', duration_minutes: 60 });
    expect(made).toMatchObject({ ticker: 'AAPL' });
    expect(reported).toHaveBeenCalledOnce();
  });

  it('in drawing what was read does not keep the others from hearing of it', async ({ api }) => {
    api.watch('state', broken);
    const watcher = vi.fn();
    api.watch('state', watcher);
    await api.refetch('state');
    expect(watcher).toHaveBeenCalledOnce();
  });
});
