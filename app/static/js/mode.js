// The trading mode in the header. Stopping is one click and never asks; starting again always does.

import { MODES } from './changes.js';
import { SECOND } from './clock.js';
import { capital } from './orders.js';

const LIVE_WORD = 'LIVE';
const PRESS_AGAIN = 2000;   // milliseconds
const LONGEST = 5 * SECOND; // between two tries to halt
const AGAIN = ' Halting, trying again…';
const again = (said) => `${/[.!?…]$/.test(said) ? said : `${said}.`}${AGAIN}`;

// The server's no to a question that was overtaken by events.
const VOID = {
  mode_changed: (from) => `the trading mode is no longer ${MODES[from]}.`,
  stale: () => 'the desk was changed while you were deciding.',
};

function question(from, to, waiting) {
  const canceled = waiting ? ` ${waiting === 1 ? 'The order that waits' : `All ${waiting} orders that wait`} for approval will be canceled.` : '';
  if (to === 'live') {
    return {
      title: 'Go live?', act: 'Go live', needWord: LIVE_WORD, grave: true,
      text: `Leaves ${MODES[from]}. From now on orders that pass the gate trade REAL MONEY.${canceled}`,
    };
  }
  return from === 'live'
    ? { title: 'Back to paper?', act: 'Back to paper', text: `Leaves LIVE. From now on orders go to the paper account.${canceled}` }
    : { title: 'Resume in paper?', act: 'Resume in paper', text: `Leaves HALTED. Orders pass the gate again, to the paper account.${canceled}` };
}

/** Whether this no says for certain that nothing was changed. */
const isCertain = ({ status, code }) => (status >= 400 && status < 500) || code === 'busy';

/** Whether it is no use to ask again with other words. A code may be mistyped, and be over while one types. */
const isFinal = ({ status, code }) => (status === 401 || status === 403) && code !== 'second_factor_wrong';

/** What is wrong, where it was typed. */
function inFields({ code, errors, message }) {
  if (code === 'second_factor_wrong') return { code: `${capital(message)}.` };
  return {
    ...(errors.reason && { reason: `Reason ${errors.reason.join(', ')}.` }),
    ...(errors.totp_code && { code: `The code ${errors.totp_code.join(', ')}.` }),
  };
}

function why({ status, code, message }) {
  if (status === 401) return 'your session has ended. Sign in and halt again.';
  if (code === 'database_unavailable') return 'the database is down. Until it is back nothing is released.';
  return message;
}

/** What of a question that leaves this mode is no longer so. */
const overtaken = (from, version, waiting) => ({ state, waitingCount }) => {
  if (state.trading_mode !== from) return { said: `The trading mode is ${MODES[state.trading_mode]} by now, no longer ${MODES[from]}.`, over: true };
  const known = version !== undefined && state.config_version !== undefined;
  if (known && state.config_version !== version) return { said: 'The desk was changed while you were deciding: look at it and ask again.', over: true };
  if (waitingCount === waiting) return null;
  if (!waitingCount) return { said: 'By now no order waits for approval.' };
  return { said: waitingCount === 1 ? 'By now 1 order waits for approval: it will be canceled.' : `By now ${waitingCount} orders wait for approval: all will be canceled.` };
};

/** What the mode means, of the words that the template has for each. */
function wordsOf({ trading_mode: mode, error }, dataset) {
  return error && mode !== 'disabled' ? dataset.wordsBroken : dataset[`words${capital(mode)}`];
}

/** The same on the page itself, where the bar has no room for it. */
export const modeDetail = ({ api }) => () => ({
  config: null,

  init() {
    api.follow('trading-config', (config) => { this.config = config; });
  },

  get words() {
    return wordsOf(this.config, document.getElementById('modebar').dataset);
  },
});

export const modeBar = ({ api, ask, random = Math.random }) => () => ({
  halting: false,
  pressed: 0,          // when, of the halt that is being asked for
  trying: false,       // nobody confirmed it so far: it is asked for again, and the next good read tells what became of it
  unhalted: '',        // what is to be said of it
  waiting: false,
  saving: false,
  problem: '',
  config: {},

  init() {
    api.follow('trading-config', (config) => { this.config = config; });
    api.watch('state', ({ problem, patched }) => { if (!problem && !patched) this.settle(); });
  },

  get mode() {
    return this.config.trading_mode;
  },
  get label() {
    return MODES[this.mode];
  },
  get words() {
    return wordsOf(this.config, this.$root.dataset);
  },

  get said() {
    return this.unhalted || this.problem;
  },

  dismiss() {
    this.problem = '';
    this.stop();
  },

  settle() {
    if (!this.trying) return;
    if (this.mode === 'disabled') this.stop();
    else this.unhalted = `NOT HALTED as of ${this.$store.desk.lastGood} UTC.${AGAIN}`;
  },

  /**
   * Halting twice does no harm: a slow answer does not keep anybody from pressing again, and where no answer comes the
   * page goes on asking by itself, until the server says yes or no, a read shows the halt, or somebody stops it.
   */
  async halt() {
    const now = Date.now();
    if (this.halting && now - this.pressed < PRESS_AGAIN) return;
    this.pressed = now;
    this.halting = true;
    this.unhalted = '';
    this.trying = false;
    const already = this.mode === 'disabled';
    for (let tries = 1, doubt = false; this.pressed === now; tries += 1) {
      const problem = await api.halt().then(() => null, (no) => no);
      if (this.pressed !== now) return;   // pressed again since, or stopped
      if (!problem) {
        this.stop();
        if (already) this.$store.desk.announce(['Trading is halted already.']);
        return;
      }
      this.trying = problem.code === 'no_answer' || problem.status >= 500;
      doubt ||= !isCertain(problem);   // an earlier try may have come through all the same
      const no = doubt ? `HALT NOT CONFIRMED. ${capital(why(problem))}` : `NOT HALTED: ${why(problem)}`;
      this.unhalted = this.trying ? again(no) : no;
      this.$store.desk.refused(problem);
      if (!this.trying) {
        this.pressed = 0;
        this.halting = false;
        return;
      }
      await new Promise((resolve) => { setTimeout(resolve, Math.min(LONGEST, SECOND * 2 ** (tries - 1)) * (0.8 + random() * 0.4)); });
    }
  },

  /** No more is asked for, and nothing said. */
  stop() {
    this.pressed = 0;
    this.halting = this.trying = false;
    this.unhalted = '';
  },

  /** Asks until the server says yes, the operator says no, or the question no longer holds. What was typed stays. */
  async change(to) {
    if (this.waiting) return;
    this.problem = '';
    const { desk } = this.$store;
    const needCode = to === 'live' && !!this.config.second_factor_for_live;
    if (needCode && desk.me.lacksCode) {
      this.problem = 'Not changed: going live takes a second factor, and you have none. Set one up on your Account page.';
      return;
    }
    this.waiting = true;
    // What this question leaves; the page may learn of something else meanwhile, and then the answer is void.
    const from = this.mode;
    const { version } = this.config;
    const { waitingCount } = desk;
    const asked = {
      ...question(from, to, waitingCount), needReason: true, needCode, stale: overtaken(from, version, waitingCount),
    };
    try {
      for (let answer = await ask(asked); answer;) {
        const { reason, code } = answer;
        const problem = await this.put({ trading_mode: to, from, reason, ...(code && { totp_code: code }) }, version);
        if (!problem) return this.$refs.badge.focus();
        if (VOID[problem.code]) this.problem = `Nothing was changed: ${VOID[problem.code](from)} Look at the desk and ask again.`;
        else if (isFinal(problem)) this.problem = `Not changed: ${problem.message}`;
        if (this.problem) return undefined;
        const errors = inFields(problem);
        answer = await ask({ ...asked, reason, word: asked.needWord, errors, problem: Object.keys(errors).length ? '' : problem.message });
      }
    } finally {
      this.waiting = false;
    }
    return undefined;
  },

  async put(change, version) {
    this.saving = true;
    try {
      await api.setMode(change, version);
      return null;
    } catch (problem) {
      this.$store.desk.refused(problem);
      return problem;
    } finally {
      this.saving = false;
    }
  },
});
