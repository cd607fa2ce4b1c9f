// Keys that are part of the state: who follows one is told by the one request for the state, or by its own where nobody
// watches that.

import { describe, expect, vi } from 'vitest';

import { cutOff, hold, it, settled } from './serving.js';

const LOCK = { ticker: 'AAPL', reason: 'earnings', duration_minutes: 60 };
const gets = (asked) => asked.filter((one) => one.startsWith('GET '));

describe('following a key that is part of the state', () => {
  it('begins with what is known', async ({ api, desk }) => {
    const take = vi.fn();
    api.seed('state', desk.state());
    api.follow('approval-config', take);
    expect(take).toHaveBeenCalledExactlyOnceWith({ auto_approve_paper: true, require_approval_for_live: true, approval_timeout_minutes: 30 });
  });

  it.for([
    ['approval-config', (api) => api.updateApprovalConfig({ auto_approve_paper: false }), ({ auto_approve_paper: auto }) => auto === false],
    ['trading-config', (api) => api.halt(), ({ trading_mode: mode }) => mode === 'disabled'],
    ['signal-layers', (api) => api.updateSignalLayers({ macro: false }), ({ macro }) => macro === false],
    ['lockouts', (api) => api.createLockout(LOCK), ({ items, total }) => items.length === 1 && total === 1],
  ])('%s is read again by the act that made it stale, with the one request for the state', async ([key, act, shows], { api, desk, asked }) => {
    const take = vi.fn();
    api.seed('state', { ...desk.state(), lockouts: [] });
    api.watch('state', () => {});
    api.follow(key, take);
    await act(api);
    await settled();
    expect(gets(asked)).toEqual(['GET /state']);
    expect(take.mock.calls.map(([read]) => shows(read))).toEqual([false, true, true]);   // before, the server's yes, the read
  });

  it('is told before those who watch the state', async ({ api, desk }) => {
    let mode;
    const seen = [];
    api.seed('state', desk.state());
    api.watch('state', ({ data }) => seen.push([data.trading_mode, mode]));
    api.follow('trading-config', (config) => { mode = config.trading_mode; });
    await api.halt();
    expect(seen[0]).toEqual(['disabled', 'disabled']);
  });

  it('is told null of a section that cannot be parsed', async ({ api, desk }) => {
    const take = vi.fn();
    api.seed('state', { ...desk.state(), approval_config: null });
    api.follow('approval-config', take);
    expect(take).toHaveBeenCalledExactlyOnceWith(null);
  });

  it('is told nothing by a read that failed, or found nothing new', async ({ api, desk }) => {
    const take = vi.fn();
    api.watch('state', () => {});
    await api.refetch('state');
    api.follow('lockouts', take);
    await api.refetch('lockouts');
    cutOff('GET', '/state');
    await api.refetch('lockouts');
    expect(take).toHaveBeenCalledOnce();
    expect(desk.lockouts()).toEqual([]);
  });

  it('gives up its own request that an act overtook', async ({ api }) => {
    const held = hold('GET', '/lockouts');
    const take = vi.fn();
    api.watch('state', () => {});
    api.follow('lockouts', take);
    const reading = api.read('lockouts');
    await settled();
    await api.createLockout(LOCK);
    await settled();
    expect(held.map(({ request }) => request.signal.aborted)).toEqual([true, false]);
    held[1]();
    expect((await reading).items).toHaveLength(1);
    expect(take.mock.calls.every(([{ items }]) => items.length === 1)).toBe(true);
  });
});

describe('following it where nobody watches the state', () => {
  it('takes requests of its own', async ({ api, asked }) => {
    const take = vi.fn();
    api.follow('lockouts', take);
    expect(take).not.toHaveBeenCalled();
    await api.createLockout(LOCK);
    await settled();
    expect(gets(asked)).toEqual(['GET /lockouts']);
    expect(take.mock.calls[0][0].items).toHaveLength(1);
  });
});

describe('reading a key once', () => {
  it('asks its own route, whole, though the state is watched', async ({ api, desk, asked }) => {
    api.seed('state', desk.state());
    api.watch('state', () => {});
    expect(await api.read('trading-config')).toMatchObject({ trading_mode: 'paper', config: {}, version: 1 });
    expect(asked).toEqual(['GET /config']);
  });
});
