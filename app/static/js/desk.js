// The store that holds what the page knows of the desk: the last good state, how old it is, and whether we are still
// signed in. It never guesses; when to read is the business of updates.js.

import { arrivals, describeChanges } from './changes.js';
import { SECOND, age, utcTime } from './clock.js';
import { keepDraft } from './draft.js';
import { instrumentKey, isBlockedBy } from './instruments.js';

const TOO_OLD = 15 * SECOND;
const NOTICE = 8 * SECOND;
const TOGETHER = SECOND;

// What keeps the page from knowing how the desk stands, by what a read failed with.
const THEN = 'What you see may be out of date; halting still works once the server answers.';
const POLLING = { name: 'Live updates lost.', now: 'Reading every 5 seconds instead;', then: '' };
const LOST = { name: 'Live updates lost.', now: 'Trying again;', then: THEN };
const TROUBLES = {
  no_answer: { ...LOST, name: 'Live updates lost: the desk cannot be reached.' },
  database_unavailable: {
    name: 'The database is down.', now: 'Until it is back nothing is released, and nothing can be changed;',
    then: 'This page goes on by itself.',
  },
};

/** `arrived` is told of orders that came in and wait. */
export function createDesk({ initial, api, clock, updates, arrived }) {
  let nextTick, noticeEnd, telling;
  let lockouts = { items: [], total: 0 };   // as they were read
  let shown;               // how the desk stood at the last look
  let untold = null;       // how the desk stood when it was last told what changed, if anything has since
  let lastGoodAt = clock.now();

  return {
    state: initial.state,
    me: initial.me,
    lockouts: [],          // those in force now, soonest end first
    lockoutsListed: 0,     // of the list that was read
    lockoutsTotal: 0,      // with those beyond it
    waiting: [],           // orders that wait now, soonest expiry first
    now: clock.now(),
    clock: '',
    lost: false,           // nothing has told us lately that this is still how the desk stands
    polling: false,        // the stream is lost, and reading now and then has to do
    lastGood: utcTime(lastGoodAt),
    age: '',               // of that, while it is all there is
    problem: '',           // the code of what it is lost by
    signedOut: false,
    notice: '',

    get stale() {
      return this.lost || this.signedOut;
    },
    get updatesLost() {
      return this.lost || this.polling;
    },

    /** All that are in force, also those beyond what a state holds. */
    get lockoutCount() {
      return this.lockouts.length + this.unlistedLockouts;
    },

    get unlistedLockouts() {
      return Math.max(0, this.lockoutsTotal - this.lockoutsListed);
    },

    /** All that wait, also those beyond what a state holds. */
    get waitingCount() {
      return this.waiting.length + this.unseenCount;
    },
    get unseenCount() {
      return Math.max(0, this.state.approvals_total - this.state.approvals.length);
    },

    /** How many pending orders a lockout of a ticker blocks, or only those of contracts on it; `*` is every symbol. */
    waitingOf(ticker, contracts = false) {
      if (ticker === '*') return this.waitingCount;
      const isOf = (other) => isBlockedBy(other, ticker) && !(contracts && instrumentKey(other) === instrumentKey(ticker));
      const listed = (orders) => orders.filter((order) => isOf(order.ticker)).length;
      const counted = Object.entries(this.state.approvals_by_ticker).reduce((sum, [other, many]) => sum + (isOf(other) ? many : 0), 0);
      return counted - listed(this.state.approvals) + listed(this.waiting);
    },

    start() {
      api.seed('state', initial.state, initial.tag);
      api.follow('lockouts', (read) => this.takeLockouts(read));
      this.take(initial.state);
      shown = this.inWords();
      api.watch('state', (event) => this.heard(event));
      updates.start({
        version: () => this.state.state_version,
        confirmed: () => this.good(),
        polling: (yes) => {
          this.polling = yes;
          this.showAge();
        },
      });
      this.tick();
    },

    heard({ data, problem, time, sent, received, patched }) {
      if (problem) this.failed(problem);
      else if (this.signedOut && !patched) this.backAgain();
      else {
        if (time) clock.set(time, sent, received);
        if (data) this.apply(data);
        if (!patched) this.good();
      }
    },

    failed(problem) {
      this.refused(problem);
      if (this.signedOut) return;
      this.lost = true;
      this.problem = problem.code;
      this.showAge();
    },

    /** In words: what it is, what is done meanwhile, and what follows. */
    get trouble() {
      return this.lost ? TROUBLES[this.problem] ?? LOST : POLLING;
    },
    get noDatabase() {
      return this.lost && this.problem === 'database_unavailable';
    },

    showAge() {
      this.age = this.updatesLost ? age(clock.now() - lastGoodAt) : '';
    },

    /** The server's no to a read or an act. Whoever asked shows the reason; here only whether we are still signed in. */
    refused(problem) {
      if (problem.code === 'csrf_failed') this.backAgain();   // somebody signed in again: this page is of another session
      if (problem.status !== 401) return;
      this.signedOut = true;
      this.lost = this.polling = false;
    },

    good() {
      lastGoodAt = clock.now();
      this.lastGood = utcTime(lastGoodAt);
      this.lost = false;
      this.problem = '';
    },

    apply(state) {
      this.now = clock.now();
      const before = shown;
      this.take(state);
      shown = this.inWords();
      untold ??= before;
      if (!telling) this.tellChanges();
      arrived(arrivals(before, shown));
    },

    take(state) {
      // Frozen, for they never change: what is frozen Alpine does not watch, which one would feel with 500 of them.
      Object.freeze(state.approvals);
      Object.freeze(state.recent_orders);
      Object.freeze(state.venue?.open_orders);
      Object.freeze(state.venue?.on_the_way);
      this.state = state;
      this.waiting = Object.freeze(state.approvals.filter((order) => this.inTime(order)));
    },

    takeLockouts(read) {
      lockouts = read;
      const { items, total = items.length } = read;
      items.forEach(Object.freeze);
      this.lockoutsListed = items.length;
      this.lockoutsTotal = total;
      this.lockouts = this.inForce(items);
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

    inForce(items) {
      const now = clock.now();
      const known = new Map(this.lockouts.map((lock) => [lock.id, lock]));
      const same = (lock) => known.get(lock.id)?.expires_at === lock.expires_at;
      return items
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
      if (lock && Date.parse(lock.expires_at) <= this.now) {
        this.takeLockouts(lockouts);
        this.apply(this.state);
      }
      if (!this.signedOut && this.now - lastGoodAt > TOO_OLD) this.lost = true;
      this.showAge();
      clearTimeout(nextTick);
      const next = this.waiting.length ? Math.max(1, this.msLeft(this.waiting[0])) : SECOND;
      nextTick = setTimeout(() => this.tick(), Math.min(SECOND - (this.now % SECOND), next));
    },

    hush() {
      this.notice = '';
    },

    /** At once, and what follows within a second together: else each would wipe the one before away. */
    tellChanges() {
      clearTimeout(telling);
      telling = this.announce() && setTimeout(() => {
        telling = null;
        this.tellChanges();
      }, TOGETHER);
    },

    /** What an act has to say, with what became different meanwhile or instead of that. Whether there was anything. */
    announce(ofAct = [], { instead = false } = {}) {
      const changes = untold && !instead ? describeChanges(untold, this.inWords(), clock.now()) : [];
      const sentences = [...ofAct, ...changes];
      untold = null;
      if (sentences.length) this.say(sentences);
      return sentences.length > 0;
    },

    say(sentences) {
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
