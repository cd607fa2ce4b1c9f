// The counterparts of useCreateLockout and useDeleteLockout, and of extending one.

import { describe, expect, vi } from 'vitest';

import { hold, it, settled } from './serving.js';
import { readAgainBy, waiting } from './stale.js';

const LOCK = { ticker: ' aapl ', reason: 'earnings', duration_minutes: 60 };
const SHOWN_IN = ['approvals', 'audit', 'lockouts', 'state'];

describe('creating a lockout', () => {
  it('answers with the row as it is stored', async ({ api, desk }) => {
    const created = await api.createLockout(LOCK);
    expect(created).toMatchObject({ ticker: 'AAPL', reason: 'earnings', lockout_type: 'manual', created_by: 'olga' });
    expect(Date.parse(created.expires_at) - Date.parse(created.created_at)).toBe(60 * 60_000);
    expect(desk.lockouts()).toEqual([created]);
  });

  it('has read again the lockouts and what shows them, and nothing else', async ({ api, asked }) => {
    expect(await readAgainBy(() => api.createLockout(LOCK), { api, asked })).toEqual(SHOWN_IN);
  });

  it('holds the orders that wait for that symbol', async ({ api, desk }) => {
    waiting(desk, 'AAPL', 'MSFT');
    expect((await api.read('approvals')).items.every(({ approvable }) => approvable)).toBe(true);
    await api.createLockout(LOCK);
    expect((await api.read('approvals')).items.filter(({ approvable }) => !approvable))
      .toEqual([expect.objectContaining({ ticker: 'AAPL', blockers: ['symbol_locked_out'] })]);
  });

  it('shows the row and the new total at once', async ({ api, desk }) => {
    const watcher = vi.fn();
    api.seed('state', desk.state());
    api.watch('state', watcher);
    const created = await api.createLockout(LOCK);
    expect(watcher.mock.calls[0][0]).toMatchObject({ patched: true, data: { lockouts: [created], lockouts_total: 1 } });
  });

  it('names every field that the server refused', async ({ api, desk }) => {
    await expect(api.createLockout({ ticker: 'ß', reason: ' ', duration_minutes: undefined })).rejects.toMatchObject({
      status: 422,
      errors: {
        ticker: ['contains "ß": allowed are A-Z, 0-9 and . / - _ : = ^ & !'],
        reason: ['is required'], duration_minutes: ['is required'],
      },
    });
    expect(desk.lockouts()).toEqual([]);
  });
});

describe('extending a lockout', () => {
  it('moves the end in place, and has read again what shows it', async ({ api, desk, asked }) => {
    const { id, expires_at: end } = desk.createLockout({ ...LOCK, ticker: 'AAPL' });
    const again = await readAgainBy(async () => {
      const extended = await api.extendLockout(id, 30);
      expect(Date.parse(extended.expires_at) - Date.parse(end)).toBe(30 * 60_000);
    }, { api, asked });
    expect(again).toEqual(SHOWN_IN);
    expect(desk.lockouts()).toHaveLength(1);
  });

  it('is a 404 once the lockout has ended', async ({ api, desk }) => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const { id } = desk.createLockout({ ...LOCK, ticker: 'AAPL' });
    vi.setSystemTime(Date.now() + 60 * 60_000);
    await expect(api.extendLockout(id, 30)).rejects.toMatchObject({ status: 404, code: 'not_found' });
    vi.useRealTimers();
  });
});

describe('deleting a lockout', () => {
  it('takes it away, and has read again what showed it', async ({ api, desk, asked }) => {
    const { id } = desk.createLockout({ ...LOCK, ticker: 'AAPL' });
    const again = await readAgainBy(async () => expect(await api.deleteLockout(id)).toBeNull(), { api, asked });
    expect(again).toEqual(SHOWN_IN);
    expect(desk.lockouts()).toEqual([]);
  });

  it('is a 404 the second time, and the lockouts are read again all the same', async ({ api, desk, asked }) => {
    const { id } = desk.createLockout({ ...LOCK, ticker: 'AAPL' });
    await api.deleteLockout(id);
    const again = await readAgainBy(
      () => expect(api.deleteLockout(id)).rejects.toMatchObject({ status: 404, code: 'not_found' }), { api, asked },
    );
    expect(again).toEqual(SHOWN_IN);
  });

  it('takes whatever an id looks like', async ({ api, asked }) => {
    await expect(api.deleteLockout('../mode?x=1')).rejects.toMatchObject({ status: 404 });
    expect(asked).toEqual(['DELETE /lockouts/..%2Fmode%3Fx%3D1']);
  });

  it('shows the row gone before the next read', async ({ api, desk }) => {
    const kept = desk.createLockout({ ...LOCK, ticker: 'MSFT' });
    const { id } = desk.createLockout({ ...LOCK, ticker: 'AAPL' });
    const watcher = vi.fn();
    api.seed('state', desk.state());
    api.watch('state', watcher);
    await api.deleteLockout(id);
    expect(watcher.mock.calls[0][0]).toMatchObject({ patched: true, data: { lockouts: [kept], lockouts_total: 1 } });
  });
});

describe('showing a yes before the next read', () => {
  it('does not lie over a state that was read while the act was under way', async ({ api, desk }) => {
    const watcher = vi.fn();
    api.seed('state', desk.state());
    api.watch('state', watcher);
    const held = hold('POST', '/lockouts');
    const act = api.createLockout(LOCK);
    await settled();
    desk.changeMode({ trading_mode: 'disabled' });
    await api.refetch('state');
    held[0]();
    await act;
    await settled();
    expect(watcher.mock.calls.map(([{ patched = false, data }]) => [patched, data.trading_mode, data.lockouts_total]))
      .toEqual([[false, 'disabled', 0], [false, 'disabled', 1]]);
  });

  it('begins a read anew that was under way when the act was over', async ({ api, desk }) => {
    const watcher = vi.fn();
    api.watch('state', watcher);
    const held = hold('GET', '/state');
    api.refetch('state');
    await settled();
    await api.createLockout(LOCK);
    await settled();
    expect(held.map(({ request }) => request.signal.aborted)).toEqual([true, false]);
    held[1]();
    await settled();
    expect(watcher.mock.calls.map(([{ data }]) => data.lockouts_total)).toEqual([1]);
    expect(desk.lockouts()).toHaveLength(1);
  });

  it('waits for nothing where there is no state to show it in', async ({ api }) => {
    const watcher = vi.fn();
    api.watch('state', watcher);
    await api.createLockout(LOCK);
    await settled();
    expect(watcher.mock.calls.map(([{ patched }]) => patched)).toEqual([undefined]);
  });
});
