// The rules of the desk in memory: configuration, mode and lockouts, each change of them on the record.

import { configErrors } from './forms.js';
import { Refusal } from './refusal.js';

export const MINUTE = 60_000;
const DEFAULTS = {
  operator_approval: { auto_approve_paper: true, require_approval_for_live: true, approval_timeout_minutes: 30 },
  signal_layers: { macro: true, competitive: true },
};
const MENDING = 'an admin can fix it: PUT /config';

export const instant = (ms) => new Date(ms).toISOString().replace('Z', '000Z');
export const isAhead = ({ expires_at: end }) => Date.parse(end) > Date.now();
export const soonest = (one, other) => (one.expires_at < other.expires_at || (one.expires_at === other.expires_at && one.id < other.id) ? -1 : 1);

export class Rules {
  csrfToken = 'token-of-this-session';
  who = { name: 'olga', role: 'admin' };    // whose session it is; null where it has ended
  owners = {};                              // engine -> the person whose engine it is
  outage = false;                           // the database cannot be reached
  tooMuch = false;                          // of this credential is under way
  stalls = false;                           // bodies do not arrive in time
  hasConfig = true;                         // somebody may have removed the row by hand

  secondFactorForLive = false;
  code = '123456';                          // what the authenticator shows; each counts once
  wrongCodes = 0;

  mode = 'paper';
  config = {};
  version = 1;
  changed = { updated_at: instant(Date.now()), updated_by: 'system' };

  #lockouts = new Map();
  events = [];                              // oldest first

  record(actor, action, subject, { before = null, after = null, note = null } = {}) {
    this.events.push({
      id: this.events.length + 1, created_at: instant(Date.now()), actor, action, subject, before, after, note, request_id: 'request-1', truncated: false,
    });
  }

  event(id) {
    const found = this.events.find((event) => String(event.id) === id);
    if (!found) throw Refusal.notFound('event');
    return found;
  }

  // The configuration

  present() {
    if (!this.hasConfig) throw new Refusal(409, 'config_missing', 'there is no active risk configuration: nothing can be released');
  }

  write(changes) {
    Object.assign(this, changes);
    this.version += 1;
    this.changed = { updated_at: instant(Date.now()), updated_by: this.who.name };
  }

  error(name, config = this.config) {
    return configErrors({ [name]: config[name] });
  }

  section(name) {
    this.present();
    const error = this.error(name);
    if (error) throw new Refusal(409, 'config_invalid', `${error.key} ${error.detail}; ${MENDING}`);
    const stored = this.config[name] ?? {};
    return Object.fromEntries(Object.entries(DEFAULTS[name]).map(([key, usual]) => [key, stored[key] ?? usual]));
  }

  /** Merges into one section; every other key of the configuration stays as it is. */
  merge(name, changes, action) {
    this.present();
    if ('require_approval_for_live' in changes && this.who.role !== 'admin') {
      throw new Refusal(403, 'forbidden', 'only an admin may change require_approval_for_live');
    }
    const stored = this.config[name] ?? {};
    const isWhole = Object.keys(DEFAULTS[name]).every((key) => key in changes);
    const merged = { ...this.config, [name]: { ...(typeof stored === 'object' ? stored : {}), ...changes } };
    const error = typeof stored !== 'object' && !isWhole ? this.error(name) : this.error(name, merged);
    if (error) throw new Refusal(409, 'config_invalid', `${error.key} ${error.detail}; ${MENDING}`);
    const before = this.error(name) ? null : this.section(name);
    const after = { ...DEFAULTS[name], ...before, ...changes };
    if (JSON.stringify(before) !== JSON.stringify(after)) {
      this.write({ config: merged });
      this.record(this.who.name, action, name, { before: before ?? { [name]: stored }, after });
    }
    return this.section(name);
  }

  storedConfig() {
    this.present();
    return { trading_mode: this.mode, config: this.config, version: this.version, ...this.changed };
  }

  #checkVersion(expected) {
    if (expected && !expected.includes(this.version)) {
      throw new Refusal(412, 'stale', `the configuration is at version ${this.version} by now: read it again`);
    }
  }

  replaceConfig(config, expected) {
    this.present();
    this.#checkVersion(expected);
    if (JSON.stringify(config) !== JSON.stringify(this.config)) {
      this.record(this.who.name, 'config.replace', 'risk_config', { before: this.config, after: config });
      this.write({ config });
    }
    return this.storedConfig();
  }

  tradingMode() {
    this.present();
    return { trading_mode: this.mode };
  }

  #checkCode(code) {
    if (!code) throw Refusal.invalid({ totp_code: ['is required: the code of your authenticator'] });
    if (this.wrongCodes >= 5) throw new Refusal(429, 'too_many_tries', 'too many wrong codes: wait 15 minutes and try again');
    if (code !== this.code) {
      this.wrongCodes += 1;
      throw new Refusal(403, 'second_factor_wrong', 'the code is wrong, or was used before: each counts once, the next one comes within 30 seconds');
    }
  }

  changeMode({ trading_mode: to, from, reason = null, totp_code: code }, expected) {
    this.present();
    if (to === 'live' && this.who.role !== 'admin') {
      throw new Refusal(403, 'forbidden', 'going live takes an admin, and a token only if it was made with --allow-live');
    }
    if (to === 'live' && this.secondFactorForLive) this.#checkCode(code);
    if (to !== 'disabled') {
      if (this.mode !== from) throw new Refusal(409, 'mode_changed', `the trading mode is ${this.mode} by now, not ${from}`);
      this.#checkVersion(expected);
    }
    if (this.mode !== to) {
      const before = this.tradingMode();
      this.write({ mode: to });
      this.record(this.who.name, 'mode.change', 'trading_mode', { before, after: this.tradingMode(), note: reason });
      this.cancelWaiting(`the trading mode was changed from ${before.trading_mode} to ${to}`);
    }
    return this.tradingMode();
  }

  // Lockouts

  /** Those in force, soonest end first. */
  lockouts() {
    return [...this.#lockouts.values()].filter(isAhead).sort(soonest);
  }

  createLockout({ ticker, reason, duration_minutes: minutes, lockout_type = 'manual' }, who = this.who) {
    if (lockout_type === 'manual' && who.role === 'engine') {
      throw new Refusal(403, 'forbidden', 'only an operator may make a lockout of type manual');
    }
    const now = Date.now();
    const lockout = {
      id: crypto.randomUUID(), ticker, reason, lockout_type,
      created_at: instant(now), created_by: who.name, expires_at: instant(now + minutes * MINUTE),
    };
    this.#lockouts.set(lockout.id, lockout);
    this.record(who.name, 'lockout.create', lockout.id, { after: lockout });
    return lockout;
  }

  extendLockout(id, minutes) {
    const before = this.#lockouts.get(id);
    if (!before || !isAhead(before)) throw Refusal.notFound('lockout');
    const lockout = { ...before, expires_at: instant(Date.parse(before.expires_at) + minutes * MINUTE) };
    this.#lockouts.set(id, lockout);
    this.record(this.who.name, 'lockout.extend', id, { before, after: lockout });
    return lockout;
  }

  removeLockout(id) {
    const before = this.#lockouts.get(id);
    if (!before) throw Refusal.notFound('lockout');
    this.#lockouts.delete(id);
    this.record(this.who.name, 'lockout.remove', id, { before });
  }
}
