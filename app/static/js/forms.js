// What the server makes of a form's fields, and the two small forms about approval: how long an order waits, and mending
// a configuration that cannot be read.

/** A number as the server wants it: an integer, or nothing where nothing was typed. Anything else is its to refuse. */
export function whole(text) {
  if (!text.trim()) return undefined;
  return /^\s*\d+\s*$/.test(text) ? Number(text) : text;
}

/** The server's messages by field, each a sentence that begins with the field's label. */
export function inWords(errors, form) {
  return Object.fromEntries(Object.entries(errors)
    .filter(([name]) => form.elements[name])
    .map(([name, messages]) => [name, sentence(form.elements[name], messages)]));
}

function sentence(input, messages) {
  const number = input.inputMode === 'numeric' ? whole(input.value) : 0;
  const said = typeof number === 'number' ? messages.join(', ') : number ? 'must be a whole number' : 'is required';
  return `${input.labels[0].textContent.trim()} ${said}.`;
}

export const timeoutForm = ({ api }) => () => ({
  edited: false,
  saving: false,
  error: '',
  config: null,

  get unknown() {
    return !this.config;
  },
  get locked() {
    return this.saving || this.unknown;
  },

  init() {
    api.follow('approval-config', (config) => { this.config = config; });
    // Shows the current value, except while another one is being typed.
    this.$watch('config', (config) => { if (!this.edited) this.$refs.minutes.value = config ? config.approval_timeout_minutes : ''; });
  },

  typed() {
    this.edited = true;
    this.error = '';
  },

  async save() {
    if (this.locked || !this.$store.desk.me.can.operate) return;
    this.saving = true;
    this.error = '';
    try {
      const saved = await api.updateApprovalConfig({ approval_timeout_minutes: whole(this.$refs.minutes.value) ?? '' });
      this.edited = false;
      this.$refs.minutes.value = saved.approval_timeout_minutes;
    } catch (problem) {
      this.error = inWords(problem.errors, this.$root).approval_timeout_minutes ?? `Not changed: ${problem.message}`;
      this.$refs.minutes.focus();
      this.$store.desk.refused(problem);
    } finally {
      this.saving = false;
    }
  },
});

export const mendForm = ({ api }) => () => ({
  saving: false,
  problem: '',
  error: null,         // of the stored configuration
  mendable: false,     // by this form: the part that it sets is what cannot be parsed

  init() {
    api.follow('trading-config', ({ error }) => { this.error = error; });
    api.follow('approval-config', (config) => { this.mendable = config === null; });
  },

  get broken() {
    return !!this.error;
  },
  /** Whether an operator can set all that cannot be read. */
  get byOperator() {
    return this.broken && this.$store.desk.state.config_error.fixable_by === 'operator';
  },
  get operatorFix() {
    if (!this.byOperator) return '';
    const route = this.key.startsWith('signal_layers') ? 'signal-layers' : 'approval-config';
    return `${this.$store.desk.me.can.operate ? 'You' : 'An operator'} can fix it: set the values that cannot be read (PUT /api/admin/trading/${route}).`;
  },
  get key() {
    return this.broken ? this.error.key : '';
  },
  get detail() {
    return this.broken ? this.error.detail : '';
  },

  async mend() {
    if (this.saving) return;
    this.saving = true;
    this.problem = '';
    const form = this.$root.querySelector('form');
    const { elements } = form;
    try {
      await api.updateApprovalConfig({
        auto_approve_paper: elements.auto_approve_paper.value === 'true',
        require_approval_for_live: elements.require_approval_for_live.value === 'true',
        approval_timeout_minutes: whole(elements.approval_timeout_minutes.value),
      });
    } catch (problem) {
      this.problem = `Not changed: ${inWords(problem.errors, form).approval_timeout_minutes ?? problem.message}`;
      this.$store.desk.refused(problem);
    } finally {
      this.saving = false;
    }
  },
});

/** Keys in known sections that mean nothing: perhaps a misspelt limit. */
export const settingWarnings = ({ api }) => () => ({
  warnings: [],

  init() {
    api.follow('trading-config', ({ warnings }) => { this.warnings = warnings; });
  },

  get none() {
    return !this.warnings.length;
  },
  get names() {
    return this.warnings.join(', ');
  },
});
