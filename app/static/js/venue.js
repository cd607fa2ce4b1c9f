// What a halt does not reach: orders that are open at the venue, and those of which nobody knows. Ending them there is a
// second step, offered as soon as trading is halted.

import { capital, count, grouped, money, named, origin, outcome, prices, size } from './orders.js';
import { createRows, put } from './rows.js';

const MOST_NAMED = 6;
const NOTHING = { sending: 0, unknown: 0, open_orders: [], open_orders_total: 0 };

/** What is at the venue; where the server could not tell, what of it is known is nothing. */
const atVenue = ({ venue }) => (venue?.open_orders ? venue : NOTHING);

const isFilled = ({ filled_qty: qty }) => !!qty && Number(qty) > 0;
export const filled = (order) => (isFilled(order)
  ? `${grouped(order.filled_qty)} filled${order.filled_avg_price ? ` at ${money(order.filled_avg_price)}` : ''}`
  : 'nothing filled');

function enumerate(orders) {
  const names = orders.slice(0, MOST_NAMED).map(named).join(', ');
  return capital(orders.length > MOST_NAMED ? `${names} and ${orders.length - MOST_NAMED} more` : names);
}

/** The question before orders are ended at the venue. Protective stops go only where they are chosen by name. */
export function question({ open_orders: open, open_orders_total: total }) {
  const stops = open.filter(({ protective }) => protective);
  const others = open.filter(({ protective }) => !protective);
  const more = total > open.length ? ` ${count(total - open.length)} more are not listed here and end too, but for stops.` : '';
  return {
    title: others.length ? `Cancel ${count(others.length)} at the venue?` : 'Cancel protective stops at the venue?',
    act: 'Cancel at the venue', grave: true,
    text: `${others.length ? `${enumerate(others)}. What is filled already stays filled.` : 'Nothing else is open there.'}${more} Trading stays halted.`,
    choices: stops.map((order) => ({ id: order.id, label: `${named(order)}, ${prices(order)}` })),
    choicesTitle: 'Protective stops stay, unless you choose them: without its stop nothing ends a position that goes wrong.',
  };
}

/** What became of them. */
export function told(canceled) {
  if (!canceled.length) return 'Nothing was to be canceled at the venue.';
  const ended = canceled.filter((order) => order.ended);
  const rest = canceled.length - ended.length;
  const fates = ended.slice(0, MOST_NAMED).map((order) => `${named(order)}: ${outcome(order).toLowerCase()}`).join(', ');
  return [
    ended.length && `${capital(count(ended.length))} ended at the venue (${fates}${ended.length > MOST_NAMED ? ' …' : ''}).`,
    rest && `${capital(count(rest))} not confirmed yet: the venue is asked again until ${rest === 1 ? 'it ends' : 'they end'}.`,
  ].filter(Boolean).join(' ');
}

/** Above everything else: what needs a person at the venue. */
export const venueAlarm = ({ api, ask }) => () => ({
  waiting: false,
  problem: '',

  get venue() {
    return atVenue(this.$store.desk.state);
  },
  get unknown() {
    const { unknown } = this.venue;
    return unknown ? `It is UNKNOWN whether ${count(unknown)} ${unknown === 1 ? 'is' : 'are'} at the venue: look at the broker’s own page. The desk goes on asking.` : '';
  },
  get halted() {
    return this.$store.desk.state.trading_mode === 'disabled';
  },
  get left() {
    const { open_orders_total: total, unknown } = this.venue;
    const sending = this.venue.sending - unknown;
    if (!this.halted || !(total || sending)) return '';
    return [
      total && `Trading is halted, but ${count(total)} ${total === 1 ? 'is' : 'are'} still open at the venue.`,
      sending && `${capital(count(sending))} ${sending === 1 ? 'was' : 'were'} on the way there when it was halted.`,
    ].filter(Boolean).join(' ');
  },
  get mayCancel() {
    return this.halted && this.venue.open_orders_total > 0;
  },
  get none() {
    return !this.unknown && !this.left && !this.problem;
  },

  async cancelAll() {
    if (this.waiting) return;
    this.waiting = true;
    this.problem = '';
    try {
      const asked = question(this.venue);
      const answer = await ask({
        ...asked,
        stale: ({ state }) => (state.trading_mode === 'disabled' ? null : { said: 'Trading is not halted any more: look at the desk and ask again.', over: true }),
      });
      if (!answer) return;
      const { canceled_orders: canceled } = await api.cancelAtVenue(answer.chosen ?? []);
      this.$store.desk.announce([canceled ? told(canceled) : 'What became of the orders at the venue cannot be told: look at the broker’s own page.']);
    } catch (problem) {
      this.$store.desk.refused(problem);
      this.problem = `Not confirmed: ${problem.message}`;
    } finally {
      this.waiting = false;
    }
  },
});

/** The list of what is open there. */
export const venueOrders = () => () => {
  let rows;

  function fill({ element, slots }, order) {
    Object.assign(element.dataset, { side: order.side, outcome: order.status });
    slots.protective.hidden = !order.protective;
    put(slots, {
      verdict: outcome(order), side: order.side, ticker: order.ticker, size: size(order), unit: order.notional ? 'notional' : '',
      prices: prices(order), filled: filled(order), engine: order.engine, origin: origin(order),
    });
  }

  return {
    init() {
      rows = createRows(this.$root.querySelector('tbody'), fill);
    },
    get total() {
      return atVenue(this.$store.desk.state).open_orders_total;
    },
    get none() {
      return !this.total;
    },
    get sending() {
      const { sending, unknown } = atVenue(this.$store.desk.state);
      return [
        sending - unknown && `${count(sending - unknown)} on the way there`,
        unknown && `${count(unknown)} UNKNOWN`,
      ].filter(Boolean).join(', ');
    },
    draw() {
      rows.draw(atVenue(this.$store.desk.state).open_orders);
    },
  };
};
