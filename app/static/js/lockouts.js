// Active lockouts: the form that makes one, and the rows that count down. Nothing moves beneath a hand: while a pointer is
// over the list, or the keyboard in it, each row keeps its place, and one that is no longer in force says so.

import { MOVED, createAim } from './aim.js';
import { upperCase } from './ascii.js';
import { HOUR, SECOND, timeLeft, utcEnd } from './clock.js';
import { takeDraft } from './draft.js';
import { inWords, whole } from './forms.js';
import { isBlockedBy } from './instruments.js';
import { createRows, put, visible } from './rows.js';
import { EVERY_SYMBOL, normalizeTicker, tickerProblem } from './tickers.js';

const FIELDS = ['ticker', 'reason', 'duration_minutes'];
const USUAL = '60';
const SOON = 60 * SECOND;
const HELD = ':is(:hover, :has(:focus-visible))';

export const lockoutForm = ({ api, initial }) => () => ({
  ticker: '', reason: '', duration_minutes: USUAL,   // as typed
  errors: {},
  saving: false,
  problem: '',

  init() {
    const drawn = Object.fromEntries(FIELDS.map((name) => [name, this.field(name).value]));
    Object.assign(this, drawn, takeDraft());
    this.errors = inWords(initial.lockout_errors, this.$root);
    this.$nextTick(() => this.toFirstError());
  },

  field(name) {
    return this.$root.elements[name];
  },

  /** ASCII letters become upper case in place; the length, and so the caret, stays as it is. */
  tickerTyped({ target, isComposing }) {
    if (isComposing) return;   // an input method replaces what it composes: wait until it is done
    const { value, selectionStart, selectionEnd, selectionDirection } = target;
    const ticker = upperCase(value);
    if (ticker !== value) {
      target.value = ticker;
      target.setSelectionRange(selectionStart, selectionEnd, selectionDirection);
    }
    this.ticker = ticker;
    this.errors.ticker = tickerProblem(ticker);
  },

  typed(name) {
    this.errors[name] = '';
  },

  /** What the typed lockout would hold of the orders that wait. */
  get preview() {
    const ticker = normalizeTicker(this.ticker);
    if (!ticker) return '';
    const held = this.$store.desk.waitingOf(ticker);
    const orders = held === 1 ? '1 waiting order' : `${held} waiting orders`;
    if (ticker === EVERY_SYMBOL) return held ? `Would hold ${held === 1 ? 'the' : 'all'} ${orders}.` : 'Would hold no waiting order: none waits.';
    const more = this.$store.desk.waitingOf(ticker, true) ? ', options and futures included' : '';
    return held ? `Would hold ${orders} of ${ticker}${more}.` : `Would hold no waiting order of ${ticker}.`;
  },

  choose(minutes) {
    this.duration_minutes = minutes;
    this.typed('duration_minutes');
  },

  async submit() {
    if (this.saving) return;
    this.saving = true;
    this.problem = '';
    try {
      await api.createLockout({ ticker: this.ticker, reason: this.reason, duration_minutes: whole(this.duration_minutes) });
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
    this.ticker = this.reason = '';
    this.choose(USUAL);
    this.field('ticker').focus();
  },
});

export const lockoutList = ({ api, ask, unobserved }) => () => {
  const busy = new Set();
  let body, rows, aim;
  let shown = [];   // as the rows stand
  let touched = false;   // by the last finger that touched the page: whether it goes on hovering differs by browser

  const msLeft = (lock, now) => Date.parse(lock.expires_at) - now;

  /** In the order of `lockouts`, but for those that are held in their places; new ones come last then. */
  function placed(lockouts) {
    const held = lockouts.length && (touched || body.matches(HELD)) ? shown : [];
    return [...new Map([...held, ...lockouts].map((lock) => [lock.id, lock])).values()];
  }

  function fill({ element, slots }, { lock, until, waits, over }) {
    element.toggleAttribute('data-over', !!over);
    const every = lock.ticker === '*';
    slots.name.id = `lock-${lock.id}`;
    slots.every.hidden = !every;
    put(slots, {
      ticker: lock.ticker, type: lock.lockout_type.replaceAll('_', ' '), reason: lock.reason, by: lock.created_by,
      until: over || `until ${until}`,
    });
    for (const button of [slots.extend, slots.remove]) {
      button.setAttribute('aria-describedby', `lock-${lock.id}`);
      button.setAttribute('aria-disabled', String(waits || !!over));
    }
  }

  return {
    problem: '',

    init() {
      body = this.$root.querySelector('tbody');
      rows = createRows(body, fill);
      aim = createAim({ body, scroller: this.$root.querySelector('.lockouts-scroll'), rows, stray: (event) => this.astray(event) });
      if (this.$store.desk.me.can.operate) aim.start();
      document.addEventListener('pointerdown', ({ pointerType, target }) => {
        touched = pointerType === 'touch' && body.contains(target);
      });
    },

    /** The state holds the first of them only, where there are very many. */
    get total() {
      return this.$store.desk.lockoutsTotal;
    },
    get more() {
      return this.$store.desk.unlistedLockouts > 0;
    },

    draw() {
      const { lockouts, now } = this.$store.desk;
      const inForce = new Set(lockouts);
      shown = placed(lockouts);
      aim.look();
      unobserved(() => {
        rows.draw(shown.map((lock) => ({
          id: lock.id, lock, until: this.until(lock), waits: busy.has(lock.id), over: inForce.has(lock) ? '' : this.end(lock),
        })));
        for (const lock of shown) {
          const { element, slots } = rows.get(lock.id);
          put(slots, { left: inForce.has(lock) ? timeLeft(msLeft(lock, now)) : '–' });
          element.toggleAttribute('data-soon', inForce.has(lock) && msLeft(lock, now) < SOON);
        }
      });
    },

    /** What became of one that is in force no more, or sorts behind those that are shown. */
    end(lock) {
      if (msLeft(lock, this.$store.desk.now) <= 0) return 'ended';
      return this.more ? 'not listed any more' : 'removed';
    },

    until(lock) {
      return utcEnd(Date.parse(lock.expires_at), this.$store.desk.now);
    },

    /** A click that was meant for what had stood there does nothing. Said where saying it moves nothing. */
    astray(event) {
      event.preventDefault();
      this.$store.desk.announce([MOVED]);
    },

    clicked(event) {
      const button = event.target.closest('.row-acts button');
      if (!button || event.defaultPrevented) return;
      event.preventDefault();   // a row that the server drew belongs to a form
      const { id } = button.closest('tr').dataset;
      const lock = this.$store.desk.lockouts.find((one) => one.id === id);
      if (lock) this[button.dataset.slot](lock);
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

    removal(lock) {
      const name = lock.ticker === '*' ? 'every symbol' : lock.ticker;
      const effect = this.effect(lock);
      return {
        title: `Remove the lockout of ${name}?`, text: `${effect} It was made by ${lock.created_by}: “${visible(lock.reason)}”.`,
        act: 'Remove lockout', grave: true, stale: () => this.overtaken(lock, effect),
      };
    },

    /** What removing it lets through, or what would still hold that back. */
    effect(lock) {
      const every = lock.ticker === '*';
      const others = this.$store.desk.lockouts
        .filter((other) => other.id !== lock.id && isBlockedBy(lock.ticker, other.ticker));
      return others.length
        ? `${every ? 'Every symbol' : lock.ticker} stays locked out by another lockout, until ${this.until(others.at(-1))}.`
        : `Orders in ${every ? 'all symbols not locked out themselves' : lock.ticker} can pass the gate again at once.`;
    },

    overtaken(lock, effect) {
      const { lockouts } = this.$store.desk;
      if (!this.more && !lockouts.some(({ id }) => id === lock.id)) return { said: `It ${this.end(lock) === 'ended' ? 'ended' : 'was removed'} meanwhile.`, over: true };
      const now = this.effect(lock);
      return now === effect ? null : { said: `By now it is otherwise: ${now}` };
    },

    async act(lock, work) {
      if (busy.has(lock.id)) return;
      busy.add(lock.id);
      this.problem = '';
      this.draw();
      try {
        await work();
      } catch (problem) {
        this.problem = problem.status === 404
          ? `The lockout of ${lock.ticker} has ended or was removed already.` : `${lock.ticker}: not changed. ${problem.message}`;
        this.$store.desk.refused(problem);
        if (problem.status === 404) document.getElementById('lockouts-title').focus();
      } finally {
        busy.delete(lock.id);
        this.draw();
      }
    },
  };
};
