// Which keys an act makes stale: with every key watched, those that are read again once it is over. The state is not watched
// but read, before and after: while it is watched, the keys that are part of it are filled from it.

import { settled } from './serving.js';

export const EVERY_KEY = ['state', 'approval-config', 'trading-config', 'mode', 'signal-layers', 'lockouts', 'orders', 'approvals', 'audit'];

/** The keys that an act has read again, each of them once. */
export async function readAgainBy(act, { api, asked }) {
  const again = [];
  for (const key of EVERY_KEY.filter((one) => one !== 'state')) api.watch(key, ({ patched }) => { if (!patched) again.push(key); });
  await api.read('state');
  const before = asked.length;
  await act();
  await settled();
  await api.read('state');
  const reads = asked.slice(before).filter((one) => one.startsWith('GET '));
  if (reads.includes('GET /state')) again.push('state');
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
