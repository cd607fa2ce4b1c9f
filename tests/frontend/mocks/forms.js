// Bodies as the server's forms read them (app/web/forms/trading.py, app/web/forms/fields.py): exact types, known keys, and the same messages
// by field. mocks_are_like_the_server.test.js holds that they say yes and no to the same bodies as the API document.

import { isTicker } from '../../../app/static/js/tickers.js';
import { Refusal } from './refusal.js';

const WHITE = '[\\t-\\r\\u001c- \\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]';   // what Python trims
const PRINTABLE = /^[^\u0000-\u001f\u007f-\u00a0\u2028\u2029]*$/;   // what everybody agrees on
const AMOUNT = /^[0-9]{1,18}(\.[0-9]{1,9})?$/;
const LONGEST_REASON = 500;

const BLANK = /^[\p{Cc}\p{Cf}\p{Z}\p{Default_Ignorable_Code_Point}\u2800]*$/u;   // of which nothing is seen

const trimmed = (text) => (BLANK.test(text) ? '' : text).replace(new RegExp(`^${WHITE}+|${WHITE}+$`, 'gu'), '');
const lengthOf = (text) => [...text].length;   // in characters, as Python counts them

function typeOf(value) {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'number') return Number.isInteger(value) ? 'an integer' : 'a fraction';
  return { boolean: 'a boolean', string: 'a string', object: 'an object' }[typeof value];
}

// A field: the types that it takes, what is wrong with a value (or nothing), and what is made of it.

const flag = { types: ['a boolean'], name: 'true or false' };
const object = { types: ['an object'], name: 'an object' };
const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const array = { types: ['an array'], name: 'an array' };

const ids = { ...array, wrong: (value) => (value.every((one) => typeof one === 'string' && ID.test(one)) ? '' : 'must have ids, as they are shown, and nothing else') };

const whole = (lowest, highest) => ({
  types: ['an integer'], name: 'an integer',
  wrong: (value) => (value >= lowest && value <= highest ? '' : `must be from ${lowest} to ${highest}`),
});

const untrimmed = (lowest, highest) => ({
  types: ['a string'], name: 'a string',
  wrong: (value) => {
    if (lengthOf(value) < lowest || lengthOf(value) > highest) return `must have ${lowest} to ${highest} characters`;
    return value.includes('\0') ? 'holds a character that cannot be stored' : '';
  },
});
const text = (lowest, highest) => ({ ...untrimmed(lowest, highest), clean: trimmed });

const id = untrimmed(1, Infinity);
const printable = {
  ...untrimmed(1, 128),
  wrong: (value) => untrimmed(1, 128).wrong(value) || (BLANK.test(value) ? 'must have a visible character' : '')
    || (PRINTABLE.test(value) ? '' : 'must have printable characters only'),
};

const word = (...words) => ({
  types: ['a string'], name: 'a string',
  wrong: (value) => (words.includes(value) ? '' : `must be one of ${words.join(', ')}`),
});

/** The form in which a ticker is stored. */
export const stored = (value) => trimmed(value)
  .replace(/^([A-Za-z0-9]{1,6}) {1,5}([0-9]{6}[CPcp][0-9]{8})$/, '$1$2')
  .replace(/[a-z]/g, (letter) => letter.toUpperCase());

export function tickerProblem(value, allowEvery) {
  const wrong = [...value].find((character) => !/[A-Z0-9./_:=^&!-]/.test(character));
  if (isTicker(value) && (value !== '*' || allowEvery)) return '';
  if (!value) return 'must not be empty';
  if (wrong === '*') return allowEvery ? 'may contain * only alone, for every symbol' : 'must name one symbol: * is for lockouts only';
  if (wrong) return `contains ${wrong === ' ' ? 'a space' : `"${wrong}"`}: allowed are A-Z, 0-9 and . / - _ : = ^ & !`;
  if (!/[A-Z0-9]/.test(value)) return 'must contain a letter or a digit';
  if (!/^[A-Z0-9^]/.test(value)) return `must start with a letter, a digit or ^, not with ${value[0]}`;
  return `must have at most 32 characters, not ${value.length}`;
}

const ticker = (allowEvery) => ({
  // Letters outside ASCII stay as they are, for upper-casing could make another symbol of them.
  types: ['a string'], name: 'a string', clean: stored, wrong: (value) => tickerProblem(value, allowEvery),
});

/** The shortest way to write a decimal: `10` for 010.00. */
const plain = (amount) => amount.replace(/^0+(?=\d)/, '').replace(/(\.\d*?)0+$/, '$1').replace(/\.$/, '');

const amount = {
  types: ['a string', 'an integer'], name: 'a decimal string', clean: (value) => (AMOUNT.test(value) ? plain(String(value)) : String(value)),
  wrong: (value) => (AMOUNT.test(value) && /[1-9]/.test(value) ? ''
    : 'must be a positive decimal with up to 18 digits before the point and 9 after it'),
};

const limit = {
  types: ['null', 'a string', 'an integer', 'a fraction'], name: 'null or a decimal',
  wrong: (value) => (value === null || (typeof value === 'number' ? value >= 0 && value < 1e18 : AMOUNT.test(value)) ? ''
    : 'must be null or a decimal of at least 0 with up to 18 digits before the point and 9 after it'),
};

const multipliers = {
  ...object,
  wrong: (value) => {
    const wrong = Object.entries(value).find(([name, size]) => !isTicker(name) || name === '*'
      || !(typeof size === 'number' ? size > 0 && size < 1e18 : AMOUNT.test(size) && /[1-9]/.test(size)));
    return wrong ? `has a wrong entry for ${wrong[0]}` : '';
  },
};

/** The sections of the configuration that are known, each with its keys. */
export const SECTIONS = {
  operator_approval: { auto_approve_paper: flag, require_approval_for_live: flag, approval_timeout_minutes: whole(1, 10_080) },
  signal_layers: { macro: flag, competitive: flag },
  position_limits: { max_order_quantity: limit, max_order_value: limit, price_collar_pct: limit },
  order_rate: { max_orders: whole(0, 1_000_000), per_seconds: whole(1, 86_400) },
  instruments: { multipliers },
};

const sixDigits = {
  types: ['a string'], name: 'a string', wrong: (value) => (/^[0-9]{6}$/.test(value) ? '' : 'must be six digits'),
};

export const MODES = ['disabled', 'paper', 'live'];
const PRICES_OF = { limit_price: ['limit', 'stop_limit'], stop_price: ['stop', 'stop_limit'] };
const minutes = whole(1, 525_600);

/** What is wrong with one value, "" where nothing is. */
export function wrongWith(field, value) {
  if (!field.types.includes(typeOf(value))) return `must be ${field.name}, not ${typeOf(value)}`;
  return field.wrong?.(value) ?? '';
}

function orderBelongsTogether(order, errors) {
  const has = (name) => (order[name] ?? null) !== null;
  if (has('qty') === has('notional')) errors.qty = ['give exactly one of qty and notional'];
  for (const [name, types] of Object.entries(PRICES_OF)) {
    const demanded = types.includes(order.type);
    if (has(name) !== demanded) errors[name] = [`${demanded ? 'is required' : 'has no place'} for a ${order.type} order`];
  }
}

/** Nothing refuses a halt: what is invalid is left out, and reported. */
function haltIsNotRefused(change, errors) {
  if (errors.trading_mode) return;
  if (change.trading_mode === 'disabled') {
    change.ignored = { ...errors };
    for (const name of Object.keys(errors)) {
      delete change[name];
      delete errors[name];
    }
    return;
  }
  for (const name of ['from', 'reason']) if (!change[name] && !errors[name]) errors[name] = ['is required'];
  for (const name of ['cancel_open_orders', 'protective_stops']) {
    if (change[name] === true || change[name]?.length) errors[name] ??= ['has no place but with a halt'];
  }
}

function decisionBelongsTogether({ action, note = null, reason = null }, errors) {
  if (action === 'reject' && reason === null) errors.reason = ['is required'];
  else if (action === 'reject' && note !== null) errors.note = ['has no place in a rejection: give a reason'];
  else if (action === 'approve' && reason !== null) errors.reason = ['has no place in an approval: give a note'];
}

const DECISION = {
  fields: { id, action: word('approve', 'reject'), note: text(0, LONGEST_REASON), reason: text(1, LONGEST_REASON) },
  required: ['id', 'action'], nullable: ['note'], together: decisionBelongsTogether,
};

function eachDecision({ decisions }, errors) {
  if (decisions.length < 1 || decisions.length > 200) errors.decisions = ['must have 1 to 200 entries'];
  decisions.slice(0, 200).forEach((entry, index) => {
    if (typeOf(entry) !== 'an object') errors[`decisions[${index}]`] = ['must be an object'];
    else for (const [name, said] of Object.entries(read(DECISION, entry).errors)) errors[`decisions[${index}].${name}`] = said;
  });
}

/** The forms, by the name that the API document gives to their bodies. */
export const FORMS = {
  ApprovalConfigChange: { fields: SECTIONS.operator_approval, oneIsNeeded: true },
  SignalLayersChange: { fields: SECTIONS.signal_layers, oneIsNeeded: true },
  ModeChange: {
    fields: {
      trading_mode: word(...MODES), from: word(...MODES), reason: text(1, LONGEST_REASON), cancel_open_orders: flag, protective_stops: ids,
      totp_code: sixDigits,
    },
    required: ['trading_mode'], nullable: ['from', 'reason', 'totp_code'], together: haltIsNotRefused, always: true,
  },
  ConfigReplacement: { fields: { config: object }, required: ['config'], together: ({ config }, errors) => checkConfig(config, errors) },
  NewLockout: {
    fields: { ticker: ticker(true), reason: text(1, LONGEST_REASON), duration_minutes: minutes, lockout_type: word('manual', 'news_shock', 'cooldown') },
    required: ['ticker', 'reason', 'duration_minutes'],
  },
  LockoutExtension: { fields: { extend_minutes: minutes }, required: ['extend_minutes'] },
  NewOrder: {
    fields: {
      client_order_id: printable, ticker: ticker(false), side: word('buy', 'sell'), qty: amount, notional: amount,
      type: word('market', 'limit', 'stop', 'stop_limit'), time_in_force: word('day', 'gtc', 'ioc', 'fok', 'opg', 'cls'),
      limit_price: amount, stop_price: amount, reference_price: amount, signal_layer: word('macro', 'competitive'),
      strategy: untrimmed(0, 200), rationale: untrimmed(0, 4000),
    },
    required: ['client_order_id', 'ticker', 'side', 'type'], together: orderBelongsTogether,
    nullable: ['qty', 'notional', 'limit_price', 'stop_price', 'reference_price', 'signal_layer', 'strategy', 'rationale'],
  },
  Approval: { fields: { note: text(0, LONGEST_REASON) }, nullable: ['note'] },
  Rejection: { fields: { reason: text(1, LONGEST_REASON) }, required: ['reason'] },
  Decisions: { fields: { decisions: array }, required: ['decisions'], together: eachDecision },
};

function checkConfig(config, errors) {
  const bad = configErrors(config);
  const unknown = Object.keys(SECTIONS).flatMap((name) => Object.keys(config[name] ?? {})
    .filter((key) => !SECTIONS[name][key]).map((key) => [`config.${name}.${key}`, ['is not a known key']]));
  if (bad) errors[`config.${bad.key}`] = [bad.detail];
  else Object.assign(errors, Object.fromEntries(unknown));
}

/** The first thing in a configuration that cannot be read: {key, detail}, or null. */
export function configErrors(config) {
  for (const [name, fields] of Object.entries(SECTIONS)) {
    const section = config[name] === undefined ? {} : config[name];
    if (typeOf(section) !== 'an object') return { key: name, detail: `must be an object, not ${typeOf(section)}` };
    const given = Object.entries(fields).filter(([key]) => section[key] !== undefined && !(name === 'order_rate' && section[key] === null));
    for (const [key, field] of given) {
      const said = wrongWith(field, section[key]);
      if (said) return { key: `${name}.${key}`, detail: said };
    }
    if (name === 'order_rate' && given.length === 1) return { key: name, detail: 'a rate needs max_orders and per_seconds' };
  }
  return null;
}

/** The values that a body gives, cleaned, and what is wrong with them by field. */
function read({ fields, required = [], nullable = [], oneIsNeeded = false, always = false, together }, body) {
  const [values, errors] = [{}, {}];
  for (const [key, value] of Object.entries(body)) {
    const field = fields[key];
    if (!field) errors[key] = ['is not a known key'];
    else if (value !== null || !nullable.includes(key)) {
      if (!field.types.includes(typeOf(value))) errors[key] = [`must be ${field.name}, not ${typeOf(value)}`];
      else {
        values[key] = field.clean?.(value) ?? value;
        const said = required.includes(key) && values[key] === '' ? 'is required' : wrongWith(field, values[key]);
        if (said) errors[key] = [said];
      }
    }
  }
  for (const key of required) if (!(key in body)) errors[key] = ['is required'];
  const given = Object.keys(values).length + Object.keys(errors).length;
  if (oneIsNeeded && !given) errors.body = [`needs at least one of ${Object.keys(fields).join(', ')}`];
  if (together && (always || !Object.keys(errors).length)) together(values, errors);
  return { values, errors };
}

/** The values that a body gives. Throws a Refusal, 422, that says by field what is wrong. */
export function readForm(name, body) {
  const { values, errors } = read(FORMS[name], body);
  if (Object.keys(errors).length) throw Refusal.invalid(errors);
  return values;
}
