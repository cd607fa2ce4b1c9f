// What was typed into the lockout form outlives signing in again.

import { inTab } from './storage.js';

const KEY = 'countersign.lockout-draft';
const FIELDS = ['ticker', 'reason', 'duration_minutes'];

export function keepDraft() {
  const form = document.getElementById('lockout-form');
  inTab.setItem(KEY, JSON.stringify(Object.fromEntries(FIELDS.map((name) => [name, form.elements[name].value]))));
}

export function takeDraft() {
  const draft = JSON.parse(inTab.getItem(KEY) ?? 'null');
  inTab.removeItem(KEY);
  return draft;
}
