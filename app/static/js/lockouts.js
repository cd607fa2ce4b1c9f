// Active lockouts: the form that makes one, and the rows that count down.

import { HOUR, SECOND, timeLeft, utcEnd } from './clock.js';
import { takeDraft } from './draft.js';
import { inWords, whole } from './forms.js';

const FIELDS = ['ticker', 'reason', 'duration_minutes'];
const USUAL = '60';
const TICKER = /^([A-Z0-9]+([./-][A-Z0-9]+)*|\*)$/;

export const lockoutForm = ({ api, initial }) => () => ({
  errors: {},
  minutes: USUAL,
  ticker: '',      // as the server will read it
  saving: false,
  problem: '',

  init() {
    const draft = takeDraft();
    if (draft) for (const name of FIELDS) this.field(name).value = draft[name];
    this.typed();
    this.errors = inWords(initial.lockout_errors, this.$root);
    this.$nextTick(() => this.toFirstError());
  },

  field(name) {
    return this.$root.elements[name];
  },

  upper({ target }) {
    const { selectionStart, selectionEnd } = target;
    target.value = target.value.toUpperCase();
    target.setSelectionRange(selectionStart, selectionEnd);
    this.typed('ticker');
  },

  typed(name) {
    this.errors[name] = '';
    this.minutes = this.field('duration_minutes').value;
    this.ticker = this.field('ticker').value.trim().toUpperCase();
  },

  /** What the typed lockout would hold of the orders that wait. */
  get preview() {
    if (!TICKER.test(this.ticker)) return '';
    const held = this.$store.desk.waitingOf(this.ticker);
    const orders = held === 1 ? '1 waiting order' : `${held} waiting orders`;
    if (this.ticker === '*') return held ? `Would hold ${held === 1 ? 'the' : 'all'} ${orders}.` : 'Would hold no waiting order: none waits.';
    return held ? `Would hold ${orders} of ${this.ticker}.` : `Would hold no waiting order of ${this.ticker}.`;
  },

  choose(minutes) {
    this.field('duration_minutes').value = minutes;
    this.typed('duration_minutes');
  },

  async submit() {
    if (this.saving) return;
    this.saving = true;
    this.problem = '';
    const typed = Object.fromEntries(FIELDS.map((name) => [name, this.field(name).value]));
    try {
      await api.createLockout({ ...typed, duration_minutes: whole(typed.duration_minutes) });
      this.clear();
    } catch (problem) {
      this.refused(problem);
    } finally {
      this.saving = false;
    }
  },

  refused(problem) {
    this.errors = inWords(problem.errors, this.$root);
    if (!FIELDS.some((name) => this.errors[name])) this.problem = `Not locked out: ${problem.message}`;
    this.$store.desk.refused(problem);
    this.toFirstError();
  },

  toFirstError() {
    const bad = FIELDS.find((name) => this.errors[name]);
    if (bad) this.field(bad).focus();
  },

  clear() {
    this.errors = {};
    this.field('ticker').value = this.field('reason').value = '';
    this.choose(USUAL);
    this.field('ticker').focus();
  },
});

export const lockoutList = ({ api, ask }) => () => ({
  busy: {},
  problem: '',

  get mayAct() {
    return this.$store.desk.me.can.operate;
  },

  /** The state holds the first of them only, where there are very many. */
  get total() {
    return this.$store.desk.state.lockouts_total;
  },
  get more() {
    return this.total > this.$store.desk.state.lockouts.length;
  },

  msLeft(lock) {
    return Date.parse(lock.expires_at) - this.$store.desk.now;
  },
  left(lock) {
    return timeLeft(this.msLeft(lock));
  },
  ending(lock) {
    return this.msLeft(lock) < 60 * SECOND ? 'soon' : false;
  },
  until(lock) {
    return `until ${utcEnd(Date.parse(lock.expires_at), this.$store.desk.now)}`;
  },
  typeOf(lock) {
    return lock.lockout_type.replaceAll('_', ' ');
  },
  isBusy(lock) {
    return this.busy[lock.id] === true;
  },

  extend(lock) {
    return this.act(lock, () => api.extendLockout(lock.id, HOUR / 60 / SECOND));
  },

  remove(lock) {
    return this.act(lock, async () => {
      if (!await ask(this.removal(lock))) return;
      await api.deleteLockout(lock.id);
      document.getElementById('lockouts-title').focus();   // the button that had the focus is gone with its row
    });
  },

  /** Says what removing lets through, and what would still hold it back. */
  removal(lock) {
    const every = lock.ticker === '*';
    const name = every ? 'every symbol' : lock.ticker;
    const others = this.$store.desk.lockouts
      .filter((other) => other.id !== lock.id && (other.ticker === lock.ticker || other.ticker === '*'));
    const text = others.length
      ? `${every ? 'Every symbol' : lock.ticker} stays locked out by another lockout, ${this.until(others.at(-1))}.`
      : `Orders in ${every ? 'all symbols not locked out themselves' : lock.ticker} can pass the gate again at once.`;
    return { title: `Remove the lockout of ${name}?`, text: `${text} It was made by ${lock.created_by}: “${lock.reason}”.`, act: 'Remove lockout', grave: true };
  },

  async act(lock, work) {
    if (this.busy[lock.id]) return;
    this.busy[lock.id] = true;
    this.problem = '';
    try {
      await work();
    } catch (problem) {
      this.problem = problem.status === 404
        ? `The lockout of ${lock.ticker} has ended or was removed already.` : `${lock.ticker}: not changed. ${problem.message}`;
      this.$store.desk.refused(problem);
      if (problem.status === 404) document.getElementById('lockouts-title').focus();
    } finally {
      delete this.busy[lock.id];
    }
  },
});
