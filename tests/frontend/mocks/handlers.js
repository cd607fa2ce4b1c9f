// A handler for every operation of the API document, named as it is there. Each answers from a desk in memory, behind
// the same door as the server's: credential, right, CSRF token, body.

import { createHash } from 'node:crypto';

import { http, HttpResponse } from 'msw/http';

import { instrumentKey, isBlockedBy } from '../../../app/static/js/instruments.js';
import { readForm, stored, tickerProblem } from './forms.js';
import { Refusal } from './refusal.js';

export const BASE = '/api/admin/trading';

const PEOPLE = ['viewer', 'operator', 'admin'];
const ANYBODY = [...PEOPLE, 'engine'];
const OPERATORS = ['operator', 'admin'];
const LARGEST = 1024 * 1024;
const HOUR = 3600_000;
const OUTCOMES = ['blocked', 'released', 'approved', 'rejected', 'expired', 'canceled'];
const STATUSES = [
  'blocked', 'pending_approval', 'released', 'rejected', 'expired', 'canceled', 'sending', 'unknown', 'accepted',
  'partially_filled', 'filled', 'replaced', 'venue_rejected', 'venue_canceled', 'venue_expired',
];

const soon = ({ expires_at: end, id }) => `${end}|${id}`;
const numbered = ({ id }) => String(id);

const OPERATIONS = {
  'get approval-config': { may: PEOPLE, does: ({ desk }) => desk.section('operator_approval') },
  'put approval-config': {
    may: OPERATORS, form: 'ApprovalConfigChange',
    does: ({ desk, body }) => desk.merge('operator_approval', body, 'approval_config.change'),
  },
  'get signal-layers': { may: ANYBODY, does: ({ desk }) => desk.section('signal_layers') },
  'put signal-layers': {
    may: OPERATORS, form: 'SignalLayersChange',
    does: ({ desk, body }) => desk.merge('signal_layers', body, 'signal_layers.change'),
  },
  'get config': { may: PEOPLE, does: ({ desk, request }) => unlessKnown(request, desk.storedConfig(), desk.version) },
  'put config': { may: ['admin'], form: 'ConfigReplacement', needsVersion: true, does: replaceConfig },
  'get mode': { may: ANYBODY, does: ({ desk }) => desk.tradingMode() },
  'put mode': { may: OPERATORS, form: 'ModeChange', does: changeMode },
  'get lockouts': { may: ANYBODY, takes: ['ticker', 'limit', 'cursor'], does: ({ desk, query }) => page(desk.lockouts().filter(ofTicker(query)), query, soon) },
  'post lockouts': { may: [...OPERATORS, 'engine'], form: 'NewLockout', does: createLockout },
  'patch lockouts/{lockout_id}': {
    may: OPERATORS, form: 'LockoutExtension', does: ({ desk, params, body }) => desk.extendLockout(params.lockout_id, body.extend_minutes),
  },
  'delete lockouts/{lockout_id}': { may: OPERATORS, takes: ['reason'], does: removeLockout },
  'post orders': { may: ['engine'], form: 'NewOrder', does: submit },
  'get orders': { may: ANYBODY, takes: ['status', 'ticker', 'client_order_id', 'limit', 'cursor'], does: listOrders },
  'get orders/{order_id}': { may: ANYBODY, takes: ['wait'], does: readOrder },
  'post orders/{order_id}/cancel': { may: ['engine'], does: ({ desk, params, who }) => desk.cancel(params.order_id, who.name) },
  'get approvals': { may: PEOPLE, takes: ['limit', 'cursor'], does: ({ desk, query }) => page(desk.approvals(), query, soon) },
  'post approvals/{order_id}/approve': {
    may: OPERATORS, form: 'Approval', mayBeMissing: true, does: ({ desk, params, body }) => desk.approve(params.order_id, body.note),
  },
  'post approvals/{order_id}/reject': {
    may: OPERATORS, form: 'Rejection', does: ({ desk, params, body }) => desk.reject(params.order_id, body.reason),
  },
  'post approvals/decisions': {
    may: OPERATORS, form: 'Decisions', does: ({ desk, body }) => ({ results: body.decisions.map((entry) => decided(desk, entry)) }),
  },
  'get audit': {
    may: PEOPLE, takes: ['action', 'actor', 'people', 'ticker', 'order', 'from', 'to', 'limit', 'cursor'], does: listAudit,
  },
  'get audit/{event_id}': { may: PEOPLE, does: ({ desk, params }) => desk.event(params.event_id) },
  'get state': { may: PEOPLE, does: readState },
  'get history': { may: PEOPLE, does: ({ desk }) => lastDay(desk) },
  'get stream': { may: PEOPLE, does: stream },
};

/** Of a halt, what was left out of it is told as well. */
function changeMode({ desk, body: { ignored, ...change }, request }) {
  const mode = desk.changeMode(change, versionsOf(request));
  return ignored ? { ...mode, ignored } : mode;
}

function replaceConfig({ desk, body, request }) {
  return HttpResponse.json(desk.replaceConfig(body.config, versionsOf(request)), { headers: { ETag: `"${desk.version}"` } });
}

function createLockout({ desk, body, who }) {
  const lockout = desk.createLockout(body, who);
  return HttpResponse.json(lockout, { status: 201, headers: { Location: `${BASE}/lockouts/${lockout.id}` } });
}

function removeLockout({ desk, params }) {
  desk.removeLockout(params.lockout_id);
  return new HttpResponse(null, { status: 204 });
}

function submit({ desk, body, who }) {
  const { order, made } = desk.submit(body, who.name);
  return made ? HttpResponse.json(order, { status: 201, headers: { Location: `${BASE}/orders/${order.id}` } }) : order;
}

const ownOnly = ({ role, name }) => (role === 'engine' ? name : undefined);

function listOrders({ desk, query, who }) {
  const status = oneOf('status', query.get('status'), STATUSES);
  const [ticker, clientOrderId] = [tickerOf(query), query.get('client_order_id')];
  return page(desk.orders({ engine: ownOnly(who), status, ticker, client_order_id: clientOrderId }), query, numbered);
}

/** `wait` is checked and no more: the answer comes at once. */
function readOrder({ desk, params, query, who }) {
  if (!/^\d{1,2}$/.test(query.get('wait') ?? 0) || Number(query.get('wait')) > 30) {
    throw Refusal.invalid({ wait: ['must be a whole number of seconds from 0 to 30'] });
  }
  return desk.order(params.order_id, ownOnly(who));
}

function decided(desk, { id, action, note, reason }) {
  try {
    return { id, action, status: 200, order: action === 'approve' ? desk.approve(id, note) : desk.reject(id, reason) };
  } catch (refusal) {
    return { id, action, status: refusal.status, problem: refusal.body };
  }
}

/** Events of orders and lockouts hold a ticker. */
function isOf(key, { action, before, after }) {
  return /^(order|lockout)\./.test(action) && instrumentKey((after ?? before).ticker) === key;
}

function listAudit({ desk, query }) {
  const actions = [...new Set(['mode.change', ...desk.events.map(({ action }) => action)])];
  const found = desk.audit({ action: oneOf('action', query.get('action'), actions), actor: query.get('actor') });
  const [key, order, from, to] = [tickerOf(query) && instrumentKey(tickerOf(query)), query.get('order'), query.get('from'), query.get('to')];
  return page(found.filter((event) => (!key || isOf(key, event)) && (!order || event.subject === order.toLowerCase())
    && (!from || Date.parse(event.created_at) >= Date.parse(from)) && (!to || Date.parse(event.created_at) < Date.parse(to))), query, numbered);
}

function readState({ desk, request }) {
  const state = desk.state();
  const shown = JSON.stringify({ ...state, server_time: null });
  const tag = createHash('sha256').update(shown).digest('hex').slice(0, 32);
  return unlessKnown(request, state, tag, { 'Server-Time': state.server_time });
}

/** What the desk in memory knows of it: all that was decided is of this hour, and no lockout that was removed is kept. */
function lastDay(desk) {
  const { server_time: now } = desk.state();
  const last = Math.floor(Date.parse(now) / HOUR) * HOUR;
  const nothing = { decided_by_people: 0, median_seconds: null, p90_seconds: null };
  const hours = Array.from({ length: 24 }, (_, n) => ({
    start: new Date(last - (23 - n) * HOUR).toISOString(), ...Object.fromEntries(OUTCOMES.map((outcome) => [outcome, 0])), ...nothing,
  }));
  for (const { status, decided_by: by } of desk.orders({})) {
    const outcome = status === 'released' && by !== 'system:gate' ? 'approved' : status;
    if (OUTCOMES.includes(outcome)) hours[23][outcome] += 1;
  }
  const lockouts = desk.lockouts().map((lock) => ({ ...lock, removed_at: null, removed_by: null }));
  return { since: hours[0].start, server_time: now, hours, lockouts, more_lockouts: false, modes: [] };
}

/** One event, and the end: whoever reads a stream begins anew then. */
function stream({ desk }) {
  return new HttpResponse(`data: ${JSON.stringify({ state_version: desk.state().state_version })}\n\n`, {
    headers: { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' },
  });
}

// Reading requests

function tickerOf(query) {
  if (!query.has('ticker')) return undefined;
  const ticker = stored(query.get('ticker'));
  const problem = tickerProblem(ticker, true);
  if (problem) throw Refusal.invalid({ ticker: [problem] });
  return ticker;
}

function ofTicker(query) {
  const ticker = tickerOf(query);
  return (one) => !ticker || isBlockedBy(ticker, one.ticker);
}

function oneOf(name, value, words) {
  if (value !== null && !words.includes(value)) throw Refusal.invalid({ [name]: [`must be one of ${words.join(', ')}`] });
  return value;
}

/** Refuses query parameters that an operation does not take; a halt takes any. */
function checkQuery(query, { form, takes = [] }) {
  const unknown = [...query.keys()].filter((name) => !takes.includes(name));
  if (form === 'ModeChange' || !unknown.length) return;
  throw Refusal.invalid(Object.fromEntries(unknown.map((name) => [name, ['is not a known query parameter']])));
}

/** One page of a list; the cursor is the place of the last that was shown. */
function page(items, query, place) {
  const limit = query.get('limit') ?? '50';
  if (!/^\d{1,3}$/.test(limit) || Number(limit) < 1 || Number(limit) > 200) throw Refusal.invalid({ limit: ['must be a whole number from 1 to 200'] });
  const cursor = query.get('cursor');
  const seen = items.findIndex((item) => btoa(place(item)) === cursor);
  if (cursor !== null && seen < 0) throw Refusal.invalid({ cursor: ['is not one that this list gave out'] });
  const shown = items.slice(seen + 1, seen + 1 + Number(limit));
  return { items: shown, next: seen + 1 + shown.length < items.length ? btoa(place(shown.at(-1))) : null };
}

/** The versions that If-Match allows; nothing where there is none, or `*`. */
function versionsOf(request) {
  const said = request.headers.get('If-Match');
  return !said || said === '*' ? undefined : [...said.matchAll(/"(\d+)"/g)].map(([, version]) => Number(version));
}

function unlessKnown(request, data, tag, more = {}) {
  const headers = { ETag: `"${tag}"`, ...more };
  const known = request.headers.get('If-None-Match')?.includes(`"${tag}"`);
  return known ? new HttpResponse(null, { status: 304, headers }) : HttpResponse.json(data, { headers });
}

// The door

/** Engines show a token, people a session. */
function whoAsks(desk, request) {
  if (desk.outage) throw new Refusal(503, 'database_unavailable', 'the database cannot be reached: nothing is released; look again before you repeat this');
  if (desk.tooMuch) throw new Refusal(429, 'too_many_at_once', 'too much of this credential is under way: nothing was changed, wait 1 second and try again');
  const token = request.headers.get('Authorization')?.match(/^Bearer (\w+)\.\w+$/);
  const who = token ? { name: token[1], role: 'engine' } : desk.who;
  if (!who) throw new Refusal(401, 'unauthenticated', 'sign in, or send a token: Authorization: Bearer ID.SECRET');
  return who;
}

async function bodyOf(request, { form, mayBeMissing }, stalls) {
  if (stalls) throw new Refusal(408, 'body_too_slow', 'the body did not arrive within 10 seconds: nothing was changed');
  const text = await request.text();
  if (text.length > LARGEST) throw new Refusal(413, 'body_too_large', 'the body is larger than 1 MiB');
  if (!form) return undefined;
  const type = request.headers.get('Content-Type');
  if (mayBeMissing && !type && !text) return {};
  if (type?.split(';')[0] !== 'application/json') throw new Refusal(415, 'unsupported_media_type', 'send JSON, with Content-Type: application/json');
  let body;
  try {
    body = JSON.parse(text);
  } catch (error) {
    throw new Refusal(400, 'malformed_json', error.message);
  }
  if (typeof body !== 'object' || body === null || Array.isArray(body)) throw new Refusal(400, 'malformed_json', 'the body must be a JSON object');
  return readForm(form, body);
}

function answerer(desk, operation) {
  return async ({ request, params }) => {
    try {
      const who = whoAsks(desk, request);
      if (!operation.may.includes(who.role)) throw new Refusal(403, 'forbidden', `the role ${who.role} may not do this`);
      if (request.method !== 'GET' && !request.headers.has('Authorization') && request.headers.get('X-CSRFToken') !== desk.csrfToken) {
        throw new Refusal(403, 'csrf_failed', 'The CSRF tokens do not match. Reload the page and try again.');
      }
      if (operation.needsVersion && !request.headers.has('If-Match')) {
        throw new Refusal(428, 'precondition_required', 'send If-Match with the ETag of the configuration that you read, or *');
      }
      const query = new URL(request.url).searchParams;
      checkQuery(query, operation);
      const body = await bodyOf(request, operation, desk.stalls);
      const said = await operation.does({ desk, request, params, body, who, query });
      return said instanceof Response ? said : HttpResponse.json(said);
    } catch (refusal) {
      if (!(refusal instanceof Refusal)) throw refusal;
      return HttpResponse.json(refusal.body, { status: refusal.status, headers: { 'Content-Type': 'application/problem+json' } });
    }
  };
}

export const operationIds = Object.keys(OPERATIONS);

/** The handlers for Mock Service Worker, answering from this desk. */
export const handlers = (desk) => Object.entries(OPERATIONS).map(([id, operation]) => {
  const [method, path] = id.split(' ');
  return http[method](`${BASE}/${path.replace(/{(\w+)}/g, ':$1')}`, answerer(desk, operation));
});

/** The page, as far as a script reads it again: for the CSRF token of the session that is. */
export const tradingPage = (desk) => http.get('/trading', () => (
  HttpResponse.html(`<!doctype html><head><meta name="csrf-token" content="${desk.csrfToken}"></head><body></body>`)));
