// The four cards with a switch. The words are in the template; here is what each one reads and writes.

import { lowerCase } from './ascii.js';
import { minutesInWords } from './clock.js';

const layer = (name) => ({
  key: 'signal-layers',
  read: (layers) => layers[name],
  write: (api, on) => api.updateSignalLayers({ [name]: on }),
});

// A switch is on where a person must approve, or where the layer may trade.
const SWITCHES = {
  macro: layer('macro'),
  competitive: layer('competitive'),
  paper: {
    key: 'approval-config',
    read: (config) => !config.auto_approve_paper,
    write: (api, required) => api.updateApprovalConfig({ auto_approve_paper: !required }),
  },
  live: {
    key: 'approval-config',
    read: (config) => config.require_approval_for_live,
    write: (api, required) => api.updateApprovalConfig({ require_approval_for_live: required }),
  },
};

export const switchCard = ({ api, ask }) => (name) => ({
  on: undefined,     // null where what is stored cannot be parsed
  minutes: undefined,
  waiting: false,    // from the click to the server's answer: a second click does nothing
  saving: false,
  problem: '',

  init() {
    const { key, read } = SWITCHES[name];
    api.follow(key, (stored) => { this.on = stored && read(stored); });
    api.follow('approval-config', (config) => { this.minutes = config?.approval_timeout_minutes; });
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
        await SWITCHES[name].write(api, wanted);
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
    return ask({
      title: `${this.$root.dataset.name}: ${lowerCase(act)}?`,
      text: text.replace('{timeout}', minutesInWords(this.minutes)),
      act,
      stale: () => this.overtaken(wanted),
      grave: !wanted && 'graveOff' in this.$root.dataset,
    });
  },

  overtaken(wanted) {
    if (this.on === !wanted) return null;
    return { said: this.unknown ? this.help : 'This changed while you were deciding: already done.', over: true };
  },
});
