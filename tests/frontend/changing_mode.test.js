// The trading mode: a halt that nothing keeps back, and every other change, which names what it leaves.

import { describe, expect, vi } from 'vitest';

import { cutOff, hold, intercept, it, settled } from './serving.js';
import { readAgainBy, waiting } from './stale.js';

const RESUME = { trading_mode: 'paper', from: 'disabled', reason: 'all clear' };

describe('halting', () => {
  it('needs nothing but the mode', async ({ api, desk }) => {
    const held = hold('PUT', '/mode');
    const act = api.halt();
    await settled();
    expect(await held[0].request.clone().json()).toEqual({ trading_mode: 'disabled' });
    expect(held[0].request.headers.has('If-Match')).toBe(false);
    held[0]();
    expect(await act).toEqual({ trading_mode: 'disabled', ignored: {} });
    expect(desk.mode).toBe('disabled');
  });

  it('has read again the mode and what it ends, and nothing else', async ({ api, desk, asked }) => {
    waiting(desk, 'AAPL');
    expect(await readAgainBy(() => api.halt(), { api, asked })).toEqual(['approvals', 'audit', 'mode', 'orders', 'state', 'trading-config']);
    expect((await api.read('orders?status=canceled')).items).toHaveLength(1);
  });

  it('asks for a new token where somebody signed in again on another page', async ({ api, desk, asked }) => {
    desk.csrfToken = 'token-of-the-next-session';
    await api.halt();
    expect(desk.mode).toBe('disabled');
    expect(asked).toEqual(['PUT /mode', 'GET /trading', 'PUT /mode']);
    expect(document.querySelector('meta[name="csrf-token"]').content).toBe('token-of-the-next-session');
  });

  it('asks for a new token once, and then says no', async ({ api, asked }) => {
    intercept('PUT', '/mode', '{"code": "csrf_failed", "detail": "The CSRF tokens do not match."}', { status: 403 });
    await expect(api.halt()).rejects.toMatchObject({ status: 403, code: 'csrf_failed' });
    expect(asked).toEqual(['PUT /mode', 'GET /trading', 'PUT /mode']);
  });

  it('still says why where not even the page can be had', async ({ api, desk, asked }) => {
    desk.csrfToken = 'token-of-the-next-session';
    cutOff('GET', '/trading');
    await expect(api.halt()).rejects.toMatchObject({ status: 403, code: 'csrf_failed' });
    expect(asked).toEqual(['PUT /mode', 'GET /trading', 'PUT /mode']);
  });

  it('tries again for no other reason', async ({ api, desk, asked }) => {
    desk.who = { name: 'vera', role: 'viewer' };
    await expect(api.halt()).rejects.toMatchObject({ status: 403, code: 'forbidden' });
    expect(asked).toEqual(['PUT /mode']);
  });

  it('is not known to have been made where no answer came', async ({ api }) => {
    cutOff('PUT', '/mode');
    await expect(api.halt()).rejects.toMatchObject({ status: 0, code: 'no_answer' });
  });
});

describe('every other change of mode', () => {
  it('names what it leaves, a reason, and the version that was looked at', async ({ api, desk }) => {
    desk.changeMode({ trading_mode: 'disabled' });
    const held = hold('PUT', '/mode');
    const act = api.setMode(RESUME, desk.version);
    await settled();
    expect(held[0].request.headers.get('If-Match')).toBe('"2"');
    held[0]();
    expect(await act).toEqual({ trading_mode: 'paper' });
  });

  it('is a conflict where the mode is another by now', async ({ api }) => {
    await expect(api.setMode(RESUME)).rejects.toMatchObject({ status: 409, code: 'mode_changed' });
  });

  it('is stale where anything was changed since', async ({ api, desk }) => {
    desk.changeMode({ trading_mode: 'disabled' });
    const { version } = desk;
    desk.merge('signal_layers', { macro: false }, 'signal_layers.change');
    await expect(api.setMode(RESUME, version)).rejects.toMatchObject({ status: 412, code: 'stale' });
    expect(desk.mode).toBe('disabled');
  });

  it('goes without a version where none is known', async ({ api, desk }) => {
    desk.changeMode({ trading_mode: 'disabled' });
    expect(await api.setMode(RESUME, undefined)).toEqual({ trading_mode: 'paper' });
  });

  it('shows the new mode at once', async ({ api, desk }) => {
    const watcher = vi.fn();
    api.seed('state', desk.state());
    api.watch('state', watcher);
    await api.halt();
    expect(watcher.mock.calls[0][0]).toMatchObject({ patched: true, data: { trading_mode: 'disabled' } });
  });
});
