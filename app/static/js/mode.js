// The trading mode in the header. Stopping is one click and never asks; starting again always does.

import { MODES } from './changes.js';

const LIVE_WORD = 'LIVE';

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

export const modeBar = ({ api, ask }) => () => ({
  halting: false,
  waiting: false,
  saving: false,
  problem: '',

  get mode() {
    return this.$store.desk.state.trading_mode;
  },
  get label() {
    return MODES[this.mode];
  },
  get words() {
    return this.$root.dataset[`words${this.mode[0].toUpperCase()}${this.mode.slice(1)}`];
  },

  dismiss() {
    this.problem = '';
  },

  async halt() {
    if (this.halting) return;
    this.halting = true;
    this.problem = '';
    const already = this.mode === 'disabled';
    try {
      await api.halt();
      if (already) this.$store.desk.announce(['Trading is halted already.']);
    } catch (problem) {
      this.problem = `HALT NOT CONFIRMED. ${problem.message}`;
      this.$store.desk.refused(problem);
    } finally {
      this.halting = false;
    }
  },

  /** Asks until the server says yes, the operator says no, or the question no longer holds. What was typed stays. */
  async change(to) {
    if (this.waiting) return;
    this.waiting = true;
    this.problem = '';
    const from = this.mode;   // the mode that this question leaves; the page may learn of another one meanwhile
    const asked = question(from, to, this.$store.desk.state.approvals.length);
    try {
      for (let answer = await ask({ ...asked, needReason: true }); answer;) {
        const problem = await this.put({ trading_mode: to, from, reason: answer.reason });
        if (!problem) return this.$refs.badge.focus();
        if (problem.code === 'mode_changed' || problem.status === 401 || problem.status === 403) {
          this.problem = problem.code === 'mode_changed'
            ? `Nothing was changed: the trading mode is no longer ${MODES[from]}. ${problem.message}` : `Not changed: ${problem.message}`;
          return undefined;
        }
        const errors = problem.errors.reason ? { reason: `Reason ${problem.errors.reason.join(', ')}.` } : {};
        answer = await ask({ ...asked, needReason: true, reason: answer.reason, errors, problem: errors.reason ? '' : problem.message });
      }
    } finally {
      this.waiting = false;
    }
    return undefined;
  },

  async put(change) {
    this.saving = true;
    try {
      await api.setMode(change);
      return null;
    } catch (problem) {
      this.$store.desk.refused(problem);
      return problem;
    } finally {
      this.saving = false;
    }
  },
});
