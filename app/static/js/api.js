// The one module that talks to the server: reads kept under a key, and acts that say which keys they made stale.
// It knows nothing of the page.

export const BASE = '/api/admin/trading';

// What can be read, and where it is. A key may go on, as in `lockouts?ticker=AAPL` or `orders/ID`, and is stale
// together with the word that it begins with.
const READS = {
  state: '/state',
  'approval-config': '/approval-config',
  'trading-config': '/config',
  mode: '/mode',
  'signal-layers': '/signal-layers',
  lockouts: '/lockouts',
  orders: '/orders',
  approvals: '/approvals',
  audit: '/audit',
  history: '/history',
};

const wordOf = (key) => key.match(/^[a-z-]*/)[0];

function pathOf(key) {
  const word = wordOf(key);
  if (!READS[word]) throw new TypeError(`There is nothing to read under ${key}.`);
  return READS[word] + key.slice(word.length);
}

// Every act shows in the snapshot of the whole desk, and is on the record.
const ALWAYS_STALE = ['state', 'audit'];

// Keys whose content is part of /state. While the state is watched, they are filled from it instead of by a request each.
// Null: the stored section cannot be parsed.
const FROM_STATE = {
  'approval-config': (state) => state.approval_config,
  'signal-layers': (state) => state.signal_layers,
  'trading-config': (state) => ({
    trading_mode: state.trading_mode, version: state.config_version, error: state.config_error, warnings: state.config_warnings,
    second_factor_for_live: state.second_factor_for_live,
  }),
  lockouts: (state) => ({ items: state.lockouts, total: state.lockouts_total }),
};

const PATIENCE = 10_000;      // after that long without an answer we say so
// After a network change every open connection can be silent while new ones work. An HTTP/1.1 browser has about six for
// a host, uses the idle ones first and closes one only when its request is aborted.
const SILENT_AFTER = 1500;    // milliseconds without an answer to a halt
const CONNECTIONS = 6;
const RESEND_AFTER = 2000;    // of half of the halts that are sent then; the others wait for a slow server
const FRESH = 5_000;          // what was read is good for that long: other people change the desk too
const MOST_RECENT = 50;       // decided orders in a state

/** What the server said no with, or that it said nothing at all (status 0). */
export class Problem extends Error {
  constructor({ status = 0, code = '', title = '', detail = '', errors = {}, order = null, timedOut = false } = {}) {
    super(detail || title || `The server answered ${status}.`);
    Object.assign(this, { name: 'Problem', status, code, errors, order, timedOut });
  }
}

const NO_ANSWER = 'No answer from the server.';
const UNREADABLE = 'The server’s answer cannot be read.';
const OUR_MISTAKE = 'A mistake in this page.';
const NOT_KNOWN = 'The change may or may not have been made: look at the state once updates are back.';

/** Whatever it was that kept us from knowing: of a read nothing is lost by it, of an act nobody knows what came of it. */
const unanswered = (method, why, timedOut = false) => (
  new Problem({ code: 'no_answer', detail: method === 'GET' ? why : `${why} ${NOT_KNOWN}`, timedOut }));

/** The first answer that is a yes. A certain no is the same for all; any other no is given when none is left. */
function firstYes(answers) {
  return new Promise((resolve, reject) => {
    let left = answers.length;
    let told;
    const refused = (problem) => {
      left -= 1;
      if (!told?.status) told = problem;
      if ((problem.status >= 400 && problem.status < 500) || !left) reject(problem.status ? problem : told);
    };
    for (const answer of answers) answer.then(resolve, refused);
  });
}

async function problemOf(response) {
  const said = await response.json().catch(() => null);
  const ended = response.status === 401 && { detail: 'Your session has ended.' };
  return new Problem({ ...said, ...ended, status: response.status });
}

/** What is at the venue once the mode was changed. Where the server could not tell, what was known before, marked. */
function venueAfter({ venue }, { sending, unknown, on_the_way, open_orders, open_orders_total, silent_since }) {
  if (open_orders === undefined) return venue;
  if (open_orders === null) return { ...venue, untold: true };
  return { sending, unknown, on_the_way, open_orders, open_orders_total, silent_since };
}

/** What is made of an answer must neither pass for another answer when it fails, nor keep others from hearing of it. */
function attempt(act) {
  try {
    act();
  } catch (error) {
    window.reportError(error);
  }
}

const tokenIn = (page) => page.querySelector('meta[name="csrf-token"]');

/** `closeStream` closes the connection of the event stream, which then reconnects. */
export function createApi({
  fetch = (...args) => window.fetch(...args),
  csrfToken = () => tokenIn(document).content,
  closeStream = () => {},
} = {}) {
  const entries = new Map();
  const inFlight = new Set();   // an AbortController for each request without an answer
  let halting = null;

  /** `request(signal)`, which is aborted after `patience` milliseconds and by closeConnections(). */
  async function bounded(request, patience, controller = new AbortController()) {
    const timer = setTimeout(() => controller.abort(), patience);
    inFlight.add(controller);
    try {
      return await request(controller.signal);
    } finally {
      clearTimeout(timer);
      inFlight.delete(controller);
    }
  }

  /** Close every connection on which an answer is awaited: those may be silent for good. */
  function closeConnections() {
    closeStream();
    inFlight.forEach((controller) => controller.abort());
  }

  async function renewToken() {
    const text = await bounded(async (signal) => (
      await fetch('/trading', { cache: 'no-store', credentials: 'same-origin', signal })).text(), PATIENCE);
    const found = tokenIn(new DOMParser().parseFromString(text, 'text/html'));
    if (found) tokenIn(document).content = found.content;
  }

  async function send(method, path, { body, etag, version, controller, patience = PATIENCE } = {}) {
    const headers = { Accept: 'application/json' };
    if (method !== 'GET') headers['X-CSRFToken'] = csrfToken();
    if (body !== undefined) headers['Content-Type'] = 'application/json';
    if (etag) headers['If-None-Match'] = etag;
    if (version !== undefined) headers['If-Match'] = `"${version}"`;
    const ask = async (signal) => {
      const silence = () => { throw unanswered(method, NO_ANSWER, signal.aborted); };   // told apart here: a mistake of ours is a TypeError too
      const response = await fetch(BASE + path, {
        method, headers, signal, cache: 'no-store', credentials: 'same-origin',
        body: body === undefined ? undefined : JSON.stringify(body),
      }).catch(silence);
      const time = response.headers.get('Server-Time');   // of the state, also where it did not change
      if (response.status === 304) return { unchanged: true, time };
      if (!response.ok) throw await problemOf(response);
      const data = response.status === 204 ? null : JSON.parse(await response.text().catch(silence));
      return { data, etag: response.headers.get('ETag'), time };
    };
    try {
      return await bounded(ask, patience, controller);
    } catch (error) {
      if (error instanceof Problem) throw error;
      if (error instanceof SyntaxError) throw unanswered(method, UNREADABLE);
      window.reportError(error);
      throw unanswered(method, OUR_MISTAKE);
    }
  }

  /**
   * Sends a halt on every connection that a browser opens to a host; the first yes counts. Half of them are sent again
   * every two seconds, for a connection that works by then; the other half waits for a server that is slow.
   */
  async function haltOnAllConnections(method, path, options) {
    const deadline = Date.now() + PATIENCE;
    const controllers = new Set();
    async function sendAgain(patience) {
      for (;;) {
        const controller = new AbortController();
        controllers.add(controller);
        try {
          return await send(method, path, { ...options, controller, patience });
        } catch (problem) {
          controllers.delete(controller);
          if (over || !problem.timedOut || Date.now() >= deadline) throw problem;
        }
      }
    }
    let over = false;
    try {
      return await firstYes(Array.from({ length: CONNECTIONS }, (_, number) => sendAgain(number % 2 ? RESEND_AFTER : PATIENCE)));
    } finally {
      over = true;
      controllers.forEach((controller) => controller.abort());
    }
  }

  /** A halt that gives up silent connections. Halting twice changes nothing, so it is safe to send it again. */
  async function sendHalt(method, path, options) {
    let silent = false;
    const timer = setTimeout(() => {
      silent = true;
      closeConnections();
    }, SILENT_AFTER);
    try {
      return await send(method, path, options);
    } catch (problem) {
      if (!silent) throw problem;
    } finally {
      clearTimeout(timer);
    }
    return haltOnAllConnections(method, path, options);
  }

  function entry(key) {
    if (!entries.has(key)) {
      entries.set(key, {
        path: pathOf(key), data: undefined, etag: null, at: 0, changes: 0, reading: null, watchers: new Set(),
      });
    }
    return entries.get(key);
  }

  const isFresh = ({ data, at }) => data !== undefined && Date.now() - at < FRESH;

  /** The keys that are filled from the state are updated first, so that watchers of the state find them current. */
  function tell(kept, event) {
    if (kept === entries.get('state') && kept.watchers.size) {
      for (const [key, part] of Object.entries(FROM_STATE)) {
        if (entries.has(key)) tell(entries.get(key), event.data ? { ...event, data: part(event.data) } : event);
      }
    }
    kept.watchers.forEach((watcher) => attempt(() => watcher(event)));
  }

  /** The key that is requested so that the watchers of this one get an event. */
  const sourceOf = (key) => (key in FROM_STATE && entries.get('state')?.watchers.size ? 'state' : key);

  /** One read, and what came of it for the watchers; nothing where it was given up meanwhile. */
  async function take(kept, reading, patience) {
    const sent = Date.now();
    let event;
    try {
      const answer = await send('GET', kept.path, { etag: kept.etag, controller: reading.controller, patience });
      if (kept.reading !== reading) return undefined;
      if (!answer.unchanged) Object.assign(kept, { data: answer.data, etag: answer.etag, changes: kept.changes + 1 });
      kept.at = sent;
      event = { data: answer.unchanged ? undefined : answer.data, time: answer.time, sent, received: Date.now() };
    } catch (problem) {
      if (kept.reading !== reading) return undefined;
      event = { problem };
    }
    kept.reading = null;
    tell(kept, event);
    return event;
  }

  function giveUp(kept) {
    kept.reading?.controller.abort();
    kept.reading = null;
  }

  /**
   * Reads a key again. A read under way is given up, so that only the one started last is ever applied: an older
   * answer cannot come to lie over a newer one. Resolves when it is over; the outcome goes to the watchers. Without an
   * answer after `patience` milliseconds it has failed.
   */
  function request(key, { patience } = {}) {
    const kept = entry(key);
    giveUp(kept);
    const reading = { controller: new AbortController() };
    kept.reading = reading;
    reading.outcome = take(kept, reading, patience);
    return reading.outcome;
  }

  const refetch = (key, options) => request(sourceOf(key), options);

  /** What is kept under a key while it is fresh, else what a read says: one, shared by all who ask meanwhile. */
  async function read(key) {
    while (!isFresh(entry(key))) {
      const { reading } = entry(key);
      const event = await (reading ? reading.outcome : request(key));
      if (event?.problem) throw event.problem;
      // A slow answer may be past its time already, and is still the newest there is.
      if (event) break;
    }
    return entry(key).data;
  }

  /** Like refetch, unless a read is under way already. */
  async function poll(key, options) {
    if (!entry(key).reading) await refetch(key, options);
  }

  /** Tells of every read of a key from now on: {data, time, sent, received}, data undefined where nothing changed, or {problem}. */
  function watch(key, watcher) {
    entry(key).watchers.add(watcher);
    return () => entry(key).watchers.delete(watcher);
  }

  /** Passes on what is known under a key now, if anything is, and the data of every later read. */
  function follow(key, take) {
    const state = entries.get('state')?.data;
    const known = state && key in FROM_STATE ? FROM_STATE[key](state) : entry(key).data;
    if (known !== undefined) take(known);
    return watch(key, ({ data }) => { if (data !== undefined) take(data); });
  }

  /**
   * What an act may have changed is read again: where somebody watches, at once, else when somebody asks. A read that
   * began before the act was over tells of what was: it is given up either way.
   */
  function outdate(words, later) {
    const sources = new Set();
    for (const [key, kept] of [...entries]) {
      if (!words.includes(wordOf(key))) continue;
      kept.at = 0;
      if (kept.watchers.size) sources.add(sourceOf(key));
      if (!kept.watchers.size || sourceOf(key) !== key) giveUp(kept);
      if (!kept.watchers.size) entries.delete(key);
    }
    for (const source of sources) if (!later || entry(source).reading) request(source);
  }

  /**
   * One act. Whatever comes of it, what it may have changed is read again: `stale`, exactly. `patch` shows the server's
   * yes without waiting for that read, unless something newer was read while the act was under way. `more` says that
   * another act follows at once, so that reading can wait for that.
   */
  async function mutate(method, path, body, stale, patch, { version, more = false, via = send } = {}) {
    const state = entry('state');
    const changes = state.changes;
    try {
      const { data } = await via(method, path, { body, version });
      if (state.data && state.changes === changes) {
        attempt(() => {
          // The act may have made a new version, which only the next read tells: none is better than the old one.
          state.data = { ...patch(state.data, data), config_version: undefined };
          state.etag = null;
          tell(state, { data: state.data, patched: true });
        });
      }
      return data;
    } finally {
      outdate([...ALWAYS_STALE, ...stale], more);
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

  const setMode = (change, options) => mutate('PUT', '/mode', change, ['mode', 'trading-config', 'approvals', 'orders'],
    (state, answer) => ({ ...state, trading_mode: answer.trading_mode, venue: venueAfter(state, answer) }), options);

  /** A halt must not fail because the person signed in again on another page: it asks for a new token, once. */
  async function halt() {
    const stop = () => setMode({ trading_mode: 'disabled' }, { via: sendHalt });
    try {
      return await stop();
    } catch (problem) {
      if (problem.code !== 'csrf_failed') throw problem;
      await renewToken().catch(() => {});   // then the second no tells why
      return stop();
    }
  }

  const lockout = (id) => `/lockouts/${encodeURIComponent(id)}`;

  // Each act names what it makes stale. Orders that wait say what would hold them now, so lockouts show there as well.
  return {
    read, watch, follow, refetch, poll,

    /** What came with the page, so that an act has something to patch before the first read, and that is a light one. */
    seed: (key, data, tag) => { Object.assign(entry(key), { data, etag: tag ? `"${tag}"` : null }); },

    updateApprovalConfig: (changes) => mutate('PUT', '/approval-config', changes, ['approval-config', 'trading-config'],
      (state, approval_config) => ({ ...state, approval_config })),

    updateSignalLayers: (changes) => mutate('PUT', '/signal-layers', changes, ['signal-layers', 'trading-config', 'approvals'],
      (state, signal_layers) => ({ ...state, signal_layers })),

    /** `version` is that of the configuration that was looked at: whatever changed since, the server says no. */
    setMode: (change, version) => setMode(change, { version }),

    /** One halt at a time: asking again while one is under way waits for that one. */
    halt() {
      halting ??= halt().finally(() => { halting = null; });
      return halting;
    },

    /** The second step of a halt; `stops` are the ids of the stop orders that are to end too. */
    cancelAtVenue(stops) {
      return setMode({ trading_mode: 'disabled', cancel_open_orders: true, protective_stops: stops });
    },

    approveOrder: (id) => mutate('POST', approval(id, 'approve'), {}, ['approvals', 'orders'], decided),

    rejectOrder: (id, reason) => mutate('POST', approval(id, 'reject'), { reason }, ['approvals', 'orders'], decided),

    /** Up to 200 decisions: {id, action, reason?}. A result for each: {id, order}, or {id, problem}. */
    async decideOrders(decisions, { more } = {}) {
      const { results } = await mutate('POST', '/approvals/decisions', { decisions }, ['approvals', 'orders'],
        (state, answer) => answer.results.reduce((now, { order }) => (order ? decided(now, order) : now), state), { more });
      return results.map((result) => (result.problem ? { ...result, problem: new Problem(result.problem) } : result));
    },

    createLockout: (lock) => mutate('POST', '/lockouts', lock, ['lockouts', 'approvals'],
      (state, created) => ({ ...state, lockouts: [...state.lockouts, created], lockouts_total: state.lockouts_total + 1 })),

    extendLockout: (id, minutes) => mutate('PATCH', lockout(id), { extend_minutes: minutes }, ['lockouts', 'approvals'],
      (state, extended) => ({ ...state, lockouts: state.lockouts.map((lock) => (lock.id === id ? extended : lock)) })),

    deleteLockout: (id) => mutate('DELETE', lockout(id), undefined, ['lockouts', 'approvals'],
      (state) => ({ ...state, lockouts: state.lockouts.filter((lock) => lock.id !== id), lockouts_total: state.lockouts_total - 1 })),
  };
}
