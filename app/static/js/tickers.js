// The ticker grammar, so that a field names the wrong character before anything is sent. The server's answer decides.

import { upperCase } from './ascii.js';

export const EVERY_SYMBOL = '*';
const MAX_LENGTH = 32;
const ALLOWED = 'A-Z 0-9 . / - _ : = ^ & !';
const WRONG = /[^A-Z0-9./\-_:=^&!]/u;
const START = /^[A-Z0-9^]/;
const PADDED_OCC = /^(?=.{6}\d{6}[CP]\d{8}$)([A-Z0-9]+) +(\d{6}[CP]\d{8})$/;   // the root is padded to six characters

/** Without the spaces around it, and those inside a padded OCC symbol; ASCII letters in upper case. */
const clean = (text) => upperCase(text.replace(/^ +| +$/g, '')).replace(PADDED_OCC, '$1$2');

function characterName(character) {
  if (character === ' ') return 'a space';
  const code = `U+${upperCase(character.codePointAt(0).toString(16).padStart(4, '0'))}`;
  if (/[\p{C}\p{Z}\p{M}]/u.test(character)) return code;   // invisible, or not to be seen alone
  return character > '~' ? `“${character}” (${code})` : `“${character}”`;
}

/** What is wrong with a ticker in any case, however it goes on; '' if nothing is. */
export function tickerProblem(text) {
  const ticker = clean(text);
  if (!ticker || ticker === EVERY_SYMBOL) return '';
  const [wrong] = ticker.match(WRONG) ?? [];
  if (wrong) return `Ticker must not contain ${characterName(wrong)}. Allowed are ${ALLOWED}, or * alone for every symbol.`;
  if (!START.test(ticker)) return 'Ticker must start with a letter, a digit or ^.';
  return ticker.length > MAX_LENGTH ? `Ticker must have at most ${MAX_LENGTH} characters.` : '';
}

/** The ticker as the server stores it, or null if the text is not one. */
export function normalizeTicker(text) {
  const ticker = clean(text);
  if (ticker === EVERY_SYMBOL) return ticker;
  return /[A-Z0-9]/.test(ticker) && !tickerProblem(ticker) ? ticker : null;
}

/** Whether the text is a ticker in the form that is stored. */
export const isTicker = (text) => normalizeTicker(text) === text;
