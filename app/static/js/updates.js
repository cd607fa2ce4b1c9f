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

/** start({version, confirmed, polling}): see desk.js, which holds the state. */
export function createUpdates({ api, stream, random = Math.random }) {
  let desk, due, dueAt, grace;
  let streaming = false, failing = false, over = false;
  let newsAt = null;       // when the news came that no read has brought yet
  let askedAt = 0, readAt = 0;

  const about = (ms) => ms * (0.8 + random() * 0.4);   // pages that failed together must not come back together for ever
  const elapsed = (since) => Math.abs(Date.now() - since);   // whichever way this machine's clock is set

  function wait() {
    if (failing) return about(AFTER_FAILURE);
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
    api.poll('state');   // nothing where a read is under way, which may be older than the news: taken() sees to that
  }

  function taken({ problem, sent, received, patched }) {
    if (over || patched) return;
    if (problem?.status === 401) return end();
    failing = !!problem;
    if (!failing) {
      readAt = sent;
      if (sent > newsAt || received < newsAt) newsAt = null;
      if (streaming) desk.polling(false);
    }
    schedule();
  }

  function heard({ news, version }) {
    clearTimeout(grace);
    grace = null;
    streaming = true;
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
    if (!document.hidden) api.refetch('state');
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
