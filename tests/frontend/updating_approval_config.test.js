// The counterpart of useApprovalConfig and useUpdateApprovalConfig.

import { describe, expect, vi } from 'vitest';

import { hold, it, refuse, settled } from './serving.js';
import { readAgainBy } from './stale.js';

describe('updating the approval config', () => {
  it('answers with the settings in force, and leaves every other key as it was', async ({ api, desk }) => {
    desk.config = { operator_approval: { approval_timeout_minutes: 5 }, sector_exposure: { tech: '0.3' } };
    expect(await api.updateApprovalConfig({ auto_approve_paper: false })).toEqual({
      auto_approve_paper: false, require_approval_for_live: true, approval_timeout_minutes: 5,
    });
    expect(desk.config).toEqual({
      operator_approval: { auto_approve_paper: false, approval_timeout_minutes: 5 }, sector_exposure: { tech: '0.3' },
    });
  });

  it('sends what changes, and nothing else', async ({ api }) => {
    const held = hold('PUT', '/approval-config');
    const act = api.updateApprovalConfig({ approval_timeout_minutes: 15 });
    await settled();
    const { request } = held[0];
    expect(await request.clone().json()).toEqual({ approval_timeout_minutes: 15 });
    expect(request.headers.get('Content-Type')).toBe('application/json');
    expect(request.headers.get('X-CSRFToken')).toBe('token-of-this-session');
    held[0]();
    await act;
  });

  it('has read again what it made stale, and nothing else', async ({ api, asked }) => {
    const again = await readAgainBy(() => api.updateApprovalConfig({ auto_approve_paper: false }), { api, asked });
    expect(again).toEqual(['approval-config', 'audit', 'state', 'trading-config']);
  });

  it('reads nothing again where nobody watches', async ({ api, asked }) => {
    await api.updateApprovalConfig({ auto_approve_paper: false });
    await settled();
    expect(asked).toEqual(['PUT /approval-config']);
  });

  it('lets the next who reads it see the new value', async ({ api }) => {
    expect((await api.read('approval-config')).auto_approve_paper).toBe(true);
    expect((await api.read('trading-config')).config).toEqual({});
    await api.updateApprovalConfig({ auto_approve_paper: false });
    expect((await api.read('approval-config')).auto_approve_paper).toBe(false);
    expect((await api.read('trading-config')).config).toEqual({ operator_approval: { auto_approve_paper: false } });
  });

  it('shows the yes at once, and without a version, for it may be a new one', async ({ api, desk }) => {
    const watcher = vi.fn();
    api.seed('state', desk.state());
    api.watch('state', watcher);
    const held = hold('GET', '/state');
    await api.updateApprovalConfig({ auto_approve_paper: false });
    const [[{ data, patched }]] = watcher.mock.calls;
    expect(patched).toBe(true);
    expect(data.approval_config.auto_approve_paper).toBe(false);
    expect(data.config_version).toBeUndefined();
    await settled();
    held[0]();
    await settled();
    expect(watcher.mock.lastCall[0].data.config_version).toBe(2);
  });

  it('brings the version back where nothing was changed, and so the state is the same as before', async ({ api }) => {
    const watcher = vi.fn();
    api.watch('state', watcher);
    await api.refetch('state');
    await api.updateApprovalConfig({ auto_approve_paper: true });
    await settled();
    expect(watcher.mock.calls.map(([{ data }]) => data?.config_version)).toEqual([1, undefined, 1]);
  });

  it('has the state read again when the server says no: perhaps it is another by now', async ({ api, asked }) => {
    refuse('PUT', '/approval-config', 409, 'config_invalid', 'operator_approval must be an object, not an integer');
    const again = await readAgainBy(
      () => expect(api.updateApprovalConfig({ auto_approve_paper: false })).rejects.toMatchObject({ status: 409, code: 'config_invalid' }),
      { api, asked },
    );
    expect(again).toEqual(['approval-config', 'audit', 'state', 'trading-config']);
  });

  it('names the field that the server refused', async ({ api }) => {
    await expect(api.updateApprovalConfig({ approval_timeout_minutes: 10_081 }))
      .rejects.toMatchObject({ status: 422, errors: { approval_timeout_minutes: ['must be from 1 to 10080'] } });
  });

  it('mends a section that cannot be read with all of its keys, and with fewer it does not', async ({ api, desk }) => {
    desk.config = { operator_approval: 5, other: 1 };
    await expect(api.updateApprovalConfig({ auto_approve_paper: true })).rejects.toMatchObject({ code: 'config_invalid' });
    await api.updateApprovalConfig({ auto_approve_paper: true, require_approval_for_live: true, approval_timeout_minutes: 30 });
    expect((await api.read('state')).config_error).toBeNull();
    expect(desk.config.other).toBe(1);
  });

  it('leaves live approval to admins', async ({ api, desk }) => {
    desk.who = { name: 'otto', role: 'operator' };
    await expect(api.updateApprovalConfig({ require_approval_for_live: false })).rejects.toMatchObject({ status: 403, code: 'forbidden' });
  });
});

describe('updating the signal layers', () => {
  it('answers with both, and has read again what it made stale', async ({ api, asked }) => {
    const again = await readAgainBy(async () => {
      expect(await api.updateSignalLayers({ macro: false })).toEqual({ macro: false, competitive: true });
    }, { api, asked });
    expect(again).toEqual(['approvals', 'audit', 'signal-layers', 'state', 'trading-config']);
  });
});
