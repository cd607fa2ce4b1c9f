// Reading by key: what is kept, what is asked for, and who shares an answer.

import { describe, expect, vi } from 'vitest';

import { cutOff, hold, it, settled } from './serving.js';
import { EVERY_KEY } from './stale.js';

const later = (seconds) => vi.setSystemTime(Date.now() + seconds * 1000);

describe('reading by key', () => {
  it.for(EVERY_KEY)('%s is where its name says', async (key, { api, asked }) => {
    expect(await api.read(key)).toBeTypeOf('object');
    expect(asked).toEqual([`GET /${key.replace('trading-', '')}`]);
  });

  it('gives what the desk says', async ({ api, desk }) => {
    desk.config = { operator_approval: { auto_approve_paper: false } };
    expect(await api.read('approval-config')).toEqual({
      auto_approve_paper: false, require_approval_for_live: true, approval_timeout_minutes: 30,
    });
  });

  it('takes a key that goes on, and keeps each apart', async ({ api, desk, asked }) => {
    desk.createLockout({ ticker: 'AAPL', reason: 'news', duration_minutes: 60 });
    expect((await api.read('lockouts?ticker=AAPL')).items).toHaveLength(1);
    expect((await api.read('lockouts?ticker=MSFT')).items).toHaveLength(0);
    const { order } = desk.submit({ client_order_id: '1', ticker: 'AAPL', side: 'buy', qty: '1', type: 'market' });
    expect((await api.read(`orders/${order.id}`)).client_order_id).toBe('1');
    expect(asked).toEqual(['GET /lockouts?ticker=AAPL', 'GET /lockouts?ticker=MSFT', `GET /orders/${order.id}`]);
  });

  it('knows what there is to read', async ({ api, asked }) => {
    await expect(api.read('users')).rejects.toThrow('There is nothing to read under users.');
    expect(() => api.watch('users', () => {})).toThrow(TypeError);
    expect(asked).toEqual([]);
  });

  it('asks once for all who read at the same time', async ({ api, asked }) => {
    const [one, other] = await Promise.all([api.read('lockouts'), api.read('lockouts'), api.read('mode')]);
    expect(one).toBe(other);
    expect(asked).toEqual(['GET /lockouts', 'GET /mode']);
  });

  it('keeps the answer for a few seconds, and no longer', async ({ api, asked }) => {
    const first = await api.read('lockouts');
    expect(await api.read('lockouts')).toBe(first);
    expect(asked).toHaveLength(1);
    vi.useFakeTimers({ toFake: ['Date'] });
    later(6);
    expect(await api.read('lockouts')).toEqual(first);
    expect(asked).toHaveLength(2);
    vi.useRealTimers();
  });

  it('asks only whether something changed where there is a tag to ask with', async ({ api, desk, asked }) => {
    const first = await api.read('trading-config');
    vi.useFakeTimers({ toFake: ['Date'] });
    later(6);
    expect(await api.read('trading-config')).toBe(first);   // 304: the very same
    later(6);
    desk.merge('signal_layers', { macro: false }, 'signal_layers.change');
    expect((await api.read('trading-config')).config).toEqual({ signal_layers: { macro: false } });
    expect(asked).toHaveLength(3);
    vi.useRealTimers();
  });

  it('joins a read that is under way already, and follows it when it is begun anew', async ({ api, desk, asked }) => {
    const held = hold('GET', '/lockouts');
    api.refetch('lockouts');
    const reading = api.read('lockouts');
    await settled();
    expect(asked).toEqual(['GET /lockouts']);
    api.refetch('lockouts');
    await settled();
    desk.createLockout({ ticker: 'AAPL', reason: 'news', duration_minutes: 60 });
    held[1]();
    expect((await reading).items).toHaveLength(1);
    expect(held[0].request.signal.aborted).toBe(true);
    expect(asked).toHaveLength(2);
  });

  it('gives a slow answer too, though it is past its time when it comes', async ({ api }) => {
    const held = hold('GET', '/mode');
    vi.useFakeTimers({ toFake: ['Date'] });
    const reading = api.read('mode');
    await settled();
    later(9);
    held[0]();
    expect(await reading).toEqual({ trading_mode: 'paper' });
    vi.useRealTimers();
  });

  it('tells all who asked of a failure, keeps nothing of it, and asks again next time', async ({ api, asked }) => {
    cutOff('GET', '/lockouts');
    const both = await Promise.allSettled([api.read('lockouts'), api.read('lockouts')]);
    expect(both.map(({ reason }) => reason.code)).toEqual(['no_answer', 'no_answer']);
    await expect(api.read('lockouts')).rejects.toMatchObject({ code: 'no_answer' });
    expect(asked).toHaveLength(2);
  });

  it('does not take the state that came with the page for one that was read', async ({ api, desk, asked }) => {
    api.seed('state', { ...desk.state(), trading_mode: 'live' });
    expect((await api.read('state')).trading_mode).toBe('paper');
    expect(asked).toEqual(['GET /state']);
  });
});

describe('what an act made stale', () => {
  it('is asked for again by the next who reads it', async ({ api, asked }) => {
    expect((await api.read('lockouts')).items).toHaveLength(0);
    await api.createLockout({ ticker: 'AAPL', reason: 'news', duration_minutes: 60 });
    expect((await api.read('lockouts')).items).toHaveLength(1);
    expect(asked).toEqual(['GET /lockouts', 'POST /lockouts', 'GET /lockouts']);
  });

  it('is forgotten where nobody watches: it is asked for in full', async ({ api }) => {
    await api.read('trading-config');
    await api.updateSignalLayers({ macro: false });
    const held = hold('GET', '/config');
    const reading = api.read('trading-config');
    await settled();
    expect(held[0].request.headers.has('If-None-Match')).toBe(false);
    held[0]();
    expect((await reading).version).toBe(2);
  });

  it('includes the keys that go on from it', async ({ api }) => {
    expect((await api.read('lockouts?ticker=AAPL')).items).toHaveLength(0);
    await api.createLockout({ ticker: 'AAPL', reason: 'news', duration_minutes: 60 });
    expect((await api.read('lockouts?ticker=AAPL')).items).toHaveLength(1);
  });

  it('is not what a read says that began before the act was over', async ({ api, desk }) => {
    const held = hold('GET', '/lockouts');
    const reading = api.read('lockouts');
    await settled();
    await api.createLockout({ ticker: 'AAPL', reason: 'news', duration_minutes: 60 });
    await settled();
    expect(held).toHaveLength(2);
    held[1]();
    expect((await reading).items).toEqual(desk.lockouts());
    expect(held[0].request.signal.aborted).toBe(true);
  });

  it('is read again even where somebody watches and the answer is not there yet', async ({ api }) => {
    api.watch('lockouts', () => {});
    expect((await api.read('lockouts')).items).toHaveLength(0);
    await api.createLockout({ ticker: 'AAPL', reason: 'news', duration_minutes: 60 });
    expect((await api.read('lockouts')).items).toHaveLength(1);
  });

  it('is nothing else: what the act does not touch stays kept', async ({ api, asked }) => {
    await api.read('mode');
    await api.createLockout({ ticker: 'AAPL', reason: 'news', duration_minutes: 60 });
    await api.read('mode');
    expect(asked).toEqual(['GET /mode', 'POST /lockouts']);
  });
});
