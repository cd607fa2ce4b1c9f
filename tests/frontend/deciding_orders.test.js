// Approving and rejecting, one order or many: what is sent, what is told of each, and what is read again.

import { describe, expect, vi } from 'vitest';

import { Problem } from '../../app/static/js/api.js';
import { cutOff, hold, it, settled } from './serving.js';
import { readAgainBy, waiting } from './stale.js';

const SHOWN_IN = ['approvals', 'audit', 'orders', 'state'];

function watched(api, desk) {
  const watcher = vi.fn();
  api.seed('state', desk.state());
  api.watch('state', watcher);
  return watcher;
}

describe('approving an order', () => {
  it('answers with the order as it is now', async ({ api, desk }) => {
    const [{ id }] = waiting(desk, 'AAPL');
    expect(await api.approveOrder(id)).toMatchObject({ id, status: 'released', decided_by: 'olga' });
  });

  it('has read again what shows it, and nothing else', async ({ api, desk, asked }) => {
    const [{ id }] = waiting(desk, 'AAPL');
    expect(await readAgainBy(() => api.approveOrder(id), { api, asked })).toEqual(SHOWN_IN);
  });

  it('takes it out of those that wait at once, and counts', async ({ api, desk }) => {
    const [{ id }, other] = waiting(desk, 'AAPL', 'AAPL');
    const watcher = watched(api, desk);
    const released = await api.approveOrder(id);
    expect(watcher.mock.calls[0][0]).toMatchObject({
      patched: true,
      data: { approvals: [{ id: other.id }], approvals_total: 1, approvals_by_ticker: { AAPL: 1 }, recent_orders: [released] },
    });
  });

  it('says by what it is held, and the order goes on waiting', async ({ api, desk }) => {
    const [{ id }] = waiting(desk, 'AAPL');
    desk.createLockout({ ticker: 'AAPL', reason: 'news', duration_minutes: 60 });
    await expect(api.approveOrder(id)).rejects.toMatchObject({ status: 409, code: 'symbol_locked_out', message: expect.stringContaining('news') });
    expect((await api.read('approvals')).items).toMatchObject([{ id, approvable: false }]);
  });

  it('brings the order along where somebody was quicker', async ({ api, desk }) => {
    const [{ id }] = waiting(desk, 'AAPL');
    const order = desk.reject(id, 'too much');
    await expect(api.approveOrder(id)).rejects.toMatchObject({ status: 409, code: 'already_decided', order });
  });

  it('is not for the owner of the engine', async ({ api, desk }) => {
    const [{ id }] = waiting(desk, 'AAPL');
    desk.owners.bot = 'olga';
    await expect(api.approveOrder(id)).rejects.toMatchObject({ status: 403, code: 'own_engine' });
  });
});

describe('rejecting an order', () => {
  it('sends the reason, and has read again what shows it', async ({ api, desk, asked }) => {
    const [{ id }] = waiting(desk, 'AAPL');
    const again = await readAgainBy(async () => {
      expect(await api.rejectOrder(id, 'too much')).toMatchObject({ status: 'rejected', decision_note: 'too much' });
    }, { api, asked });
    expect(again).toEqual(SHOWN_IN);
  });

  it('names the reason where it is refused', async ({ api, desk }) => {
    const [{ id }] = waiting(desk, 'AAPL');
    await expect(api.rejectOrder(id, ' ')).rejects.toMatchObject({ status: 422, errors: { reason: ['is required'] } });
  });
});

describe('deciding many', () => {
  it('tells of each by itself, and none hides another', async ({ api, desk }) => {
    const [first, gone, held] = waiting(desk, 'AAPL', 'MSFT', 'NVDA');
    desk.reject(gone.id, 'too much');
    desk.createLockout({ ticker: 'NVDA', reason: 'news', duration_minutes: 60 });
    const results = await api.decideOrders([first.id, gone.id, held.id, 'x'].map((id) => ({ id, action: 'approve' })));
    expect(results).toMatchObject([
      { id: first.id, status: 200, order: { status: 'released' } },
      { id: gone.id, problem: { status: 409, code: 'already_decided', order: { status: 'rejected' } } },
      { id: held.id, problem: { status: 409, code: 'symbol_locked_out' } },
      { id: 'x', problem: { status: 404, code: 'not_found' } },
    ]);
    expect(results.slice(1).every(({ problem }) => problem instanceof Problem)).toBe(true);
  });

  it('shows at once those that were decided, and leaves the others', async ({ api, desk }) => {
    const [first, held, last] = waiting(desk, 'AAPL', 'NVDA', 'AAPL');
    desk.createLockout({ ticker: 'NVDA', reason: 'news', duration_minutes: 60 });
    const watcher = watched(api, desk);
    await api.decideOrders([first, held, last].map(({ id }) => ({ id, action: 'approve' })));
    const [[{ data, patched }]] = watcher.mock.calls;
    expect(patched).toBe(true);
    expect(data.approvals.map(({ id }) => id)).toEqual([held.id]);
    expect(data.approvals_by_ticker).toEqual({ AAPL: 0, NVDA: 1 });
    expect(data.recent_orders.map(({ id }) => id)).toEqual([last.id, first.id]);
  });

  it('has read again what shows them, and nothing else', async ({ api, desk, asked }) => {
    const decisions = waiting(desk, 'AAPL', 'MSFT').map(({ id }) => ({ id, action: 'reject', reason: 'late' }));
    expect(await readAgainBy(() => api.decideOrders(decisions), { api, asked })).toEqual(SHOWN_IN);
  });

  it('reads nothing yet where more follow at once, and shows the yes all the same', async ({ api, desk, asked }) => {
    const [first, last] = waiting(desk, 'AAPL', 'MSFT');
    const watcher = watched(api, desk);
    await api.decideOrders([{ id: first.id, action: 'approve' }], { more: true });
    await settled();
    expect(asked).toEqual(['POST /approvals/decisions']);
    expect(watcher.mock.calls).toHaveLength(1);
    await api.decideOrders([{ id: last.id, action: 'approve' }], { more: false });
    await settled();
    expect(asked.slice(1)).toEqual(['POST /approvals/decisions', 'GET /state']);
    expect(watcher.mock.lastCall[0].data.approvals_total).toBe(0);
  });

  it('begins a read anew that was under way, though more follow: it tells of orders that wait no more', async ({ api, desk }) => {
    const [{ id }] = waiting(desk, 'AAPL', 'MSFT');
    const watcher = watched(api, desk);
    const held = hold('GET', '/state');
    api.poll('state');
    await settled();
    await api.decideOrders([{ id, action: 'approve' }], { more: true });
    await settled();
    expect(held.map(({ request }) => request.signal.aborted)).toEqual([true, false]);
    held[1]();
    await settled();
    expect(watcher.mock.calls.map(([{ data }]) => data.approvals_total)).toEqual([1, 1]);
  });

  it('fails as a whole where there is no answer', async ({ api, desk }) => {
    const [{ id }] = waiting(desk, 'AAPL');
    cutOff('POST', '/approvals/decisions');
    await expect(api.decideOrders([{ id, action: 'approve' }])).rejects.toMatchObject({ code: 'no_answer' });
  });
});
