// What a halt does not reach: orders that are open at the venue, and those of which nobody knows. Ending them there is a
// second step, offered as soon as trading is halted.

import { origin, outcome, prices, size } from './orders.js';
import { createRows, put } from './rows.js';
import {
  asked, atVenue, counted, filled, ignoredWords, isStopsAlone, leftWords, notOpen, question, silence, told, unknownWords, UNTOLD,
} from './venue_words.js';

/** Above everything else: what needs a person at the venue. */
export const venueAlarm = ({ api, ask }) => () => ({
  waiting: false,      // for an answer to the question, and then to the act
  asking: false,       // the venue, by way of the server
  problem: '',

  get venue() {
    return atVenue(this.$store.desk.state);
  },
  get halted() {
    return this.$store.desk.state.trading_mode === 'disabled';
  },
  get something() {
    return this.venue.open_orders_total > 0 || this.venue.sending > 0;
  },
  get unknown() {
    return unknownWords(this.venue);
  },
  get left() {
    return this.halted ? leftWords(this.venue) : '';
  },
  get counts() {
    return this.left ? counted(this.venue) : '';
  },
  get silent() {
    const words = this.something && silence(this.venue, this.$store.desk.state.server_time);
    return words ? `What is known is ${words}.` : '';
  },
  get untold() {
    return this.venue.untold ? UNTOLD : '';
  },
  get mayCancel() {
    return this.halted && this.something;
  },
  /** It does not need anybody's attention at once. */
  get mild() {
    return isStopsAlone(this.venue) && !this.silent && !this.untold && !this.problem;
  },
  get act() {
    if (this.asking) return 'Asking the venue…';
    return isStopsAlone(this.venue) ? 'Choose stops to cancel…' : 'Cancel them there…';
  },
  get none() {
    return !this.unknown && !this.left && !this.silent && !this.untold && !this.problem && !this.asking;
  },

  /** What has the focus here and goes would leave it nowhere: the list takes it. */
  keepFocus() {
    const [gone, button] = [this.none, this.mayCancel || this.asking];
    const at = document.activeElement;
    if ((gone && this.$root.contains(at)) || (!button && at === this.$refs.button)) this.toList();
  },
  toList() {
    document.getElementById('venue-title').focus();
  },

  async cancelAll() {
    if (this.waiting) return;
    this.waiting = true;
    this.problem = '';
    try {
      const answer = await ask(question(this.venue));
      if (!answer) return;
      this.asking = true;
      const done = await api.cancelAtVenue(answer.chosen ?? []);
      this.$store.desk.announce([done.canceled_orders ? told(done) : UNTOLD, ...ignoredWords(done)]);
    } catch (problem) {
      this.$store.desk.refused(problem);
      this.problem = `Not confirmed: ${problem.message}`;
    } finally {
      this.waiting = this.asking = false;
      if (document.activeElement === document.body && !this.mayCancel) this.toList();
    }
  },
});

/** The list of what is there, and before it of what may be. */
export const venueOrders = () => () => {
  let rows;

  function fill({ element, slots }, { order, end }) {
    Object.assign(element.dataset, { side: order.side, outcome: order.status });
    slots.stop.hidden = !order.protective;
    put(slots, {
      verdict: outcome(order), asked: end, side: order.side, ticker: order.ticker, size: size(order), unit: order.notional ? 'notional' : '',
      prices: prices(order), filled: filled(order), id: order.venue_order_id, engine: order.engine, origin: origin(order),
    });
  }

  return {
    init() {
      rows = createRows(this.$root.querySelector('tbody'), fill);
    },
    get venue() {
      return atVenue(this.$store.desk.state);
    },
    get total() {
      return this.venue.open_orders_total;
    },
    get listed() {
      return this.venue.open_orders.length + this.venue.on_the_way.length > 0;
    },
    get none() {
      return !this.listed && !this.total && !this.venue.sending && !this.venue.untold;
    },
    get help() {
      return notOpen({ venue: this.venue, state: this.$store.desk.state });
    },
    draw() {
      const { open_orders: open, on_the_way: way } = this.venue;
      const { server_time: now } = this.$store.desk.state;
      rows.draw([...way, ...open].map((order) => ({ id: order.id, order, end: asked(order, now) })));
    },
  };
};
