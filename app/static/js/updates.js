// When the state is read: upon news from the stream, and where the stream is lost every few seconds. What is read goes to
// all who watch the state; here is only the when.

import { SECOND } from './clock.js';

const EVERY = 5 * SECOND;          // without the stream
const AFTER_FAILURE = 2 * SECOND;
const LATE = 12 * SECOND;          // the stream should have said something: ask
const FULL = 60 * SECOND;          // however quiet it is
const SPREAD = 150;                // milliseconds: not all pages that hear of a change at the very same moment
const APART = 350;                 // between two reads upon news
const GRACE = 3 * SECOND;          // a server that starts anew is not worth a word
const SHORT = 2 * SECOND;          // of a read while the page is stale: its connection may be silent for good
const SHORT_READS = 6;             // as many connections as a browser keeps; after that the server is slow, or down

/** start({version, confirmed, polling}): see desk.js, which holds the state. */
export function createUpdates({ api, stream, random = Math.random }) {
  let desk, due, dueAt, grace;
  let streaming = false, failing = false, over = false;
  let newsAt = null;       // when the news came that no read has brought yet
  let askedAt = 0, readAt = 0;
  let heardAt = Date.now();
  let timeouts = 0;        // reads in a row without an answer

  const about = (ms) => ms * (0.8 + random() * 0.4);   // pages that failed together must not come back together for ever
  const elapsed = (since) => Math.abs(Date.now() - since);   // whichever way this machine's clock is set

  /** For how long to wait for a read: undefined is as long as for anything else. */
  function patience() {
    const stale = failing || elapsed(heardAt) >= LATE;
    return stale && timeouts < SHORT_READS ? { patience: about(SHORT) } : undefined;
  }

  function wait() {
    if (failing) return timeouts && timeouts <= SHORT_READS ? 0 : about(AFTER_FAILURE);   // it has waited already
    if (streaming && newsAt) return Math.max(random() * SPREAD, APART - elapsed(askedAt));
    return streaming ? LATE : about(EVERY);
  }

  /** Sees to it that the next read is not later than it should be. */
  function hasten() {
    if (over || (document.hidden && !(streaming && newsAt))) return;   // hidden pages follow the stream, and do not poll
    const at = Date.now() + wait();
    if (due && dueAt <= at) return;
    clearTimeout(due);
    dueAt = at;
    due = setTimeout(ask, at - Date.now());
  }

  function schedule() {
    clearTimeout(due);
    due = null;
    hasten();
  }

  function ask() {
    clearTimeout(due);
    due = null;
    askedAt = Date.now();
    api.poll('state', patience());   // nothing where a read is under way, which may be older than the news: taken() sees to that
  }

  function taken({ problem, sent, received, patched }) {
    if (over || patched) return;
    if (problem?.status === 401) return end();
    failing = !!problem;
    timeouts = problem?.timedOut ? timeouts + 1 : 0;
    if (!failing) {
      readAt = sent;
      heardAt = received;
      if (sent > newsAt || received < newsAt) newsAt = null;
      if (streaming) desk.polling(false);
    }
    schedule();
  }

  function heard({ news, version }) {
    clearTimeout(grace);
    grace = null;
    streaming = true;
    heardAt = Date.now();
    // What came as news may have left the version as it is: only the read that it led to can tell.
    if (!news && !failing && newsAt === null && version === desk.version() && elapsed(readAt) < FULL) {
      desk.confirmed();
      desk.polling(false);
      schedule();
    } else {
      newsAt = Date.now();
      hasten();
    }
  }

  function lost() {
    streaming = false;
    grace ??= setTimeout(() => {
      desk.polling(true);
      ask();
    }, GRACE + random() * SPREAD);
  }

  /** The session is over: whoever signs in again begins anew. */
  function end() {
    over = true;
    clearTimeout(due);
    clearTimeout(grace);
    stream.close();
    desk.polling(false);
  }

  function look() {
    if (!document.hidden) api.refetch('state', patience());
  }

  function open() {
    if (!over) stream.open({ heard, lost });
  }

  function back() {
    open();
    look();
  }

  return {
    start(holder) {
      desk = holder;
      api.watch('state', taken);
      document.addEventListener('visibilitychange', look);
      window.addEventListener('focus', look);
      // A page that is put away lets go of its stream: another one may wait for it.
      window.addEventListener('pagehide', stream.close);
      document.addEventListener('freeze', stream.close);
      document.addEventListener('resume', back);
      window.addEventListener('pageshow', ({ persisted }) => { if (persisted) back(); });
      lost();   // until it is heard: its first news leads to the first read
      open();
    },
  };
}
