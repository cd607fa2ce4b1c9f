// Which keys an act makes stale: with every key watched, those that are read again once it is over.

import { settled } from './serving.js';

export const EVERY_KEY = ['state', 'approval-config', 'trading-config', 'mode', 'signal-layers', 'lockouts', 'orders', 'approvals', 'audit'];

/** The keys that an act has read again, each of them once. */
export async function readAgainBy(act, { api, asked }) {
  const again = [];
  for (const key of EVERY_KEY) api.watch(key, ({ patched }) => { if (!patched) again.push(key); });
  await act();
  await settled();
  const reads = asked.filter((one) => one.startsWith('GET '));
  if (reads.length !== again.length) throw new Error(`${reads.join(', ')} were asked for, ${again.join(', ')} were told`);
  return again.sort();
}

/** Orders that wait for a person. */
export function waiting(desk, ...tickers) {
  desk.config = { ...desk.config, operator_approval: { ...desk.config.operator_approval, auto_approve_paper: false } };
  return tickers.map((ticker, index) => desk.submit({
    client_order_id: `${ticker}-${index}`, ticker, side: 'buy', qty: '10', type: 'limit', limit_price: '187.5',
  }).order);
}
