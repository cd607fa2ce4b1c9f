// What is asked before orders are decided: in paper trading one approval is one click, with real money never. And what is
// told of those that were not decided as asked.

import { lowerCase } from './ascii.js';
import { about, capital, count, decider, decision, isLive, isReleased, named, prices, sum, verdict, worth } from './orders.js';

const MOST_NAMED = 6;
const MOST_TOLD = 3;

function enumerate(orders) {
  const names = orders.slice(0, MOST_NAMED).map(named).join(', ');
  return capital(orders.length > MOST_NAMED ? `${names} and ${orders.length - MOST_NAMED} more` : names);
}

function together(orders) {
  const values = orders.map(({ value }) => value).filter(Boolean);
  const unknown = orders.length - values.length;
  if (!values.length) return 'Their value is unknown.';
  return `Together worth ${about(sum(values))}${unknown ? `, and ${count(unknown)} of unknown value` : ''}.`;
}

const rejectOne = (order) => ({
  title: `Reject ${named(order)}?`, act: 'Reject', needReason: true, text: `${order.engine} receives the rejection and your reason.`,
});

const rejectMany = (orders) => ({
  title: `Reject ${count(orders.length)}?`, act: `Reject ${count(orders.length)}`, needReason: true,
  text: `${enumerate(orders)}. Their engines receive the rejection and your reason.`,
});

const approveOne = (order) => ({
  title: `Approve ${named(order)} with REAL MONEY?`, act: 'Approve', grave: true,
  text: `${capital(prices(order))}, ${worth(order)}. It goes to the market at once.`,
});

function approveMany(orders, leftOut) {
  const live = orders.some(isLive);
  const rest = leftOut ? ` ${leftOut} of those selected cannot be approved now and ${leftOut === 1 ? 'is' : 'are'} left alone.` : '';
  return {
    title: `Approve ${count(orders.length)}${live ? ' with REAL MONEY' : ''}?`, act: `Approve ${count(orders.length)}`, grave: live,
    text: `${enumerate(orders)}. ${together(orders)}${rest}`,
  };
}

function words(orders, choice, many, leftOut) {
  if (choice === 'reject') return many ? rejectMany(orders) : rejectOne(orders[0]);
  if (many) return approveMany(orders, leftOut);
  return isLive(orders[0]) ? approveOne(orders[0]) : null;
}

/** The question for the dialog, or null where none is asked. `leftOut` of those selected cannot be approved. */
export function question(orders, choice, many, leftOut) {
  const asked = words(orders, choice, many, leftOut);
  return asked && { ...asked, stale: overtaken(orders, choice, many) };
}

function fate(order) {
  if (order.status === 'expired') return `${order.ticker} timed out`;
  return order.decided_at ? `${order.ticker} was ${lowerCase(decision(order))} by ${decider(order)}` : order.ticker;
}

const ending = (order) => (order.decided_at ? `${verdict(order)}.` : 'The order is no longer pending.');

/** The first few by name, those before all that went to the market: "SYM3 was released by me, AAPL, MSFT and 7 more". */
function fates(orders) {
  const told = [...orders.filter(isReleased), ...orders.filter((order) => !isReleased(order))].slice(0, MOST_TOLD);
  const more = orders.length - told.length;
  return `${told.map(fate).join(', ')}${more ? ` and ${more} more` : ''}`;
}

/** What became of them, and whether their rows say more than that. */
export function inBrief(orders) {
  const open = orders.length > MOST_TOLD || orders.some(({ decided_at: at }) => !at);
  return `${fates(orders)}${open ? '; each says why' : ''}.`;
}

/** What of a question about these orders is no longer so; of many it is over only when there is none left. */
function overtaken(orders, choice, many) {
  return ({ waiting, state, lost }) => {
    if (choice === 'approve' && lost) return { said: 'What you see may be out of date: wait until the desk answers again.', over: true };
    const here = new Map(waiting.map((order) => [order.id, order]));
    const gone = orders.filter(({ id }) => !here.has(id)).map((order) => state.recent_orders.find(({ id }) => id === order.id) ?? order);
    const held = choice === 'approve' ? orders.map(({ id }) => here.get(id)).filter((order) => order?.approvable === false) : [];
    if (!gone.length && !held.length) return null;
    const over = gone.length + held.length === orders.length;
    if (!many) return { said: gone.length ? ending(gone[0]) : `Not approvable now: ${held[0].blocked_because.join('; ')}`, over };
    return {
      said: [
        gone.length && `${count(gone.length)} ${gone.length === 1 ? 'is' : 'are'} no longer pending: ${fates(gone)}.`,
        held.length && `${count(held.length)} cannot be approved now: ${fates(held)}.`,
      ].filter(Boolean).join(' '),
      over,
    };
  };
}
