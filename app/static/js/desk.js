// The store that holds what the page knows of the desk: the last good state, how old it is, and whether we are still
// signed in. It polls; it never guesses.

import { describeChanges } from './changes.js';
import { SECOND, utcTime } from './clock.js';
import { keepDraft } from './draft.js';

const EVERY = 5 * SECOND;
const AFTER_FAILURE = 2 * SECOND;
const TOO_OLD = 15 * SECOND;
const NOTICE = 8 * SECOND;

export function createDesk({ initial, api, clock }) {
  let nextRead, nextTick, noticeEnd;
  let lastGoodAt = clock.now();

  return {
    state: initial.state,
    me: initial.me,
    lockouts: [],          // those in force now, soonest end first
    waiting: [],           // orders that wait now, soonest expiry first
    now: clock.now(),
    clock: '',
    lost: false,           // no read has succeeded lately
    lastGood: utcTime(lastGoodAt),
    signedOut: false,
    notice: '',

    get stale() {
      return this.lost || this.signedOut;
    },

    /** All that are in force, also those beyond what a state holds. */
    get lockoutCount() {
      return this.lockouts.length + Math.max(0, this.state.lockouts_total - this.state.lockouts.length);
    },

    /** All that wait, also those beyond what a state holds. */
    get waitingCount() {
      return this.waiting.length + this.unseenCount;
    },
    get unseenCount() {
      return Math.max(0, this.state.approvals_total - this.state.approvals.length);
    },

    /** How many orders of a symbol wait; `*` is every symbol. */
    waitingOf(ticker) {
      if (ticker === '*') return this.waitingCount;
      const listed = (orders) => orders.filter((order) => order.ticker === ticker).length;
      return (this.state.approvals_by_ticker[ticker] ?? 0) - listed(this.state.approvals) + listed(this.waiting);
    },

    start() {
      this.take(initial.state);
      api.seed('state', initial.state);
      api.watch('state', (event) => this.heard(event));
      const back = () => { if (!document.hidden) api.refetch('state', { full: true }); };
      document.addEventListener('visibilitychange', back);
      window.addEventListener('focus', back);
      window.addEventListener('pageshow', (event) => { if (event.persisted) back(); });
      this.tick();
      api.refetch('state', { full: true });
    },

    heard({ data, problem, sent, received, patched }) {
      if (problem) this.failed(problem);
      else if (this.signedOut && !patched) this.backAgain();
      else {
        if (data && !patched) clock.set(data.server_time, sent, received);
        if (data) this.apply(data);
        if (!patched) this.good();
      }
      clearTimeout(nextRead);
      if (!document.hidden && !this.signedOut) nextRead = setTimeout(() => api.poll('state'), this.lost ? AFTER_FAILURE : EVERY);
    },

    failed(problem) {
      this.refused(problem);
      if (!this.signedOut) this.lost = true;
    },

    /** The server's no to a read or an act. Whoever asked shows the reason; here only whether we are still signed in. */
    refused(problem) {
      if (problem.code === 'csrf_failed') this.backAgain();   // somebody signed in again: this page is of another session
      if (problem.status !== 401) return;
      this.signedOut = true;
      this.lost = false;
    },

    good() {
      lastGoodAt = clock.now();
      this.lastGood = utcTime(lastGoodAt);
      this.lost = false;
    },

    apply(state) {
      this.now = clock.now();
      const before = this.inWords();
      this.take(state);
      this.announce(describeChanges(before, this.inWords(), this.now));
    },

    take(state) {
      // Frozen, for they never change: what is frozen Alpine does not watch, which one would feel with 500 of them.
      Object.freeze(state.approvals);
      Object.freeze(state.recent_orders);
      this.state = state;
      this.lockouts = this.inForce(state);
      this.waiting = Object.freeze(state.approvals.filter((order) => this.inTime(order)));
      document.title = document.title.replace(/^(\(\d+\) )?/, this.waitingCount ? `(${this.waitingCount}) ` : '');
    },

    msLeft(order) {
      return Date.parse(order.expires_at) - clock.now();
    },
    inTime(order) {
      return this.msLeft(order) > 0;
    },

    /** The state with the lockouts that are in force, and the orders that wait, at this instant. */
    inWords() {
      return { ...this.state, lockouts: this.lockouts, approvals: this.waiting, unseen: this.unseenCount };
    },

    inForce(state) {
      const now = clock.now();
      const known = new Map(this.lockouts.map((lock) => [lock.id, lock]));
      const same = (lock) => known.get(lock.id)?.expires_at === lock.expires_at;
      return state.lockouts
        .filter((lock) => Date.parse(lock.expires_at) > now)
        .map((lock) => (same(lock) ? known.get(lock.id) : lock))   // the same object: its row is not drawn again
        .sort((one, other) => Date.parse(one.expires_at) - Date.parse(other.expires_at));
    },

    /** On every second of the server's clock, and when an order times out: that must not wait for the next second. */
    tick() {
      this.now = clock.now();
      this.clock = utcTime(this.now);
      const [order] = this.waiting;
      if (order && !this.inTime(order)) this.apply(this.state);
      const [lock] = this.lockouts;
      if (lock && Date.parse(lock.expires_at) <= this.now) this.apply(this.state);
      if (!document.hidden && this.now - lastGoodAt > TOO_OLD) this.lost = true;
      clearTimeout(nextTick);
      const next = this.waiting.length ? Math.max(1, this.msLeft(this.waiting[0])) : SECOND;
      nextTick = setTimeout(() => this.tick(), Math.min(SECOND - (this.now % SECOND), next));
    },

    hush() {
      this.notice = '';
    },

    announce(sentences) {
      if (!sentences.length) return;
      this.notice = sentences.join(' ');
      clearTimeout(noticeEnd);
      noticeEnd = setTimeout(() => { this.notice = ''; }, NOTICE);
    },

    /** Signed in again on another page: this one's token and name are of the old session, so begin anew. */
    backAgain() {
      this.keepDraft();
      window.location.reload();
    },

    keepDraft() {
      keepDraft();
    },
  };
}
