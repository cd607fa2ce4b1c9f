// What is at the venue, or may be, in sentences: those of the alarm, the question before orders are ended there, and what
// came of it. _venue.html draws the same where there is no script.

import { lowerCase } from './ascii.js';
import { capital, count, grouped, isFilled, isUnsent, moment, money, named, outcome, prices, stillOpen } from './orders.js';

const MOST_NAMED = 6;
const SHORT = 11;   // characters of an id that tell it from others: "cs-" and eight
const NOTHING = { sending: 0, unknown: 0, on_the_way: [], open_orders: [], open_orders_total: 0, silent_since: null };
export const UNTOLD = 'What is at the venue cannot be told now: look at the broker’s own page.';

/** What is at the venue. `untold`: the server could not tell, and what is here is older, or nothing. */
export function atVenue({ venue }) {
  if (!venue) return NOTHING;
  return venue.open_orders ? { ...NOTHING, ...venue } : { ...NOTHING, untold: true };
}

const isAre = (number) => (number === 1 ? 'is' : 'are');
const stopsOf = (orders) => orders.filter(({ protective }) => protective);
const othersOf = (orders) => orders.filter(({ protective }) => !protective);
const stopOrders = (number) => (number === 1 ? '1 stop order' : `${number} stop orders`);

function few(orders, name = stillOpen) {
  const names = orders.slice(0, MOST_NAMED).map(name).join(', ');
  return orders.length > MOST_NAMED ? `${names} and ${orders.length - MOST_NAMED} more` : names;
}

const short = (id) => `${id.slice(0, SHORT)}…`;

/** Those that are there, and those that may be. */
function these(open, way) {
  const maybe = way.length && `${open.length ? way.length : count(way.length)} that may be there: ${few(way)}`;
  return capital([open.length && few(open), maybe].filter(Boolean).join(' and '));
}

/** The question before orders are ended at the venue. Stops go only where they are chosen one by one. */
export function question(venue) {
  const { open_orders: open, open_orders_total: total, on_the_way: way, sending } = venue;
  const others = othersOf([...open, ...way]).length;
  const unlisted = total - open.length + sending - way.length;
  const choice = (words) => (order) => ({ id: order.id, label: `${stillOpen(order)}, ${prices(order)}${words}` });
  return {
    title: others ? `Cancel ${count(others)} at the venue?` : 'Cancel stop orders at the venue?',
    act: 'Cancel at the venue', dismiss: 'Leave them open', grave: true,
    text: [
      others ? `${these(othersOf(open), othersOf(way))}. What is filled already stays filled.` : 'Nothing else is open there.',
      unlisted && `${capital(count(unlisted))} more ${isAre(unlisted)} not listed here and end too, but for stops.`,
      'Trading stays halted.',
    ].filter(Boolean).join(' '),
    choices: [...stopsOf(open).map(choice('')), ...stopsOf(way).map(choice(' (may be there)'))],
    choicesTitle: 'Stops stay unless chosen; a stop that opens a position opens it even while halted.',
    stale: overtaken(venue),
  };
}

const idsOf = ({ open_orders: open, on_the_way: way }) => [...open, ...way].map(({ id }) => id);

/** What of a question about these orders is no longer so. What is open by then ends, whatever was named. */
const overtaken = (asked) => ({ state }) => {
  if (state.trading_mode !== 'disabled') return { said: 'Trading is not halted any more: look at the desk and ask again.', over: true };
  const venue = atVenue(state);
  const [were, are] = [new Set(idsOf(asked)), idsOf(venue)];
  const same = are.length === were.size && are.every((id) => were.has(id)) && venue.open_orders_total === asked.open_orders_total;
  if (venue.untold || same) return null;
  const { open_orders: open, open_orders_total: total, on_the_way: way, sending } = venue;
  if (!total && !sending) return { said: 'By now no order is open at the venue.', over: true };
  const unasked = stopsOf([...open, ...way]).some(({ id }) => !were.has(id));
  return {
    said: [
      `By now ${total ? `${count(total)} ${isAre(total)} open: ${few(open)}` : 'no order is open'}`,
      sending ? `${total ? ', and' : ', but'} ${sending} may be there: ${few(way)}.` : '.',
      unasked ? ' A stop that came since stays: ask again to choose it.' : '',
    ].join(''),
  };
};

/** What became of them: only what stays true, for the list goes on telling of the others. */
export function told({ canceled_orders: canceled, not_open: gone = [] }) {
  const ended = canceled.filter((order) => order.ended);
  const rest = canceled.length - ended.length;
  const fate = (order) => `${named(order)}: ${lowerCase(outcome(order))}`;
  return [
    !canceled.length && 'Nothing was to be canceled at the venue.',
    ended.length && `${capital(count(ended.length))} ended at the venue (${few(ended, fate)}).`,
    rest && `The end of ${count(rest)} was asked for: the list tells what becomes of ${rest === 1 ? 'it' : 'them'}.`,
    gone.length && `Of the stops that you chose ${gone.length} ${isAre(gone.length)} not open any more.`,
  ].filter(Boolean).join(' ');
}

/** What the server left out of a halt, because it could not be used. */
export const ignoredWords = ({ ignored = {} }) => Object.entries(ignored).map(([name, said]) => `Ignored: ${name} ${said.join(', ')}.`);

// The alarm

export function unknownWords({ unknown, on_the_way: way }) {
  if (!unknown) return '';
  const lost = way.filter(({ status }) => status === 'unknown');
  const names = few(lost, (order) => `${named(order)} (${short(order.venue_order_id)})`);
  const it = unknown === 1 ? 'it' : 'them';
  return `It is UNKNOWN whether ${count(unknown)} ${isAre(unknown)} at the venue: ${names}: search for ${it} at the broker. The desk goes on asking.`;
}

/** Whether nothing but stops is there, as far as anybody knows. */
export const isStopsAlone = ({ open_orders: open, open_orders_total: total, sending }) => (
  total > 0 && !sending && total === open.length && !othersOf(open).length);

/** What a halt has not reached. It is read out when it changes, so how many that are is told apart from it. */
export function leftWords(venue) {
  const { open_orders_total: total, sending } = venue;
  if (isStopsAlone(venue)) return 'Only stop orders are left at the venue.';
  if (total) return 'Trading is halted, but orders are still open at the venue.';
  return sending ? 'Trading is halted, but orders were on the way to the venue.' : '';
}

export function counted(venue) {
  const { open_orders: open, open_orders_total: total, sending, unknown } = venue;
  const asked = open.filter(({ cancel_asked_at: at }) => at).length;
  const stops = stopsOf(open).filter(({ cancel_asked_at: at }) => !at).length;
  const parts = [
    asked && `${asked} of them asked to be canceled, not confirmed`,
    stops && !isStopsAlone(venue) && `${stopOrders(stops)}${asked ? ` ${stops === 1 ? 'was' : 'were'} left` : ''}`,
  ].filter(Boolean).join('; ');
  return [
    total && `${total} open${parts && `: ${parts}`}.`,
    sending - unknown && `${sending - unknown} on the way there.`,
  ].filter(Boolean).join(' ');
}

export const silence = ({ silent_since: at }, now) => (at ? `as of ${moment(at, now)} UTC; the venue has not answered since` : '');

// The list

/** What is not open there, in the head of the list. */
export function notOpen({ venue, state }) {
  const { sending, unknown, untold } = venue;
  const unsent = state.recent_orders.filter(isUnsent).length;
  const words = [
    untold && 'what is there cannot be told now',
    unknown && `${count(unknown)} UNKNOWN`,
    sending - unknown && `${count(sending - unknown)} on the way there`,
    unsent && `${count(unsent)} released, not sent yet`,
    silence(venue, state.server_time),
  ].filter(Boolean).join(' · ');
  return words && capital(words);
}

export function filled(order) {
  if (order.status === 'unknown') return 'search for it at the broker';
  if (order.status === 'sending') return 'no answer yet';
  if (!isFilled(order)) return 'nothing filled';
  return `${grouped(order.filled_qty)} filled${order.filled_avg_price ? ` at ${money(order.filled_avg_price)}` : ''}`;
}

export const asked = ({ cancel_asked_at: at }, now) => (at ? `Cancel asked ${moment(at, now)}` : '');
