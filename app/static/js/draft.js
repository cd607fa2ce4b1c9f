// What was typed into the lockout form outlives signing in again.

const KEY = 'countersign.lockout-draft';
const FIELDS = ['ticker', 'reason', 'duration_minutes'];

export function keepDraft() {
  const form = document.getElementById('lockout-form');
  sessionStorage.setItem(KEY, JSON.stringify(Object.fromEntries(FIELDS.map((name) => [name, form.elements[name].value]))));
}

export function takeDraft() {
  const draft = JSON.parse(sessionStorage.getItem(KEY) ?? 'null');
  sessionStorage.removeItem(KEY);
  return draft;
}
