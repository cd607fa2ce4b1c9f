// Single keys for pending approvals, and the small dialog that lists them and can switch them off.

import { panel } from './dialog.js';
import { inBrowser } from './storage.js';

const OFF = 'countersign.keys-off';
const TYPING = 'input:not([type="checkbox"]), textarea, select, [contenteditable]';

/** The key that was pressed to command something, not to write; null while a question is open. */
export function command(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.defaultPrevented) return null;
  if (inBrowser.getItem(OFF) || event.target.closest?.(TYPING) || document.querySelector('dialog[open]')) return null;
  return event.key;
}

export const showKeys = () => document.getElementById('keys').showModal();

export const keysDialog = () => () => ({
  ...panel()(),
  on: !inBrowser.getItem(OFF),

  keep() {
    if (this.on) inBrowser.removeItem(OFF);
    else inBrowser.setItem(OFF, 'yes');
  },
});
