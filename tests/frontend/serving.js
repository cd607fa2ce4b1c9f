// What a test of the front end is given: a desk behind mocked routes, an api that talks to it, and what was asked.
// Every request and every answer is held against the API document; what does not meet it fails the test.

import { http, HttpResponse } from 'msw/http';
import { setupServer } from 'msw/node';
import { expect, inject, test, vi } from 'vitest';

import { createApi } from '../../app/static/js/api.js';
import { createContract } from './contract.js';
import { Desk } from './mocks/desk.js';
import { BASE, handlers, tradingPage } from './mocks/handlers.js';
import { Refusal } from './mocks/refusal.js';

const NOT_OURS = 'X-From-Something-Between';
const SAYS_THAT_IT_IS_WRONG = [400, 413, 415, 422];

export const contract = createContract(inject('openapi'));
const server = setupServer();

let underWay = 0;        // requests that have no answer yet
let heldBack = [];       // those of them whose answers wait for the test

// Once in a worker process: its files share this module, and the globals (vitest.config.js).
server.listen({ onUnhandledFrame: 'error' });
const { fetch } = globalThis;
globalThis.fetch = async (...asked) => {
  underWay += 1;
  try {
    const response = await fetch(...asked);
    await response.clone().arrayBuffer();
    return response;
  } finally {
    underWay -= 1;
  }
};

/** Until everything that was asked for has come, less what the test holds back, and has been taken in. */
export async function settled() {
  for (let quiet = 0; quiet < 10; quiet += 1) {
    await new Promise((resolve) => { setImmediate(resolve); });
    heldBack = heldBack.filter(({ request }) => !request.signal.aborted);
    if (underWay > heldBack.length) quiet = 0;
  }
}

/** How this route answers from now on in this test. `path` is below the API; '/trading' is the page. */
export function answerBy(method, path, resolver) {
  server.use(http[method.toLowerCase()](path === '/trading' ? path : BASE + path, resolver));
}

/**
 * Answers of this route wait until each is let go: `held[0]()`; the desk answers as it is by then. `held.end()`: those that
 * come from now on are not held.
 */
export function hold(method, path) {
  const held = [];
  let over = false;
  answerBy(method, path, ({ request }) => (over ? undefined : new Promise((resolve) => {
    const letGo = Object.assign(() => {
      heldBack = heldBack.filter((other) => other !== letGo);
      resolve();
    }, { request });
    held.push(letGo);
    heldBack.push(letGo);
  })));
  return Object.assign(held, { end: () => { over = true; } });
}

/** The network is gone. */
export const cutOff = (method, path) => answerBy(method, path, () => HttpResponse.error());

/** The server says no, whatever it is asked. */
export const refuse = (method, path, ...refusal) => answerBy(method, path, () => {
  const { status, body } = new Refusal(...refusal);
  return HttpResponse.json(body, { status, headers: { 'Content-Type': 'application/problem+json' } });
});

/** Something between us and the server answers in its place. */
export const intercept = (method, path, body, init = {}) => answerBy(method, path, () => (
  new HttpResponse(body, { ...init, headers: { ...init.headers, [NOT_OURS]: 'yes' } })));

/** `METHOD /path` of a request, as the tests write it. */
function told({ method, url }) {
  const { pathname, search } = new URL(url);
  return `${method} ${pathname.replace(BASE, '')}${search}`;
}

/** Everything that goes over the wire: what was asked, and what of it does not meet the document. */
function overhear() {
  const asked = [];
  const requests = new Map();   // id -> what is wrong with it
  const answers = [];
  const started = ({ request, requestId }) => {
    asked.push(told(request));
    if (request.url.includes(BASE)) requests.set(requestId, contract.requestErrors(request));
  };
  const answered = ({ request, requestId, response }) => {
    if (!requests.has(requestId) || response.headers.has(NOT_OURS) || response.type === 'error') return;
    // What somebody typed wrongly is the server's to refuse.
    if (SAYS_THAT_IT_IS_WRONG.includes(response.status)) requests.delete(requestId);
    answers.push(contract.answerErrors(request, response));
  };
  server.events.on('request:start', started);
  server.events.on('response:mocked', answered);
  return {
    asked,
    stop() {
      server.events.removeListener('request:start', started);
      server.events.removeListener('response:mocked', answered);
    },
    /** What did not meet the document so far; it is told once. */
    async complaints() {
      await settled();
      const found = await Promise.all([...requests.values(), ...answers.splice(0)]);
      requests.clear();
      return found.flat();
    },
  };
}

export const it = test
  .extend('desk', () => new Desk())
  .extend('wire', { auto: true }, async ({ desk }, { onCleanup }) => {
    const wire = overhear();
    server.use(...handlers(desk), tradingPage(desk));
    document.head.innerHTML = `<meta name="csrf-token" content="${desk.csrfToken}">`;
    onCleanup(async () => {
      vi.useRealTimers();
      for (const letGo of [...heldBack]) letGo();
      const complaints = await wire.complaints();
      wire.stop();
      server.resetHandlers();
      expect(complaints).toEqual([]);
    });
    return wire;
  })
  /** Every request, in the order in which they were sent. */
  .extend('asked', ({ wire }) => wire.asked)
  .extend('api', () => createApi());
