// Whatever goes wrong comes as a Problem that a person can read; never an error of the language, never a false yes.

import { describe, expect, vi } from 'vitest';

import { Problem } from '../../app/static/js/api.js';
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
    expect(await act(api)).toMatchObject({ status: 0, code: 'no_answer', message: expect.stringMatching(NOT_KNOWN) });
  });
});

describe('no answer', () => {
  it('is told where the network is gone', async ({ api }) => {
    cutOff('PUT', '/signal-layers');
    expect(await act(api)).toMatchObject({ status: 0, code: 'no_answer', message: expect.stringMatching(NOT_KNOWN) });
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
