// The one confirmation dialog that everything shares. ask() opens it and gives back what was entered, or null for no.
// The desk goes on meanwhile: a question may carry stale(desk), which says what of it is no longer so, {said, over}, or
// null. Where it is over nobody can say yes to it any more. `dismiss` is the word for no, where "Cancel" could be an act.

import { upperCase } from './ascii.js';

/** Halting is one click, always: its button shows through the veil, and so it works there. */
export function throughTheVeil({ clientX, clientY }, opened) {
  const halt = document.querySelector('button.halt[type="submit"]');
  const { left, right, top, bottom } = halt ? halt.getBoundingClientRect() : {};
  if (!(clientX >= left && clientX <= right && clientY >= top && clientY <= bottom)) return;
  opened.close('');
  halt.click();
}

/** A dialog that only shows something and is closed again. */
export const panel = () => () => ({
  close() {
    this.$root.close();
  },
  throughTheVeil(event) {
    throughTheVeil(event, this.$root);
  },
});

const NEVER = () => null;

export function createDialog() {
  let shared;

  const component = () => ({
    title: '', text: '', act: '', dismiss: '', problem: '', errors: {}, needReason: false, needWord: '', needCode: false, grave: false,
    stale: NEVER,
    choices: [],         // of more that is asked about, {id, label}: none is chosen unless somebody does
    choicesTitle: '',
    answered: null,

    init() {
      shared = this;
    },

    get overtaken() {
      return this.stale(this.$store.desk);
    },
    get over() {
      return !!this.overtaken?.over;
    },
    get said() {
      return this.overtaken?.said ?? this.problem;
    },

    /** The six digits, however they are spaced; '' where they are not. */
    get codeTyped() {
      const digits = this.$refs.code.value.replace(/\s/g, '');
      return /^[0-9]{6}$/.test(digits) ? digits : '';
    },

    async ask({
      title, text, act, dismiss = 'Cancel', needReason = false, needWord = '', needCode = false, grave = false, reason = '', word = '',
      errors = {}, problem = '', stale = NEVER,
      choices = [], choicesTitle = '',
    }) {
      if (this.$root.open) return null;
      const opener = document.activeElement;
      Object.assign(this, { title, text, act, dismiss, needReason, needWord, needCode, grave, errors, problem, stale, choices, choicesTitle });
      this.$refs.word.value = word;
      if (this.$refs.code) this.$refs.code.value = '';   // it is on the page of those who may go live
      await this.$nextTick();   // the reason field is on the page only while a dialog asks for it
      if (needReason) this.$refs.reason.value = reason;
      this.$root.returnValue = '';
      this.$root.showModal();
      this.$root.scrollTop = 0;   // what has the focus is at its end, and what is asked at its beginning
      if (errors.code) this.$refs.code.focus();
      else if (needReason) this.$refs.reason.focus();
      const answer = await new Promise((resolve) => { this.answered = resolve; });
      if (opener.isConnected) opener.focus();
      return answer;
    },

    cancel() {
      this.$root.close('');
    },

    throughTheVeil(event) {
      throughTheVeil(event, this.$root);
    },

    confirm() {
      if (this.over) return;
      this.errors = {};
      if (this.needReason && !this.$refs.reason.value.trim()) this.errors.reason = 'Say why.';
      if (this.needWord && upperCase(this.$refs.word.value.trim()) !== this.needWord) this.errors.word = `Type ${this.needWord}.`;
      if (this.needCode && !this.codeTyped) this.errors.code = 'Type the six digits that your authenticator shows.';
      if (this.errors.reason) this.$refs.reason.focus();
      else if (this.errors.code) this.$refs.code.focus();
      else if (this.errors.word) this.$refs.word.focus();
      else this.$root.close('confirm');
    },

    closed() {
      const reason = this.needReason ? this.$refs.reason.value.trim() : '';
      const code = this.needCode ? this.codeTyped : '';
      this.needReason = false;
      this.stale = NEVER;
      const chosen = [...this.$root.querySelectorAll('[name="choice"]:checked')].map(({ value }) => value);
      const asked = this.choices.length;
      this.choices = [];
      this.answered(this.$root.returnValue === 'confirm' ? { reason, ...(code && { code }), ...(asked && { chosen }) } : null);
    },
  });

  return { component, ask: (question) => shared.ask(question) };
}
