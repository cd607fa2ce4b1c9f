// Pending approvals: approving and rejecting, one or many, by pointer or by keys.

import { MOVED, createAim } from './aim.js';
import { timeLeft } from './clock.js';
import { command, showKeys } from './keys.js';
import { count, isLive, named, origin, plain, prices, size, terms, verdict, worth } from './orders.js';
import { inBrief, question } from './questions.js';
import { createRows, put } from './rows.js';
import { createWaitingList } from './waiting.js';

const AT_ONCE = 50;        // decisions in one request, so that a long list is seen to move on
const GLANCE = 400;        // milliseconds before a key decides an order that just got the focus by itself
const LONG = 70;           // characters of a rationale that are shown without asking; likewise in _orders.html
const FEW = 8;             // rows that need no scrolling of their own; likewise in trading.html
const SOON = 60_000;
const LOOKED = 5000;       // milliseconds after which somebody has
const STALE = 'Not approved: what you see may be out of date. Wait until the desk answers again.';
const DONE = { approve: 'approved', reject: 'rejected' };

/** Whether nobody knows what came of it: the connection to the database may have broken once all was done. */
const isLost = ({ code }) => code === 'no_answer' || code === 'database_unavailable';
const why = ({ code }) => (code === 'no_answer' ? 'no answer' : 'the database is down');

/** The server's words about the reason, where it refused that: then nothing was decided. */
const reasonRefused = ([{ problem }]) => Object.values(problem?.errors ?? {})[0];

export const pendingApprovals = ({ api, ask, unobserved }) => () => {
  const list = createWaitingList();
  const busy = new Map();        // id -> what is being asked, or done
  const problems = new Map();    // id -> the server's no
  const chosen = new Set();      // ids that are selected
  const strays = new Map();      // id -> when a click there decided nothing, for the list had moved
  const unknown = new Set();     // ids whose answer was lost: the next read tells
  let rows, scroller, aim, under, cameAt = -GLANCE;
  let byKeys = false;            // how the last command came: a list must not scroll beneath a pointer

  const rowOf = (node) => node?.closest?.('tr.order') ?? null;
  const current = () => rowOf(document.activeElement);
  const elements = () => list.waiting().map(({ id }) => rows.get(id).element);

  function item(order, late, stale) {
    const { id } = order;
    const over = !list.waits(id);
    const end = list.end(id);
    const nobody = late ? 'Timed out: nobody decided' : 'No longer pending';
    return {
      id, order, over, stale, busy: busy.get(id), problem: problems.get(id), picked: chosen.has(id),
      end: over && (end ? verdict(end) : nobody),
    };
  }

  function fill({ element, slots }, { id, order, over, stale, busy: doing, problem, picked, end }) {
    Object.assign(element.dataset, { side: order.side, state: over ? 'over' : doing ? 'busy' : 'waiting' });
    const rationale = order.rationale ?? 'No rationale given.';
    const long = rationale.length > LONG;
    put(slots, {
      side: order.side, ticker: order.ticker, size: size(order), worth: worth(order), prices: prices(order), terms: terms(order),
      strategy: order.strategy ?? 'no strategy named', engine: order.engine, origin: origin(order),
      rationale: long ? '' : rationale, story: long ? rationale : '', outcome: end || '', problem: problem ?? '',
      because: order.approvable ? '' : `Not approvable now: ${order.blocked_because.join('; ')}`,
    });
    slots.rationale.hidden = long;
    slots.more.hidden = !long;
    slots.held.hidden = over || order.approvable;
    slots.outcome.hidden = !over;
    slots.bar.hidden = over;
    slots.bar.max = Date.parse(order.expires_at) - Date.parse(order.created_at);
    if (over) put(slots, { left: '–' });
    if (slots.acts) fillActs(slots, { id, order, over, stale, doing, picked });
  }

  function fillActs(slots, { id, order, over, stale, doing, picked }) {
    slots.what.id = `order-${id}`;
    slots.held.id = `held-${id}`;
    slots.acts.hidden = over;
    slots.pick.hidden = over;
    slots.pick.checked = picked;
    slots.pick.setAttribute('aria-label', `Select ${named(order)}`);
    slots.reject.setAttribute('aria-describedby', `order-${id}`);
    slots.reject.setAttribute('aria-disabled', String(!!doing));
    slots.approve.setAttribute('aria-describedby', `order-${id} held-${id}${stale ? ' lost' : ''}`);
    slots.approve.setAttribute('aria-disabled', String(!!doing || stale || !order.approvable));
    put(slots, {
      approve: doing === 'approve' ? 'Approving…' : isLive(order) ? 'Approve…' : 'Approve',
      reject: doing === 'reject' ? 'Rejecting…' : 'Reject…',
    });
  }

  /** Whatever comes and goes around it, the row under the pointer, or with the focus, stays where it is. */
  function inPlace(change) {
    const row = under?.isConnected ? under : current();
    const was = row?.getBoundingClientRect().top;
    change();
    if (!row?.isConnected) return;
    const moved = row.getBoundingClientRect().top - was;
    const scrolled = scroller.scrollTop;
    scroller.scrollTop += moved;
    window.scrollBy(0, moved - (scroller.scrollTop - scrolled));
  }

  function goTo(row) {
    row.focus({ preventScroll: true });
    if (byKeys || !under) row.scrollIntoView({ block: 'nearest' });
  }

  return {
    selected: 0,
    approvable: 0,     // of those selected
    deciding: false,
    progress: '',
    none: false,

    init() {
      scroller = this.$root.querySelector('.waiting-scroll');
      const body = this.$root.querySelector('tbody');
      rows = createRows(body, fill);
      aim = createAim({ body, scroller, rows, stray: (event, id) => this.astray(event, id) });
      if (this.mayDecide) aim.start();
      api.watch('state', (event) => this.learn(event));
    },

    get unseen() {
      return this.$store.desk.unseenCount;
    },
    get mayDecide() {
      return this.$store.desk.me.can.decide;
    },

    draw() {
      const { waiting, state, lost } = this.$store.desk;
      const shown = list.update({
        waiting, decided: state.recent_orders, now: Date.now(), still: !!under,
        keep: (id) => !!under || current()?.dataset.id === id, asked: (id) => busy.has(id),
      });
      for (const id of [...chosen]) if (!list.waits(id)) chosen.delete(id);
      for (const id of [...problems.keys()]) if (!list.get(id)) this.forget(id);
      this.none = !shown.length;
      scroller.toggleAttribute('data-many', shown.length > FEW);
      if (this.mayDecide) aim.look();
      unobserved(() => inPlace(() => rows.draw(shown.map((order) => item(order, !this.$store.desk.inTime(order), lost)))));
      this.showTime();
      this.recount();
    },

    /** Once a second: the time that each has left, and the rows that have had their say. */
    tick() {
      const { now } = this.$store.desk;   // always, for it is what brings the next second here
      if (this.forgetStrays() || !now || list.overdue(Date.now())) this.draw();
      else this.showTime();
    },

    /** Whether there was one to forget. Whoever came to it by keys may still be reading: a click gives the focus unasked. */
    forgetStrays() {
      const over = [...strays].filter(([id, at]) => Date.now() - at >= LOOKED && !rows.get(id)?.element.querySelector(':focus-visible'));
      for (const [id] of over) {
        strays.delete(id);
        if (problems.get(id) === MOVED) problems.delete(id);
      }
      return over.length > 0;
    },

    showTime() {
      unobserved(() => {
        for (const order of list.waiting()) {
          const { element, slots } = rows.get(order.id);
          const left = this.$store.desk.msLeft(order);
          put(slots, { left: timeLeft(left) });
          slots.bar.value = left;
          element.toggleAttribute('data-soon', left < SOON);
        }
      });
    },

    recount() {
      const waiting = list.waiting();
      const picked = waiting.filter(({ id }) => chosen.has(id));
      this.selected = picked.length;
      this.approvable = this.$store.desk.lost ? 0 : picked.filter((order) => order.approvable).length;
      const { all } = this.$refs;   // not there before a viewer, nor while the page wakes up
      if (!all) return;
      all.checked = !!picked.length && picked.length === waiting.length;
      all.indeterminate = !!picked.length && picked.length < waiting.length;
    },

    // Where the pointer is

    pointed({ target, pointerType }) {
      if (pointerType !== 'touch') under = rowOf(target);
    },
    touched() {
      byKeys = false;
    },
    left() {
      under = null;
      this.draw();
    },

    // Selecting

    picked({ target }) {
      this.choose(rowOf(target).dataset.id, target.checked);
    },
    choose(id, yes) {
      if (yes) chosen.add(id);
      else chosen.delete(id);
      this.draw();
    },
    selectAll() {
      const yes = this.$refs.all.checked;
      for (const { id } of list.waiting()) if (yes) chosen.add(id); else chosen.delete(id);
      this.draw();
    },
    clear() {
      chosen.clear();
      this.draw();
      document.getElementById('approvals-title').focus({ preventScroll: true });
    },

    // Keys

    showKeys() {
      showKeys();
    },

    pressed(event) {
      const key = this.mayDecide && command(event);
      const row = current();
      byKeys ||= !!key;
      const order = row && list.waits(row.dataset.id) ? list.get(row.dataset.id) : null;
      if (key === 'j') this.step(1);
      else if (key === 'k') this.step(-1);
      else if (key === '?') showKeys();
      else if (!order || event.repeat) return;
      else if (key === 'x') this.choose(order.id, !chosen.has(order.id));
      else if (key === 'r') this.decide([order], 'reject');
      else if (key === 'a') this.approveByKey(order);
      else return;
      event.preventDefault();
    },

    /** A key that bounces must not approve the next order, which nobody has had the time to read. */
    approveByKey(order) {
      if (performance.now() - cameAt >= GLANCE) this.decide([order], 'approve');
    },

    step(by) {
      const all = elements();
      const row = current();
      if (!all.length) return;
      const after = all.findIndex((one) => row && (one === row || row.compareDocumentPosition(one) & Node.DOCUMENT_POSITION_FOLLOWING));
      const at = after < 0 ? all.length : after;
      const on = row && all[at] === row;
      const next = !row ? 0 : by > 0 ? at + (on ? 1 : 0) : at - 1;
      goTo(all[Math.min(Math.max(next, 0), all.length - 1)]);
    },

    // Deciding

    /** A click that was meant for what had stood there decides nothing. */
    astray(event, id) {
      if (!list.waits(id) || busy.has(id)) return;
      event.preventDefault();
      problems.set(id, MOVED);
      strays.set(id, Date.now());
      this.draw();
      this.$store.desk.announce([MOVED]);
    },

    clicked(event) {
      const button = event.target.closest('.acts button');
      if (!button || event.defaultPrevented) return;
      event.preventDefault();   // a row that the server drew belongs to a form
      const { id } = rowOf(button).dataset;
      if (list.waits(id)) this.decide([list.get(id)], button.value);
    },

    decideSelected(choice) {
      return this.decide(list.waiting().filter(({ id }) => chosen.has(id)), choice, true);
    },

    async decide(orders, choice, many = false) {
      // A yes is to what one sees, and this may be of yesterday. To a no that does not matter.
      if (choice === 'approve' && this.$store.desk.lost) return this.$store.desk.announce([STALE]);
      const free = orders.filter(({ id, approvable }) => !busy.has(id) && (choice === 'reject' || approvable));
      if (!free.length || (many && this.deciding)) return;
      this.deciding ||= many;
      for (const { id } of free) busy.set(id, 'asking');
      this.draw();
      try {
        await this.askAndSend(free, choice, many, orders.length - free.length);
      } finally {
        for (const { id } of free) busy.delete(id);
        if (many) this.deciding = false;
        this.progress = '';
        this.draw();
      }
    },

    /** Asks until the server takes the reason, or the operator says no. What was typed stays. */
    async askAndSend(orders, choice, many, leftOut) {
      const asked = question(orders, choice, many, leftOut);
      for (let answer = asked ? await ask(asked) : {}; answer;) {
        for (const { id } of orders) {
          this.forget(id);
          busy.set(id, choice);
        }
        this.draw();
        const results = await this.sendAll(orders, choice, answer.reason, many);
        const refused = reasonRefused(results);
        if (!refused) return this.report(results, choice, many, orders.length - results.length);
        answer = await ask({ ...asked, reason: answer.reason, errors: { reason: `Reason ${refused.join(', ')}.` } });
      }
      return undefined;
    },

    async sendAll(orders, choice, reason, many) {
      const results = [];
      for (let from = 0; from < orders.length; from += AT_ONCE) {
        if (orders.length > AT_ONCE) this.progress = `${from} of ${orders.length} decided…`;
        const more = from + AT_ONCE < orders.length;
        const sent = await this.send(orders.slice(from, from + AT_ONCE), { choice, reason, many, more });
        results.push(...sent);
        if (reasonRefused(sent)) break;
        this.take(sent, choice);
        // Where a whole request failed, nobody should go on deciding blindly.
        if (sent.failed) break;
      }
      return results;
    },

    /** A result for each: {id, order} or {id, problem}; `failed` where there was no answer for each. */
    async send(orders, { choice, reason, many, more }) {
      try {
        if (many) return await api.decideOrders(orders.map(({ id }) => ({ id, action: choice, ...(choice === 'reject' && { reason }) })), { more });
        const [{ id }] = orders;
        return [{ id, order: choice === 'approve' ? await api.approveOrder(id) : await api.rejectOrder(id, reason) }];
      } catch (problem) {
        this.$store.desk.refused(problem);
        return Object.assign(orders.map(({ id }) => ({ id, problem })), { failed: true });
      }
    },

    /** Each answer shows in its row as it comes: with a long list the last one is a long way off. */
    take(sent, choice) {
      const past = DONE[choice];
      for (const { id, order, problem } of sent) {
        if (order ?? problem.order) list.settle(id, Date.now(), { end: order ?? problem.order, refused: !!problem });
        if (!problem) busy.delete(id);
        else if (isLost(problem)) unknown.add(id);
        if (problem) problems.set(id, isLost(problem) ? `Not known whether ${past}: ${why(problem)}.` : `Not ${past}: ${plain(problem.message)}`);
      }
      this.draw();
    },

    forget(id) {
      problems.delete(id);
      unknown.delete(id);
    },

    /** A good read tells what became of those whose answer was lost; what was decided meanwhile, its row says itself. */
    learn({ data, problem, patched }) {
      if (problem || patched || !unknown.size) return;
      const waiting = new Set((data ?? this.$store.desk.state).approvals.map(({ id }) => id));
      for (const id of [...unknown]) {
        this.forget(id);
        if (waiting.has(id)) problems.set(id, 'It still waits.');
      }
      this.draw();
    },

    report(results, choice, many, untried) {
      const past = DONE[choice];
      const lost = results.filter(({ problem }) => problem && isLost(problem));
      const refused = results.filter(({ problem }) => problem && !isLost(problem));
      // The time to read them begins when there is nothing more to come.
      for (const { id, problem } of refused) if (problem.order) list.settle(id, Date.now(), { end: problem.order, refused: true });
      for (const { id } of results) busy.delete(id);
      if (many) for (const { id } of results) chosen.delete(id);
      const last = rows.get(results.at(-1).id)?.element;
      this.draw();
      // What the state says by itself of so many is less than this, so it comes after.
      const told = [
        `${count(results.length - refused.length - lost.length)} ${past}.`,
        refused.length && `${refused.length} not: ${inBrief(refused.map(({ id, problem }) => problem.order ?? list.get(id)))}`,
        lost.length && `${lost.length} not known: ${why(lost[0].problem)}.`,
        untried && `${untried} not tried, still selected.`,
      ].filter(Boolean);
      if (many) api.refetch('state').then(() => this.$store.desk.announce(told, { instead: true }));
      else if (refused.length || lost.length) this.$store.desk.announce([`${list.get(results[0].id)?.ticker ?? ''}: ${problems.get(results[0].id)}`]);
      this.$nextTick(() => this.moveOn(last, many));
    },

    /** After a decision the focus goes to the next order, unless the operator has turned to something else. */
    moveOn(row, many) {
      const focused = document.activeElement;
      const idle = focused === document.body || row?.contains(focused) || focused.closest('.bulk');
      if (!idle || (!many && row && list.waits(row.dataset.id))) return;
      const all = elements();
      const next = all.find((one) => row && row.compareDocumentPosition(one) & Node.DOCUMENT_POSITION_FOLLOWING) ?? all.at(-1);
      if (next) goTo(next);
      else document.getElementById('approvals-title').focus({ preventScroll: true });
      cameAt = performance.now();
    },
  };
};
