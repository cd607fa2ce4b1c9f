// The four cards with a switch. The words are in the template; here is what each one reads and writes.

import { minutesInWords } from './clock.js';

const layer = (name) => ({
  read: (state) => state.signal_layers?.[name],
  write: (api, on) => api.updateSignalLayers({ [name]: on }),
});

// A switch is on where a person must approve, or where the layer may trade.
const SWITCHES = {
  macro: layer('macro'),
  competitive: layer('competitive'),
  paper: {
    read: ({ approval_config: config }) => config && !config.auto_approve_paper,
    write: (api, required) => api.updateApprovalConfig({ auto_approve_paper: !required }),
  },
  live: {
    read: ({ approval_config: config }) => config?.require_approval_for_live,
    write: (api, required) => api.updateApprovalConfig({ require_approval_for_live: required }),
  },
};

export const switchCard = ({ api, ask }) => (key) => ({
  waiting: false,    // from the click to the server's answer: a second click does nothing
  saving: false,
  problem: '',

  get on() {
    return SWITCHES[key].read(this.$store.desk.state);
  },
  get unknown() {
    return typeof this.on !== 'boolean';
  },
  get checked() {
    return this.on === true;
  },
  get stateName() {
    return this.unknown ? 'unknown' : this.on ? 'on' : 'off';
  },
  get words() {
    return this.unknown ? 'Unknown' : this.said('words', this.on);
  },
  get help() {
    return this.unknown ? 'The stored configuration cannot be read.' : this.said('help', this.on);
  },

  said(what, on) {
    return this.$root.dataset[what + (on ? 'On' : 'Off')];
  },

  async toggle() {
    if (this.waiting) return;
    this.waiting = true;
    this.problem = '';
    const wanted = !this.on;
    try {
      if (await this.agreed(wanted)) {
        this.saving = true;
        await SWITCHES[key].write(api, wanted);
      }
    } catch (problem) {
      this.problem = `Not changed: ${problem.message}`;
      this.$store.desk.refused(problem);
    } finally {
      this.waiting = this.saving = false;
    }
  },

  /** Says what will change before anything does, where the template has words for it. */
  async agreed(wanted) {
    const text = this.said('ask', wanted);
    if (!text) return true;
    const act = this.said('act', wanted);
    const minutes = this.$store.desk.state.approval_config?.approval_timeout_minutes;
    return ask({
      title: `${this.$root.dataset.name}: ${act.toLowerCase()}?`,
      text: text.replace('{timeout}', minutesInWords(minutes)),
      act,
      stale: () => this.overtaken(wanted),
      grave: !wanted && 'graveOff' in this.$root.dataset,
    });
  },

  overtaken(wanted) {
    if (this.on === !wanted) return null;
    return { said: this.unknown ? this.help : 'Somebody else has done so meanwhile.', over: true };
  },
});
