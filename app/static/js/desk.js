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

    start() {
      this.lockouts = this.inForce(initial.state);
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
      const before = { ...this.state, lockouts: this.lockouts };
      this.lockouts = this.inForce(state);
      this.state = state;
      this.announce(describeChanges(before, { ...state, lockouts: this.lockouts }, this.now));
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

    /** Once a second, on the second of the server's clock: time passes, lockouts end, silence becomes suspicious. */
    tick() {
      this.now = clock.now();
      this.clock = utcTime(this.now);
      const first = this.lockouts[0];
      if (first && Date.parse(first.expires_at) <= this.now) this.apply(this.state);
      if (!document.hidden && this.now - lastGoodAt > TOO_OLD) this.lost = true;
      clearTimeout(nextTick);
      nextTick = setTimeout(() => this.tick(), SECOND - (this.now % SECOND));
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
