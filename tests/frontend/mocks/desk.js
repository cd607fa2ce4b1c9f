// A desk in memory, behind the mocked routes: what a client of the JSON routes can tell from the real one. Limits on
// orders and on their rate are left out: no page depends on them.

import { instrumentKey, isBlockedBy, parse } from '../../../app/static/js/instruments.js';
import { configErrors } from './forms.js';
import { Refusal } from './refusal.js';
import { instant, isAhead, MINUTE, Rules, soonest } from './rules.js';

const MOST_RECENT = 50;

/** An amount times a price, exactly: decimal strings. */
function times(one, other) {
  const units = (amount) => {
    const [whole, fraction = ''] = amount.split('.');
    return BigInt(whole + fraction.padEnd(18, '0'));
  };
  const digits = String(units(one) * units(other)).padStart(37, '0');
  return `${digits.slice(0, -36)}.${digits.slice(-36)}`.replace(/\.?0+$/, '');
}

const highest = (prices) => prices.reduce((top, price) => (Number(price) > Number(top) ? price : top));

/** Of the configured contract sizes only those of futures' roots: no test needs more. */
function multiplierOf(ticker, configured = {}) {
  const { kind, root } = parse(ticker);
  if (kind === 'option') return /[0-9]$/.test(root) ? null : '100';
  return kind === 'future' ? configured[root] ?? null : '1';
}

function valueOf({ ticker, qty, notional, limit_price: limit, stop_price: stop, reference_price: reference }, configured) {
  const prices = [limit, stop, reference].filter(Boolean);
  const multiplier = multiplierOf(ticker, configured);
  if (notional || !prices.length || !multiplier) return notional;
  return times(times(qty, highest(prices)), multiplier);
}

export class Desk extends Rules {
  #orders = [];   // oldest first

  // Orders

  /** Why an order may not be released now. */
  #blockers({ ticker, signal_layer: layer }) {
    const error = configErrors(this.config);
    const lock = this.lockouts().findLast((one) => isBlockedBy(ticker, one.ticker));
    return [
      error && { code: 'config_invalid', detail: `the stored configuration cannot be read: ${error.key} ${error.detail}` },
      this.mode === 'disabled' && { code: 'trading_disabled', detail: 'trading is halted' },
      layer && this.config.signal_layers?.[layer] === false && { code: 'signal_layer_disabled', detail: `the signal layer ${layer} is switched off` },
      lock && {
        code: 'symbol_locked_out',
        detail: `${lock.ticker === '*' ? 'every symbol' : lock.ticker} is locked out until ${lock.expires_at.slice(0, 19).replace('T', ' ')} UTC: ${lock.reason}`,
      },
    ].filter(Boolean);
  }

  #mustWait() {
    const settings = this.section('operator_approval');
    return this.mode === 'live' ? settings.require_approval_for_live : !settings.auto_approve_paper;
  }

  /** The order, and whether it is new: the same `client_order_id` again gives the same order. */
  submit(sent, engine = 'bot') {
    this.present();
    const now = Date.now();
    const asked = Object.fromEntries(['client_order_id', 'ticker', 'side', 'qty', 'notional', 'type', 'time_in_force', 'limit_price',
      'stop_price', 'reference_price', 'signal_layer', 'strategy', 'rationale'].map((name) => [name, sent[name] || null]));
    asked.time_in_force ??= 'day';
    const known = this.#orders.find((order) => order.engine === engine && order.client_order_id === asked.client_order_id);
    if (known) return { order: this.#again(known, asked), made: false };
    const reasons = this.#blockers(asked);
    const waits = !reasons.length && this.#mustWait();
    const timeout = waits && this.section('operator_approval').approval_timeout_minutes * MINUTE;
    const order = {
      id: crypto.randomUUID(), engine, ...asked, trading_mode: this.mode,
      status: reasons.length ? 'blocked' : waits ? 'pending_approval' : 'released', reasons,
      value: valueOf(asked, this.config.instruments?.multipliers),
      created_at: instant(now), expires_at: waits ? instant(now + timeout) : null,
      decided_at: waits ? null : instant(now), decided_by: waits ? null : 'system:gate', decision_note: null,
    };
    this.#orders.push(order);
    this.record(engine, 'order.submit', order.id, { after: order });
    return { order: { ...order }, made: true };
  }

  #again(known, asked) {
    const different = Object.keys(asked).filter((name) => known[name] !== asked[name]);
    if (different.length) {
      throw new Refusal(409, 'idempotency_conflict',
        `client_order_id ${known.client_order_id} was used before for an order with another ${different.join(', ')}`);
    }
    return this.order(known.id);
  }

  #settle(order, status, by, note, action) {
    const before = { ...order };
    Object.assign(order, { status, decided_at: instant(Date.now()), decided_by: by, decision_note: note });
    this.record(by, action, order.id, { before, after: { ...order }, note });
    return { ...order };
  }

  /** What is late has expired, whoever comes. */
  #expire() {
    for (const order of this.#orders) {
      if (order.status === 'pending_approval' && !isAhead(order)) {
        this.#settle(order, 'expired', 'system:deadline', null, 'order.expire');
        order.decided_at = order.expires_at;
      }
    }
  }

  cancelWaiting(why) {
    for (const order of this.#waiting()) this.#settle(order, 'canceled', this.who.name, why, 'order.cancel');
  }

  #waiting() {
    this.#expire();
    return this.#orders.filter(({ status }) => status === 'pending_approval').sort(soonest);
  }

  #found(id, engine) {
    this.#expire();
    const order = this.#orders.find((one) => one.id === id && (!engine || one.engine === engine));
    if (!order) throw Refusal.notFound('order');
    return order;
  }

  #mustStillWait(order) {
    if (order.status === 'pending_approval') return;
    const { status, decided_by, decided_at } = order;
    const who = status === 'expired' ? 'its deadline' : decided_by;
    throw new Refusal(409, 'already_decided', `the order is ${status} already, by ${who} at ${decided_at}`, { decided_by, decided_at, order: { ...order } });
  }

  order(id, engine) {
    return { ...this.#found(id, engine) };
  }

  /** Newest first. */
  orders({ engine, status, ticker, client_order_id: clientId } = {}) {
    this.#expire();
    return this.#orders.filter((order) => (!engine || order.engine === engine) && (!status || order.status === status)
      && (!ticker || instrumentKey(order.ticker) === instrumentKey(ticker)) && (!clientId || order.client_order_id === clientId)).map((order) => ({ ...order })).reverse();
  }

  cancel(id, engine) {
    const order = this.#found(id, engine);
    this.#mustStillWait(order);
    return this.#settle(order, 'canceled', engine, null, 'order.cancel');
  }

  /** The orders that wait, soonest expiry first, each with what would hold it now. */
  approvals() {
    this.present();
    return this.#waiting().map((order) => {
      const blockers = this.#blockers(order);
      return { ...order, approvable: !blockers.length, blockers: blockers.map(({ code }) => code) };
    });
  }

  approve(id, note) {
    const order = this.#found(id);
    if (this.owners[order.engine] === this.who.name) {
      throw new Refusal(403, 'own_engine', 'you control this engine: another person must approve its orders');
    }
    this.#mustStillWait(order);
    const reasons = this.#blockers(order);
    if (reasons.length) throw new Refusal(409, reasons[0].code, reasons.map(({ detail }) => detail).join('; '), { reasons });
    return this.#settle(order, 'released', this.who.name, note || null, 'order.approve');
  }

  reject(id, reason) {
    const order = this.#found(id);
    this.#mustStillWait(order);
    return this.#settle(order, 'rejected', this.who.name, reason, 'order.reject');
  }

  // The desk as a whole

  /** Newest first. */
  audit({ action, actor } = {}) {
    return this.events.filter((event) => (!action || event.action === action) && (!actor || event.actor.toLowerCase().startsWith(actor.toLowerCase()))).reverse();
  }

  state() {
    this.present();
    const lockouts = this.lockouts();
    const waiting = this.approvals();
    const readable = (name) => (this.error(name) ? null : this.section(name));
    return {
      trading_mode: this.mode,
      config_error: configErrors(this.config) && { ...configErrors(this.config), fixable_by: 'admin' },
      config_warnings: [],
      approval_config: readable('operator_approval'),
      signal_layers: readable('signal_layers'),
      lockouts, lockouts_total: lockouts.length,
      approvals: waiting.map((order) => ({ ...order, blocked_because: this.#blockers(order).map(({ detail }) => detail) })),
      approvals_by_ticker: Object.fromEntries(waiting.map(({ ticker }) => [ticker, waiting.filter((order) => order.ticker === ticker).length])),
      approvals_total: waiting.length,
      recent_orders: this.orders().filter(({ status }) => status !== 'pending_approval')
        .sort((one, other) => (one.decided_at < other.decided_at ? 1 : -1)).slice(0, MOST_RECENT),
      config_version: this.version,
      second_factor_for_live: this.secondFactorForLive,
      state_version: this.events.length,
      server_time: instant(Date.now()),
    };
  }
}
