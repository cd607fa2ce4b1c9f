// Which tickers name the same instrument, and which lockouts block an order: app/domain/instruments.py for the page.
// tests/domain/instruments.json holds both to the same answers.

import { EVERY_SYMBOL } from './tickers.js';

const DERIVATIVE = /^(.*:)?(([A-Z0-9]+[FGHJKMNQUVXZ])([0-9]|[0-9]{3})?([0-9])|([A-Z0-9]+)(=F|[1-9]!)|([A-Z0-9]{1,6}[0-9]{6}[CP][0-9]{8}))(CME|CBT|CMX|NYM|NYB)?$/;

const compact = (ticker) => ticker.replace(/[./_-]/g, '');

function isDate(digits) {
  const [year, month, day] = digits.match(/../g).map(Number);
  const date = new Date(Date.UTC(2000 + year, month - 1, day));
  return date.getUTCMonth() === month - 1 && date.getUTCDate() === day;
}

/** The same for all spellings of an instrument. */
export const instrumentKey = (ticker) => compact(ticker).replace(DERIVATIVE, '$3$5$6$8');

/** An option, a future, or neither; `roots` are what their lockouts may name. */
export function parse(ticker) {
  const [, , , contract, , , continuous, , option] = DERIVATIVE.exec(compact(ticker)) ?? [];
  if (option && isDate(option.slice(-15, -9))) {
    const root = option.slice(0, -15);
    return { kind: 'option', root, roots: [root, root.replace(/[0-9]+$/, '') || root] };
  }
  const root = continuous ?? contract?.slice(0, -1);
  return root ? { kind: 'future', root, roots: [root] } : { kind: 'other', roots: [] };
}

/** The keys of the lockouts that block an order for a ticker: its own, those of its underlying or root, and `*`. */
export function lockoutKeys(ticker) {
  const ofRoots = parse(ticker).roots.flatMap((root) => [root, ...lockoutKeys(root)]);
  return new Set([instrumentKey(ticker), ...ofRoots, EVERY_SYMBOL]);
}

/** Whether a lockout of `locked` blocks orders for `ticker`. */
export const isBlockedBy = (ticker, locked) => lockoutKeys(ticker).has(instrumentKey(locked));
