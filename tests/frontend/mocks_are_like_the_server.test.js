// The mocked routes against the API document that the server's own code writes: a handler for each operation and no
// other, every answer that the document names, and a yes or a no to the same bodies. And that all this can fail.

import { HttpResponse } from 'msw/http';
import { describe, expect, test } from 'vitest';

import { FORMS, readForm } from './mocks/forms.js';
import { BASE, handlers, operationIds } from './mocks/handlers.js';
import { answerBy, contract, it } from './serving.js';
import { waiting } from './stale.js';

const LOCK = { ticker: 'AAPL', reason: 'news', duration_minutes: 60 };
const ORDER = { client_order_id: '1', ticker: 'AAPL', side: 'buy', qty: '10', type: 'limit', limit_price: '187.5', rationale: 'it rises' };
const NOBODY = '00000000-0000-4000-8000-000000000000';

const asEngine = { Authorization: 'Bearer bot.secret' };
const lockout = (desk) => ({ lockout_id: desk.createLockout(LOCK).id });
const order = (desk) => ({ order_id: waiting(desk, 'AAPL')[0].id });

/** A good request of each operation, and how the desk stands before it. */
const GOOD = {
  'get approval-config': {},
  'put approval-config': { body: { auto_approve_paper: false } },
  'get signal-layers': {},
  'put signal-layers': { body: { macro: false } },
  'get config': {},
  'put config': { body: { config: { operator_approval: { approval_timeout_minutes: 5 }, sector_exposure: { tech: 0.3 } } }, headers: { 'If-Match': '*' } },
  'get mode': {},
  'put mode': { body: { trading_mode: 'live', from: 'paper', reason: 'we are ready' } },
  'get lockouts': { before: lockout },
  'post lockouts': { body: LOCK },
  'patch lockouts/{lockout_id}': { before: lockout, body: { extend_minutes: 60 } },
  'delete lockouts/{lockout_id}': { before: lockout },
  'post orders': { body: ORDER, headers: asEngine },
  'get orders': { before: order },
  'get orders/{order_id}': { before: order },
  'post orders/{order_id}/cancel': { before: order, headers: asEngine },
  'get approvals': { before: order },
  'post approvals/{order_id}/approve': { before: order, body: {} },
  'post approvals/{order_id}/reject': { before: order, body: { reason: 'too much' } },
  'post approvals/decisions': {
    before: (desk) => ({ decisions: [...waiting(desk, 'AAPL').map(({ id }) => id), NOBODY].map((id) => ({ id, action: 'approve' })) }),
    body: (found) => ({ decisions: found.decisions }),
  },
  'get audit': { before: lockout },
  'get audit/{event_id}': { before: (desk) => ({ ...lockout(desk), event_id: 1 }) },
  'get state': {
    before: (desk) => {
      order(desk);
      lockout(desk);
      waiting(desk, 'MSFT', 'AAPL');
      desk.submit({ ...ORDER, client_order_id: 'held', ticker: 'AAPL' });
    },
  },
  'get history': { before: (desk) => ({ ...lockout(desk), ...order(desk) }) },
  'get stream': {},
};

/** What makes of a good request one that is answered so. Of some it takes more, or something else. */
const PROVOKED = {
  304: (good, { etag }) => ({ headers: { 'If-None-Match': etag } }),
  400: (good) => ({ ...good, text: '{"a":' }),
  401: (good) => ({ ...good, headers: { ...good.headers, Authorization: 'Basic x' }, then: (desk) => { desk.who = null; } }),
  403: (good) => ({ ...good, headers: { ...good.headers, Authorization: '' }, then: (desk) => { desk.who = { name: 'nemo', role: 'nobody' }; } }),
  404: (good) => ({ ...good, before: () => ({ lockout_id: NOBODY, order_id: NOBODY, event_id: 999 }) }),
  408: (good) => ({ ...good, then: (desk) => { desk.stalls = true; } }),
  409: (good) => ({ ...good, then: (desk) => { desk.hasConfig = false; } }),
  412: (good) => ({ ...good, headers: { 'If-Match': '"7"' } }),
  413: (good) => ({ ...good, text: `{"a":"${'x'.repeat(1024 * 1024)}"}` }),
  415: (good) => ({ ...good, headers: { ...good.headers, 'Content-Type': 'text/plain' } }),
  422: (good, { hasBody }) => (hasBody ? { ...good, body: { bogus: 1 } } : { ...good, query: '?bogus=1' }),
  428: (good) => ({ ...good, headers: {} }),
  429: (good) => ({ ...good, then: (desk) => { desk.tooMuch = true; } }),
  503: (good) => ({ ...good, then: (desk) => { desk.outage = true; } }),
};
const decidedAlready = (good) => ({ ...good, then: (desk, { order_id: id }) => desk.reject(id, 'too late') });
const unreadable = (good) => ({ ...good, then: (desk) => { desk.config = { operator_approval: 5, signal_layers: 5 }; } });
const PROVOKED_OTHERWISE = {
  'get approval-config 409': unreadable,
  'put approval-config 409': unreadable,
  'get signal-layers 409': unreadable,
  'put signal-layers 409': unreadable,
  'put mode 409': (good) => ({ ...good, body: { ...good.body, from: 'disabled' } }),
  'put mode 429': (good) => ({ ...good, body: { ...good.body, totp_code: '654321' }, then: (desk) => { Object.assign(desk, { secondFactorForLive: true, wrongCodes: 5 }); } }),
  'post orders 200': (good) => ({ ...good, then: (desk) => { desk.submit(ORDER); } }),
  'post orders 409': (good) => ({ ...good, then: (desk) => { desk.submit({ ...ORDER, qty: '11' }); } }),
  'post orders/{order_id}/cancel 409': decidedAlready,
  'post approvals/{order_id}/approve 409': decidedAlready,
  'post approvals/{order_id}/reject 409': decidedAlready,
  'get orders/{order_id} 422': (good) => ({ ...good, query: '?wait=31' }),
};

async function send(desk, { method, path }, { before, then, body, text, query = '', headers = {} }) {
  const found = before?.(desk) ?? {};
  then?.(desk, found);
  const value = typeof body === 'function' ? body(found) : body;
  const sent = text ?? (value && JSON.stringify(value));
  return fetch(path.replace(/{(\w+)}/g, (_, name) => found[name]) + query, {
    method, body: sent,
    headers: { 'X-CSRFToken': desk.csrfToken, ...(sent && { 'Content-Type': 'application/json' }), ...headers },
  });
}

const idOf = ({ method, path }) => `${method.toLowerCase()} ${path.replace(`${BASE}/`, '')}`;
const ANSWERS = contract.operations.flatMap((operation) => Object.keys(operation.responses).map((status) => [idOf(operation), Number(status), operation]));

describe('the handlers', () => {
  it('are those of the operations of the document, and no others', ({ desk }) => {
    expect(operationIds.toSorted()).toEqual(contract.operations.map(idOf).toSorted());
    expect(handlers(desk).map(({ info }) => `${info.method} ${info.path}`.replace(/:(\w+)/g, '{$1}')).toSorted())
      .toEqual(contract.operations.map(({ method, path }) => `${method} ${path}`).toSorted());
  });

  it.for(ANSWERS)('answer %s with %i as the document says', async ([id, status, operation], { desk }) => {
    const good = GOOD[id];
    const change = PROVOKED_OTHERWISE[`${id} ${status}`] ?? (status < 300 ? (same) => same : PROVOKED[status]);
    const etag = status === 304 && (await send(desk, operation, good)).headers.get('ETag');
    const answer = await send(desk, operation, change(good, { etag, hasBody: !!operation.requestBody }));
    expect(answer.status, await answer.clone().text()).toBe(status);
    expect(await contract.answerErrors({ method: operation.method, url: answer.url }, answer)).toEqual([]);
  });
});

/** Bodies that are just right and just wrong: the forms of the mock say the same of them as the document. */
const NEAR = {
  ApprovalConfigChange: [{}, { auto_approve_paper: null }, { auto_approve_paper: 'false' }, { auto_approve_paper: 0 }, { require_approval_for_live: true },
    ...[0, 1, 10_080, 10_081, 1.5, '30', null, true].map((approval_timeout_minutes) => ({ approval_timeout_minutes })), { bogus: 1, auto_approve_paper: true }],
  SignalLayersChange: [{}, { macro: false }, { macro: true, competitive: false }, { macro: 1 }, { micro: true }],
  ModeChange: ['disabled', 'paper', 'live', 'halt', null, undefined].flatMap((trading_mode) => ['paper', 'nowhere', null, undefined, 5]
    .flatMap((from) => ['x', ' ', '', 'x'.repeat(501), null, undefined, 5].map((reason) => ({ trading_mode, from, reason }))))
    .concat(['disabled', 'paper'].flatMap((trading_mode) => [[], [NOBODY], [NOBODY.toUpperCase(), NOBODY], ['x'], [5], [`{${NOBODY}}`], 'x', null, {}]
      .flatMap((protective_stops) => [{}, { cancel_open_orders: true, protective_stops }, { protective_stops }, { cancel_open_orders: 'yes' }, { cancel_open_orders: false }]
        .map((more) => ({ trading_mode, from: 'live', reason: 'x', ...more })))))
    .concat(['disabled', 'live'].flatMap((trading_mode) => ['123456', '12345', '1234567', '12 345', '١٢٣٤٥٦', '', null, 123456]
      .map((totp_code) => ({ trading_mode, from: 'paper', reason: 'x', totp_code })))),
  ConfigReplacement: [{}, { config: {} }, { config: [] }, { config: null }, { config: { any: [1] } }, { config: { operator_approval: [] } },
    { config: { operator_approval: { auto_aprove_paper: true } } }, { config: { signal_layers: { macro: 'yes' } } },
    ...[{}, { max_orders: 1 }, { max_orders: 1, per_seconds: 1 }, { max_orders: null, per_seconds: null }, { max_orders: null, per_seconds: 5 }].map((order_rate) => ({ config: { order_rate } })),
    ...[null, 0, '0', '1.5', 1e18, -1, '', ' 1', true, 0.5].map((max_order_value) => ({ config: { position_limits: { max_order_value } } })),
    ...[{}, [], null, { ES: '50' }, { ES: 50 }, { ES: 0 }, { ES: '0' }, { ES: null }, { es: '50' }, { '*': '1' }, { 'A B': '1' }, { 'BTC/USDT:USDT': 0.5 }]
      .map((multipliers) => ({ config: { instruments: { multipliers } } })), { config: { instruments: { bogus: 1 } } }],
  NewLockout: [{}, LOCK,
    ...['aapl', ' AAPL\t', 'BRK.B', 'BTC/USD', '*', '', ' ', '.', 'A..B', 'ß', 'A\u200bB', 'x'.repeat(32), 'x'.repeat(33), 'ES=F', '^GSPC', '^', 'ES1!', 'M&M.NS', 'btc/usdt:usdt', 'BTC_USDT', ':A', 'A B',
      'AAPL  261218C00200000', 'AAPL  261218', 5, null].map((ticker) => ({ ...LOCK, ticker })),
    ...['', ' \u3000', 'x'.repeat(500), ` ${'x'.repeat(500)}\u2003`, 'x'.repeat(501), 'a\0b', '\ufeff', '\u200b\u3164', '\u200bx', null].map((reason) => ({ ...LOCK, reason })),
    ...[0, 1, 525_600, 525_601, '60', 1.5, null].map((duration_minutes) => ({ ...LOCK, duration_minutes })),
    ...['manual', 'news_shock', 'cooldown', 'whim', null].map((lockout_type) => ({ ...LOCK, lockout_type }))],
  LockoutExtension: [{}, { extend_minutes: 0 }, { extend_minutes: 1 }, { extend_minutes: 525_600 }, { extend_minutes: 525_601 }, { extend_minutes: '1' }],
  NewOrder: [{}, ORDER,
    ...['market', 'limit', 'stop', 'stop_limit', 'twap'].flatMap((type) => [undefined, null, '1'].flatMap((limit_price) => [undefined, null, 1]
      .flatMap((stop_price) => [{ qty: '1' }, { notional: '1' }, {}, { qty: 1, notional: 1 }].map((size) => ({ ...ORDER, qty: undefined, type, limit_price, stop_price, ...size }))))),
    ...['0', '0.0', '-1', '1e3', '9'.repeat(18), '9'.repeat(19), '0.000000001', '0.0000000001', '00.10', 0, 1, 1e18, 0.5, '', ' 1', '١'].map((qty) => ({ ...ORDER, qty })),
    ...['', 'x'.repeat(128), 'x'.repeat(129), ' é漢', '\u3164', 'a\tb', 'a\u00a0b', 5].map((client_order_id) => ({ ...ORDER, client_order_id })),
    ...['*', 'aapl', ''].map((ticker) => ({ ...ORDER, ticker })), ...['sell', 'BUY', null].map((side) => ({ ...ORDER, side })),
    ...['gtc', 'gtd', null].map((time_in_force) => ({ ...ORDER, time_in_force })), ...['macro', '', null].map((signal_layer) => ({ ...ORDER, signal_layer })),
    ...['', 'x'.repeat(200), 'x'.repeat(201), null, 1].map((strategy) => ({ ...ORDER, strategy })), ...['x'.repeat(4000), 'x'.repeat(4001)].map((rationale) => ({ ...ORDER, rationale }))],
  Approval: [{}, { note: null }, { note: '' }, { note: ' x ' }, { note: 'x'.repeat(501) }, { note: 1 }, { reason: 'x' }],
  Rejection: [{}, { reason: null }, { reason: ' ' }, { reason: 'x' }, { reason: 'x'.repeat(501) }, { note: 'x' }],
  Decisions: [{}, { decisions: [] }, { decisions: {} }, { decisions: Array(200).fill({ id: 'x', action: 'approve' }) }, { decisions: Array(201).fill({ id: 'x', action: 'approve' }) },
    ...[null, [], {}, { id: 'x', action: 'approve' }, { id: '', action: 'approve' }, { id: 'x', action: 'approve', note: 'n' }, { id: 'x', action: 'approve', note: null },
      { id: 'x', action: 'approve', reason: 'r' }, { id: 'x', action: 'approve', reason: null }, { id: 'x', action: 'reject' }, { id: 'x', action: 'reject', reason: ' ' },
      { id: 'x', action: 'reject', reason: 'r' }, { id: 'x', action: 'reject', reason: 'r', note: 'n' }, { id: 'x', action: 'reject', reason: 'r', note: null }, { id: 'x', action: 'expire' }]
      .map((entry) => ({ decisions: [entry] }))],
};

const takes = (name, body) => {
  try {
    return !!readForm(name, body);
  } catch {
    return false;
  }
};

describe('the forms', () => {
  test('are those of the bodies in the document', () => {
    const bodies = contract.operations.flatMap(({ requestBody }) => (requestBody ? [requestBody.content['application/json'].schema.$ref.split('/').at(-1)] : []));
    expect(Object.keys(FORMS).toSorted()).toEqual(bodies.toSorted());
    expect(Object.keys(NEAR).toSorted()).toEqual(bodies.toSorted());
  });

  test.for(Object.keys(FORMS))('%s says yes and no to the same bodies as the document', (name) => {
    const bodies = NEAR[name].map((body) => JSON.parse(JSON.stringify(body)));
    const said = (isGood) => bodies.map((body) => `${isGood(body) ? 'yes' : 'no'} to ${JSON.stringify(body).slice(0, 200)}`);
    expect(said((body) => takes(name, body))).toEqual(said((body) => !contract.wrongWith(name, body).length));
  });
});

describe('an api that talks to them', () => {
  const NO_ACTS = ['read', 'watch', 'follow', 'refetch', 'poll', 'seed'];
  const ACTS = {
    updateApprovalConfig: (api) => api.updateApprovalConfig({ auto_approve_paper: false, approval_timeout_minutes: 5 }),
    updateSignalLayers: (api) => api.updateSignalLayers({ competitive: false }),
    setMode: (api) => api.setMode({ trading_mode: 'live', from: 'paper', reason: 'we are ready' }, 1),
    halt: (api) => api.halt(),
    cancelAtVenue: (api) => api.cancelAtVenue([NOBODY]),
    approveOrder: (api, desk) => api.approveOrder(order(desk).order_id),
    rejectOrder: (api, desk) => api.rejectOrder(order(desk).order_id, 'too much'),
    decideOrders: (api, desk) => api.decideOrders([
      { id: order(desk).order_id, action: 'approve' }, { id: waiting(desk, 'MSFT')[0].id, action: 'reject', reason: 'too much' },
    ]),
    createLockout: (api) => api.createLockout(LOCK),
    extendLockout: (api, desk) => api.extendLockout(lockout(desk).lockout_id, 60),
    deleteLockout: (api, desk) => api.deleteLockout(lockout(desk).lockout_id),
  };

  it('has these acts and no other', ({ api }) => {
    expect(Object.keys(api).toSorted()).toEqual([...NO_ACTS, ...Object.keys(ACTS)].toSorted());
  });

  it.for(Object.keys(ACTS))('sends with %s what the document wants', async (name, { api, desk, asked, wire }) => {
    await ACTS[name](api, desk);
    expect(asked).toHaveLength(1);
    expect(await wire.complaints()).toEqual([]);
  });
});

describe('what drifted from the document is found', () => {
  const AT = { method: 'GET', url: `http://desk${BASE}/lockouts` };
  const ROW = {
    id: NOBODY, ticker: 'AAPL', reason: 'news', lockout_type: 'manual', created_by: 'olga',
    created_at: '2026-11-22T16:00:00.000000Z', expires_at: '2026-11-22T17:00:00.000000Z',
  };
  const { created_by, ...WITHOUT } = ROW;
  const listOf = (row) => HttpResponse.json({ items: [row], next: null });

  test('in none of this', async () => {
    expect(await contract.answerErrors(AT, listOf(ROW))).toEqual([]);
  });

  test.for([
    ['a key that is missing', listOf(WITHOUT), 'must have required property \'created_by\''],
    ['a key that is new', listOf({ ...ROW, colour: 'red' }), 'must NOT have additional properties {"additionalProperty":"colour"}'],
    ['another type', listOf({ ...ROW, ticker: 5 }), '/items/0/ticker must be string'],
    ['another word', listOf({ ...ROW, lockout_type: 'whim' }), '/items/0/lockout_type must be equal to one of the allowed values'],
    ['another way to write a time', listOf({ ...ROW, expires_at: 'at five' }), '/items/0/expires_at must match format "date-time"'],
    ['an id that is none', listOf({ ...ROW, id: '7' }), '/items/0/id must match format "uuid"'],
    ['a status that is not documented', HttpResponse.json({}, { status: 202 }), 'status 202'],
    ['another kind of body', HttpResponse.html('<p>'), '200: a body of type text/html'],
    ['no body', new HttpResponse(null), '200: a body of type nothing'],
    ['a no that is no problem document', HttpResponse.json({ error: 'x' }, { status: 403 }), '403: a body of type application/json'],
  ])('in %s', async ([, answer, said]) => {
    expect((await contract.answerErrors(AT, answer)).join('\n')).toContain(said);
  });

  test('in a header that is missing', async () => {
    const created = HttpResponse.json(ROW, { status: 201 });
    expect(await contract.answerErrors({ ...AT, method: 'POST' }, created)).toEqual([`POST ${BASE}/lockouts: 201: no header Location`]);
  });

  test('in a body where none belongs', async () => {
    const gone = { status: 204, headers: new Headers(), clone: () => ({ text: async () => '{}' }) };
    expect(await contract.answerErrors({ method: 'DELETE', url: `${AT.url}/${NOBODY}` }, gone)).toEqual([`DELETE ${BASE}/lockouts/${NOBODY}: 204: a body where none belongs`]);
  });

  test.for([
    ['a body', 'POST', '/lockouts', { ...LOCK, colour: 'red' }, 'must NOT have additional properties'],
    ['no body where one is needed', 'PUT', '/mode', undefined, 'a body of type nothing'],
    ['a body where none belongs', 'DELETE', `/lockouts/${NOBODY}`, {}, 'a body where none belongs'],
    ['a query', 'GET', '/lockouts?symbol=AAPL', undefined, 'an unknown query parameter symbol'],
    ['a path', 'GET', '/locks', undefined, 'no such operation'],
    ['a method', 'PATCH', '/mode', {}, 'no such operation'],
  ])('in %s that is sent', async ([, method, path, body, said]) => {
    const request = new Request(`http://desk${BASE}${path}`, {
      method, body: body && JSON.stringify(body), headers: body ? { 'Content-Type': 'application/json' } : {},
    });
    expect((await contract.requestErrors(request)).join('\n')).toContain(said);
  });

  it('in every test that meets with it, without a word about it there', async ({ api, wire }) => {
    answerBy('GET', '/lockouts', () => listOf(WITHOUT));
    expect((await api.read('lockouts')).items).toHaveLength(1);
    expect(await wire.complaints()).toEqual([expect.stringContaining('must have required property \'created_by\'')]);
  });
});
