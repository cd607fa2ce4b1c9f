// What the gate and the people decided lately, and why.

import { decider, decision, moment, origin, prices, since, size, venueSaid } from './orders.js';
import { createRows, put } from './rows.js';

export const recentDecisions = () => () => {
  let rows;

  /** Where neither the gate nor a person gave a reason, at least what it was; likewise in _orders.html. */
  function why(order) {
    const told = [...order.reasons.map(({ detail }) => detail), venueSaid(order)].filter(Boolean);
    if (told.length) return { reasons: told.join('; '), facts: '' };
    const facts = order.decision_note ? '' : `${prices(order)} · ${order.strategy ?? 'no strategy named'}`;
    return { reasons: facts && order.status === 'expired' ? 'Nobody decided in time.' : '', facts };
  }

  function fill({ element, slots }, { order, when }) {
    Object.assign(element.dataset, { side: order.side, outcome: order.status });
    put(slots, {
      when, verdict: decision(order), since: since(order), side: order.side, ticker: order.ticker, size: size(order),
      unit: order.notional ? 'notional' : '', ...why(order),
      note: order.decision_note ? `“${order.decision_note}”` : '', by: decider(order), engine: order.engine, origin: origin(order),
    });
  }

  return {
    init() {
      rows = createRows(this.$root.querySelector('tbody'), fill);
    },

    get none() {
      return !this.$store.desk.state.recent_orders.length;
    },

    draw() {
      const { recent_orders: orders, server_time: now } = this.$store.desk.state;
      rows.draw(orders.map((order) => ({ id: order.id, order, when: moment(order.decided_at, now) })));
    },
  };
};
