// The trading mode in the header. Stopping is one click and never asks; starting again always does.

import { MODES } from './changes.js';

const LIVE_WORD = 'LIVE';
const PRESS_AGAIN = 2000;   // milliseconds

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

const why = ({ status, message }) => (status === 401 ? 'your session has ended. Sign in and halt again.' : message);

/** What of a question that leaves this mode is no longer so. */
const overtaken = (from, version, waiting) => ({ state, waitingCount }) => {
  if (state.trading_mode !== from) return { said: `The trading mode is ${MODES[state.trading_mode]} by now, no longer ${MODES[from]}.`, over: true };
  const known = version !== undefined && state.config_version !== undefined;
  if (known && state.config_version !== version) return { said: 'The desk was changed while you were deciding: look at it and ask again.', over: true };
  if (waitingCount === waiting) return null;
  if (!waitingCount) return { said: 'By now no order waits for approval.' };
  return { said: waitingCount === 1 ? 'By now 1 order waits for approval: it will be canceled.' : `By now ${waitingCount} orders wait for approval: all will be canceled.` };
};

export const modeBar = ({ api, ask }) => () => ({
  halting: false,
  waiting: false,
  saving: false,
  problem: '',
  unanswered: false,   // a halt that nobody confirmed: the next good read tells what became of it

  init() {
    api.watch('state', ({ problem, patched }) => { if (!problem && !patched) this.settle(); });
  },

  get mode() {
    return this.$store.desk.state.trading_mode;
  },
  get label() {
    return MODES[this.mode];
  },
  get words() {
    if (this.mode !== 'disabled' && this.$store.desk.state.config_error) return this.$root.dataset.wordsBroken;
    return this.$root.dataset[`words${this.mode[0].toUpperCase()}${this.mode.slice(1)}`];
  },

  dismiss() {
    this.problem = '';
    this.unanswered = false;
  },

  settle() {
    if (!this.unanswered || this.halting) return;
    this.unanswered = this.mode !== 'disabled';
    this.problem = this.unanswered ? `NOT HALTED as of ${this.$store.desk.lastGood} UTC. Press Halt trading again.` : '';
  },

  /** Halting twice does no harm, so a slow answer does not keep anybody from pressing again. */
  async halt() {
    const now = Date.now();
    if (this.halting && now - this.haltSent < PRESS_AGAIN) return;
    this.halting = true;
    this.haltSent = now;
    this.problem = '';
    this.unanswered = false;
    const already = this.mode === 'disabled';
    try {
      await api.halt();
      if (already) this.$store.desk.announce(['Trading is halted already.']);
    } catch (problem) {
      if (this.haltSent !== now) return;   // pressed again since: that answer counts
      this.unanswered = problem.code === 'no_answer';
      this.problem = isCertain(problem) ? `NOT HALTED: ${why(problem)}` : `HALT NOT CONFIRMED. ${problem.message}`;
      this.$store.desk.refused(problem);
    } finally {
      if (this.haltSent === now) this.halting = false;
    }
  },

  /** Asks until the server says yes, the operator says no, or the question no longer holds. What was typed stays. */
  async change(to) {
    if (this.waiting) return;
    this.waiting = true;
    this.problem = '';
    // What this question leaves; the page may learn of something else meanwhile, and then the answer is void.
    const from = this.mode;
    const version = this.$store.desk.state.config_version;
    const { waitingCount } = this.$store.desk;
    const asked = { ...question(from, to, waitingCount), needReason: true, stale: overtaken(from, version, waitingCount) };
    try {
      for (let answer = await ask(asked); answer;) {
        const problem = await this.put({ trading_mode: to, from, reason: answer.reason }, version);
        if (!problem) return this.$refs.badge.focus();
        if (VOID[problem.code]) this.problem = `Nothing was changed: ${VOID[problem.code](from)} Look at the desk and ask again.`;
        else if (problem.status === 401 || problem.status === 403) this.problem = `Not changed: ${problem.message}`;
        if (this.problem) return undefined;
        const errors = problem.errors.reason ? { reason: `Reason ${problem.errors.reason.join(', ')}.` } : {};
        answer = await ask({ ...asked, reason: answer.reason, errors, problem: errors.reason ? '' : problem.message });
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
