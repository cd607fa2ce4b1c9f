// An order in words and numbers, as _orders.html writes them. Amounts are decimal strings and stay exact.

import { lowerCase, upperCase } from './ascii.js';
import { utcTime } from './clock.js';

const OUTCOMES = {
  released: 'Released', blocked: 'Blocked', rejected: 'Rejected', expired: 'Timed out', canceled: 'Canceled',
  sending: 'Being sent', unknown: 'UNKNOWN', accepted: 'Working', partially_filled: 'Partly filled', filled: 'Filled',
  replaced: 'Replaced', venue_rejected: 'Rejected by venue', venue_canceled: 'Canceled at venue', venue_expired: 'Expired at venue',
};
const DECIDERS = { 'system:gate': 'the gate', 'system:deadline': 'the deadline', 'system:dispatch': 'the desk, before sending' };
const GONE_ON = [
  'sending', 'unknown', 'accepted', 'partially_filled', 'filled', 'replaced', 'venue_rejected', 'venue_canceled', 'venue_expired',
];
const TO_SEND = ['released', 'canceled'];   // where the venue's words are of a try to send that came to nothing
const DECIMALS = 27;   // a quantity times a price times a contract size

/** "1234567.5" -> "1,234,567.5"; `least` is the least number of decimals. */
export function grouped(amount, least = 0) {
  const [whole, fraction = ''] = amount.split('.');
  const thousands = whole.replace(/\B(?=(\d{3})+$)/g, ',');
  return fraction || least ? `${thousands}.${fraction.padEnd(least, '0')}` : thousands;
}
export const money = (amount) => grouped(amount, 2);

/** An amount that is only to be judged: what lies beyond the cents is cut off, and that is said. */
export function about(amount) {
  const [whole, fraction = ''] = amount.split('.');
  const tiny = !Number(whole + fraction.slice(0, 2));
  return fraction.length > 2 && !tiny ? `≈ ${grouped(`${whole}.${fraction.slice(0, 2)}`)}` : money(amount);
}

function units(amount) {
  const [whole, fraction = ''] = amount.split('.');
  return BigInt(whole + fraction.padEnd(DECIMALS, '0'));
}

function written(number) {
  const digits = String(number).padStart(DECIMALS + 1, '0');
  return `${digits.slice(0, -DECIMALS)}.${digits.slice(-DECIMALS)}`.replace(/\.?0+$/, '');
}

export const sum = (amounts) => written(amounts.reduce((total, amount) => total + units(amount), 0n));

export const size = ({ qty, notional }) => (qty ? grouped(qty) : money(notional));

export function worth({ notional, value, ...order }) {
  if (notional) return 'notional';
  if (value) return `value ${about(value)}`;
  const isPriced = order.limit_price || order.stop_price || order.reference_price;
  return isPriced ? 'contract size unknown' : 'value unknown';
}

export function prices({ type, stop_price: stop, limit_price: limit }) {
  if (type === 'market') return 'market';
  return [stop && `stop ${money(stop)}`, limit && `limit ${money(limit)}`].filter(Boolean).join(', ');
}

export const terms = ({ time_in_force: force, reference_price: reference }) => (
  `${force} · ${reference ? `ref. ${money(reference)}` : 'no ref. price'}`);

export const origin = ({ trading_mode: mode, signal_layer: layer }) => (layer ? `${mode} · ${layer}` : mode);

/** "buy 10 AAPL", "buy 5,000.00 notional of AAPL". */
export const named = (order) => `${order.side} ${size(order)} ${order.notional ? 'notional of ' : ''}${order.ticker}`;

export const isFilled = ({ filled_qty: qty }) => !!qty && Number(qty) > 0;

/** What of it is still open: "buy the open 6 of 10 AAPL"; by notional nobody can tell how much that is. */
export function stillOpen(order) {
  if (!isFilled(order)) return named(order);
  if (!order.qty) return `${named(order)}, partly filled`;
  return `${order.side} the open ${grouped(written(units(order.qty) - units(order.filled_qty)))} of ${size(order)} ${order.ticker}`;
}

export const capital = (text) => upperCase(text[0]) + text.slice(1);
export const count = (number) => (number === 1 ? '1 order' : `${number} orders`);
export const isLive = (order) => order.trading_mode === 'live';

export const outcome = ({ status }) => OUTCOMES[status] ?? status;
/** Who decided; and of a person who controls the engine that this is so. A canceled one was decided again since. */
export const decider = ({ decided_by: who, self_approved: own, status }) => (
  (DECIDERS[who] ?? who) + (own && status !== 'canceled' ? ' (own engine)' : ''));

const wentOn = ({ status }) => GONE_ON.includes(status);   // was released, and then sent
export const isReleased = (order) => order.status === 'released' || wentOn(order);
/** What was decided at the desk, whatever became of it at the venue since. */
export const decision = (order) => (wentOn(order) ? OUTCOMES.released : outcome(order));

/** Released, and bound for a venue that has not been sent it. */
export const isUnsent = ({ status, send_by: by }) => status === 'released' && !!by;

/** What became of it since that decision: "now: filled", "not sent yet (until 14:22:24)", or nothing. */
export function since(order) {
  if (isUnsent(order)) return `not sent yet (until ${utcTime(Date.parse(order.send_by))})`;
  if (!wentOn(order)) return '';
  return `now: ${order.status === 'unknown' ? OUTCOMES.unknown : lowerCase(outcome(order))}`;
}

/** "Released by olga at 14:03:11 UTC", and of one that went on: "…, now: filled". */
export function verdict(order) {
  const at = utcTime(Date.parse(order.decided_at));
  if (order.status === 'expired') return `Timed out at ${at} UTC: nobody decided`;
  return [`${decision(order)} by ${decider(order)} at ${at} UTC`, since(order)].filter(Boolean).join(', ');
}

/** A venue's words as people read them: of an error in JSON its message; likewise in texts.py. */
function message(words) {
  try {
    const { message: told } = JSON.parse(words);
    if (told && typeof told === 'string') return told;
  } catch { /* they are no JSON, or not of that kind */ }
  return words;
}

/** What the venue turned an order away with, or why it could not be sent; nothing of any other. */
export function venueSaid({ status, venue_words: words }) {
  if (!words) return '';
  if (status === 'venue_rejected') return `the venue: ${message(words)}`;
  return TO_SEND.includes(status) ? `not sent: ${message(words)}` : '';
}

/** "14:03:11", and another day's "2026-11-22 14:03". */
export function moment(at, now) {
  return at.slice(0, 10) === now.slice(0, 10) ? at.slice(11, 19) : `${at.slice(0, 10)} ${at.slice(11, 16)}`;
}

/** A sentence of the server's, with instants for people. */
export const plain = (detail) => detail.replace(/\d{4}-\d\d-\d\dT(\d\d:\d\d:\d\d)\.\d+Z/g, '$1 UTC');
