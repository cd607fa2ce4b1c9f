// Watching a key: every read of it is told, the newest last, and never an older one over it.

import { describe, expect, vi } from 'vitest';

import { BASE } from './mocks/handlers.js';
import { cutOff, hold, it, settled } from './serving.js';

describe('watching a key', () => {
  it('tells what was read, and when it was sent and received', async ({ api, desk }) => {
    const watcher = vi.fn();
    api.watch('lockouts', watcher);
    const before = Date.now();
    await api.refetch('lockouts');
    const [[{ data, sent, received }]] = watcher.mock.calls;
    expect(data).toEqual({ items: desk.lockouts(), next: null });
    expect(before <= sent && sent <= received && received <= Date.now()).toBe(true);
  });

  it('tells of a failure as a problem, and goes on', async ({ api }) => {
    const watcher = vi.fn();
    api.watch('lockouts', watcher);
    cutOff('GET', '/lockouts');
    await api.refetch('lockouts');
    expect(watcher.mock.calls).toEqual([[{ problem: expect.objectContaining({ status: 0, code: 'no_answer' }) }]]);
  });

  it('says that nothing changed where the server does', async ({ api, desk }) => {
    const watcher = vi.fn();
    api.watch('state', watcher);
    await api.refetch('state');
    await api.refetch('state');
    desk.createLockout({ ticker: 'AAPL', reason: 'news', duration_minutes: 60 });
    await api.refetch('state');
    expect(watcher.mock.calls.map(([{ data }]) => data?.lockouts_total)).toEqual([0, undefined, 1]);
  });

  it('asks only whether anything changed, and hears the time either way', async ({ api }) => {
    const watcher = vi.fn();
    api.watch('state', watcher);
    await api.refetch('state');
    await api.refetch('state');
    expect(watcher.mock.calls.map(([{ data }]) => !!data)).toEqual([true, false]);
    for (const [{ time }] of watcher.mock.calls) expect(Date.parse(time)).toBeGreaterThan(0);
  });

  it('asks so from the first read on, where the state came with the page', async ({ api }) => {
    const page = await fetch(`${BASE}/state`, { headers: { Accept: 'application/json' } });
    const watcher = vi.fn();
    api.seed('state', await page.json(), page.headers.get('ETag').replaceAll('"', ''));
    api.watch('state', watcher);
    await api.refetch('state');
    expect(watcher.mock.calls.map(([{ data }]) => !!data)).toEqual([false]);
  });

  it('gives a read up when a newer one begins, and tells only of that', async ({ api, desk }) => {
    const watcher = vi.fn();
    api.watch('lockouts', watcher);
    const held = hold('GET', '/lockouts');
    const first = api.refetch('lockouts');
    await settled();
    const second = api.refetch('lockouts');
    await settled();
    desk.createLockout({ ticker: 'AAPL', reason: 'news', duration_minutes: 60 });
    held[1]();
    await second;
    held[0]();   // far too late
    await first;
    await settled();
    expect(watcher.mock.calls.map(([{ data }]) => data.items.length)).toEqual([1]);
    expect(held.map(({ request }) => request.signal.aborted)).toEqual([true, false]);
  });

  it('polls without disturbing a read that is under way', async ({ api, asked }) => {
    const held = hold('GET', '/state');
    const reading = api.refetch('state');
    await settled();
    await api.poll('state');
    held[0]();
    await reading;
    expect(asked).toEqual(['GET /state']);
    expect(held[0].request.signal.aborted).toBe(false);
    const polling = api.poll('state');
    await settled();
    held[1]();
    await polling;
    expect(asked).toHaveLength(2);
  });

  it('ends when the watcher says so', async ({ api, asked }) => {
    const watcher = vi.fn();
    const stop = api.watch('lockouts', watcher);
    stop();
    await api.createLockout({ ticker: 'AAPL', reason: 'news', duration_minutes: 60 });
    await settled();
    expect(watcher).not.toHaveBeenCalled();
    expect(asked).toEqual(['POST /lockouts']);
  });
});
