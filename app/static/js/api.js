// The one module that talks to the server: reads kept under a key, and acts that say which keys they made stale.
// It knows nothing of the page.

export const BASE = '/api/admin/trading';

const READS = {
  state: '/state',
  'approval-config': '/approval-config',
  'trading-config': '/config',
  mode: '/mode',
  'signal-layers': '/signal-layers',
  lockouts: '/lockouts',
};

const PATIENCE = 10_000;      // after that long without an answer we say so
const MOST_RECENT = 50;       // decided orders in a state
const FULL_READ = 60_000;     // now and then read in full, though nothing changed: it also sets the clock

/** What the server said no with, or that it said nothing at all (status 0). */
export class Problem extends Error {
  constructor({ status = 0, code = '', title = '', detail = '', errors = {}, order = null } = {}) {
    super(detail || title || `The server answered ${status}.`);
    Object.assign(this, { name: 'Problem', status, code, errors, order });
  }
}

const NO_ANSWER = 'No answer from the server. The change may or may not have been made: look at the state once updates are back.';

async function problemOf(response) {
  const said = await response.json().catch(() => ({}));
  if (response.status === 401) said.detail = 'Your session has ended.';
  return new Problem({ ...said, status: response.status });
}

const tokenIn = (page) => page.querySelector('meta[name="csrf-token"]');

export function createApi({
  fetch = (...args) => window.fetch(...args),
  csrfToken = () => tokenIn(document).content,
} = {}) {
  const entries = new Map();

  async function renewToken() {
    const page = await fetch('/trading', { cache: 'no-store', credentials: 'same-origin' });
    const found = tokenIn(new DOMParser().parseFromString(await page.text(), 'text/html'));
    if (found) tokenIn(document).content = found.content;
  }

  async function send(method, path, { body, etag, version, controller = new AbortController() } = {}) {
    const headers = { Accept: 'application/json' };
    if (method !== 'GET') headers['X-CSRFToken'] = csrfToken();
    if (body !== undefined) headers['Content-Type'] = 'application/json';
    if (etag) headers['If-None-Match'] = etag;
    if (version !== undefined) headers['If-Match'] = `"${version}"`;
    const timer = setTimeout(() => controller.abort(), PATIENCE);
    try {
      const response = await fetch(BASE + path, {
        method, headers, signal: controller.signal, cache: 'no-store', credentials: 'same-origin',
        body: body === undefined ? undefined : JSON.stringify(body),
      });
      if (response.status === 304) return { unchanged: true };
      if (!response.ok) throw await problemOf(response);
      return { data: response.status === 204 ? null : await response.json(), etag: response.headers.get('ETag') };
    } catch (error) {
      throw error instanceof Problem ? error : new Problem({ code: 'no_answer', detail: NO_ANSWER });
    } finally {
      clearTimeout(timer);
    }
  }

  function entry(key) {
    if (!entries.has(key)) {
      entries.set(key, { data: undefined, etag: null, fullAt: 0, changes: 0, reading: null, watchers: new Set() });
    }
    return entries.get(key);
  }

  function tell(kept, event) {
    kept.watchers.forEach((watcher) => watcher(event));
  }

  /**
   * Reads a key again. A read under way is given up, so that only the one started last is ever applied: an older
   * answer cannot come to lie over a newer one. Resolves when it is over; the outcome goes to the watchers.
   */
  async function refetch(key, { full = false } = {}) {
    const kept = entry(key);
    kept.reading?.abort();
    const controller = new AbortController();
    kept.reading = controller;
    const sent = Date.now();
    const etag = full || sent - kept.fullAt > FULL_READ ? null : kept.etag;
    let event;
    try {
      const answer = await send('GET', READS[key], { etag, controller });
      if (kept.reading !== controller) return;
      if (!answer.unchanged) Object.assign(kept, { data: answer.data, etag: answer.etag, fullAt: sent, changes: kept.changes + 1 });
      event = { data: answer.unchanged ? undefined : answer.data, sent, received: Date.now() };
    } catch (problem) {
      if (kept.reading !== controller) return;
      event = { problem };
    }
    kept.reading = null;
    tell(kept, event);
  }

  /** Like refetch, unless a read is under way already. */
  async function poll(key) {
    if (!entry(key).reading) await refetch(key);
  }

  /** Tells of every read of a key from now on: {data, sent, received}, data undefined where nothing changed, or {problem}. */
  function watch(key, watcher) {
    entry(key).watchers.add(watcher);
    return () => entry(key).watchers.delete(watcher);
  }

  /**
   * One act. Whatever comes of it, what it may have changed is read again: where somebody watches, at once, else the
   * next time that somebody does. `patch` shows the server's yes without waiting for that read, unless something newer was read
   * while the act was under way. `more` says that another act follows at once, so that reading can wait for that.
   */
  async function mutate(method, path, body, stale, patch, { version, more = false } = {}) {
    const state = entry('state');
    const changes = state.changes;
    try {
      const { data } = await send(method, path, { body, version });
      if (state.data && state.changes === changes) {
        // The act may have made a new version, which only the next read tells: none is better than the old one.
        state.data = { ...patch(state.data, data), config_version: undefined };
        state.etag = null;
        tell(state, { data: state.data, patched: true });
      }
      return data;
    } finally {
      for (const key of more ? stale : ['state', ...stale]) {
        if (entry(key).watchers.size) refetch(key);
        else entries.delete(key);
      }
    }
  }

  const approval = (id, choice) => `/approvals/${encodeURIComponent(id)}/${choice}`;

  /** The state once an order waits no more. */
  function decided(state, order) {
    if (!state.approvals.some(({ id }) => id === order.id)) return state;
    const waiting = state.approvals_by_ticker;
    return {
      ...state,
      approvals: state.approvals.filter(({ id }) => id !== order.id),
      approvals_total: state.approvals_total - 1,
      approvals_by_ticker: { ...waiting, [order.ticker]: waiting[order.ticker] - 1 },
      recent_orders: [order, ...state.recent_orders].slice(0, MOST_RECENT),
    };
  }

  const lockout = (id) => `/lockouts/${encodeURIComponent(id)}`;

  return {
    watch, refetch, poll,

    /** The state that came with the page, so that an act has something to patch before the first read. */
    seed: (key, data) => { entry(key).data = data; },

    updateApprovalConfig: (changes) => mutate('PUT', '/approval-config', changes, ['approval-config', 'trading-config'],
      (state, approval_config) => ({ ...state, approval_config })),

    updateSignalLayers: (changes) => mutate('PUT', '/signal-layers', changes, ['signal-layers', 'trading-config'],
      (state, signal_layers) => ({ ...state, signal_layers })),

    /** `version` is that of the configuration that was looked at: whatever changed since, the server says no. */
    setMode: (change, version) => mutate('PUT', '/mode', change, ['mode', 'trading-config'],
      (state, { trading_mode }) => ({ ...state, trading_mode }), { version }),

    /** A halt must not fail because somebody signed in again on another page: it asks for a new token, once. */
    async halt() {
      try {
        return await this.setMode({ trading_mode: 'disabled' });
      } catch (problem) {
        if (problem.code !== 'csrf_failed') throw problem;
        await renewToken();
        return this.setMode({ trading_mode: 'disabled' });
      }
    },

    approveOrder: (id) => mutate('POST', approval(id, 'approve'), {}, [], decided),

    rejectOrder: (id, reason) => mutate('POST', approval(id, 'reject'), { reason }, [], decided),

    /** Up to 200 decisions: {id, action, reason?}. A result for each: {id, order}, or {id, problem}. */
    async decideOrders(decisions, { more } = {}) {
      const { results } = await mutate('POST', '/approvals/decisions', { decisions }, [],
        (state, answer) => answer.results.reduce((now, { order }) => (order ? decided(now, order) : now), state), { more });
      return results.map((result) => (result.problem ? { ...result, problem: new Problem(result.problem) } : result));
    },

    createLockout: (lock) => mutate('POST', '/lockouts', lock, ['lockouts'],
      (state, created) => ({ ...state, lockouts: [...state.lockouts, created], lockouts_total: state.lockouts_total + 1 })),

    extendLockout: (id, minutes) => mutate('PATCH', lockout(id), { extend_minutes: minutes }, ['lockouts'],
      (state, extended) => ({ ...state, lockouts: state.lockouts.map((lock) => (lock.id === id ? extended : lock)) })),

    deleteLockout: (id) => mutate('DELETE', lockout(id), undefined, ['lockouts'],
      (state) => ({ ...state, lockouts: state.lockouts.filter((lock) => lock.id !== id), lockouts_total: state.lockouts_total - 1 })),
  };
}
