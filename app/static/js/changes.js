// What became different between two states of the desk, in sentences: for the line that announces it, and for those who
// hear the page rather than see it. Our own acts and other people's are told alike.

import { lowerCase } from './ascii.js';
import { minutesInWords, utcEnd } from './clock.js';
import { capital, count, decider, decision, named, since } from './orders.js';

export const MODES = { live: 'LIVE', paper: 'PAPER', disabled: 'HALTED' };

const MANY = 3;

function flag(before, after, sentence) {
  return before !== undefined && after !== undefined && before !== after ? [sentence(after)] : [];
}

function settings(before, after) {
  const [was, is] = [before.approval_config ?? {}, after.approval_config ?? {}];
  const [wasLayers, areLayers] = [before.signal_layers ?? {}, after.signal_layers ?? {}];
  const layer = (name) => (on) => `The ${name} signal layer is now ${on ? 'enabled' : 'disabled'}.`;
  return [
    ...flag(before.trading_mode, after.trading_mode, (mode) => `The trading mode is now ${MODES[mode]}.`),
    ...flag(!!before.config_error, !!after.config_error,
      (broken) => (broken ? 'The configuration cannot be read: the gate blocks every order.' : 'The configuration can be read again.')),
    ...flag(wasLayers.macro, areLayers.macro, layer('macro')),
    ...flag(wasLayers.competitive, areLayers.competitive, layer('competitive')),
    ...flag(was.auto_approve_paper, is.auto_approve_paper,
      (auto) => (auto ? 'Paper orders are now auto-approved.' : 'Paper orders now require approval.')),
    ...flag(was.require_approval_for_live, is.require_approval_for_live,
      (required) => (required ? 'Live orders now require approval.' : 'Live orders are now auto-approved.')),
    ...flag(was.approval_timeout_minutes, is.approval_timeout_minutes,
      (minutes) => `The approval timeout is now ${minutesInWords(minutes)}.`),
  ];
}

const what = (lock) => (lock.ticker === '*' ? 'Every symbol' : lock.ticker);
const lockoutOf = (lock) => (lock.ticker === '*' ? 'The lockout of every symbol' : `The lockout of ${lock.ticker}`);

function lockouts(before, after, now) {
  const old = new Map(before.map((lock) => [lock.id, lock]));
  const left = new Set(after.map((lock) => lock.id));
  const gone = before.filter((lock) => !left.has(lock.id)).map((lock) => (
    Date.parse(lock.expires_at) <= now ? `${lockoutOf(lock)} has ended.` : `${lockoutOf(lock)} was removed.`));
  const come = after.flatMap((lock) => {
    const end = utcEnd(Date.parse(lock.expires_at), now);
    if (!old.has(lock.id)) return [`${what(lock)} is locked out until ${end}.`];
    return old.get(lock.id).expires_at === lock.expires_at ? [] : [`${lockoutOf(lock)} now ends at ${end}.`];
  });
  const all = [...gone, ...come];
  return all.length > MANY ? [`${all.length} lockouts changed.`] : all;
}

/** The orders that came in and wait: those that are listed, and how many there are. */
export function arrivals(before, after) {
  const old = new Set(before.approvals.map((order) => order.id));
  const listed = after.approvals.filter((order) => !old.has(order.id));
  if (!before.unseen && !after.unseen) return { listed, number: listed.length };
  // Of more than a state holds some merely move up: only that there are more is news.
  return { listed: [], number: Math.max(0, after.approvals.length + after.unseen - before.approvals.length - before.unseen) };
}

const few = (sentences, many) => (sentences.length > MANY ? [`${sentences.length} ${many}.`] : sentences);

/** Who decided, and apart from that what became of it: a venue's no is not the doing of whoever released the order. */
function fate(order) {
  const now = since(order);
  return `${lowerCase(decision(order))} by ${decider(order)}${now && `; ${now}`}`;
}

/** Released orders that the desk has given up sending. */
function givenUp(before, after) {
  const ended = new Set(before.filter(({ status }) => status === 'canceled').map(({ id }) => id));
  const late = after.filter(({ id, status, reasons = [] }) => (
    status === 'canceled' && !ended.has(id) && reasons.some(({ code }) => code === 'send_deadline')));
  return few(late.map((order) => `${capital(named(order))} was released, but could not be sent in time: it is not sent any more.`),
    'released orders could not be sent in time');
}

/** What a halt does not reach. */
function stillAtVenue(before, after) {
  const total = after.venue?.open_orders_total;
  const halted = after.trading_mode === 'disabled' && before.trading_mode !== 'disabled';
  return halted && total ? [`${capital(count(total))} ${total === 1 ? 'is' : 'are'} still open at the venue.`] : [];
}

function approvals(before, after, now) {
  const left = new Set(after.approvals.map((order) => order.id));
  const decided = new Map(after.recent_orders.map((order) => [order.id, order]));
  const gone = before.approvals.filter((order) => !left.has(order.id)).map((order) => {
    const end = decided.get(order.id);
    const how = Date.parse(order.expires_at) <= now ? 'timed out' : 'no longer pending';
    return `${capital(named(order))}: ${end && end.status !== 'expired' ? fate(end) : how}.`;
  });
  const { listed, number } = arrivals(before, after);
  const come = listed.map((order) => `${capital(named(order))} waits for approval.`);
  const more = number && !listed.length ? [`${number} more wait for approval.`] : [];
  return [...few(gone, 'orders are no longer pending'), ...few(come, 'orders came in that wait for approval'), ...more];
}

/** Both states with the lockouts that were, and are, in force, and the orders that waited, and wait. */
export function describeChanges(before, after, now) {
  return [
    ...settings(before, after), ...stillAtVenue(before, after), ...lockouts(before.lockouts, after.lockouts, now),
    ...approvals(before, after, now), ...givenUp(before.recent_orders, after.recent_orders),
  ];
}
