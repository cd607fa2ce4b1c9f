// Wakes the Trading page up: the server's HTML is complete and works without this.

import Alpine from '../vendor/alpine.js';
import { createAlerts } from './alerts.js';
import { BASE, createApi } from './api.js';
import { pendingApprovals } from './approvals.js';
import { createClock } from './clock.js';
import { recentDecisions } from './decisions.js';
import { createDesk } from './desk.js';
import { createDialog, panel } from './dialog.js';
import { mendForm, settingWarnings, timeoutForm } from './forms.js';
import { keysDialog } from './keys.js';
import { lockoutForm, lockoutList } from './lockouts.js';
import { modeBar, modeDetail } from './mode.js';
import { escapeText } from './rows.js';
import { createSound } from './sound.js';
import { createSharedStream, createStream } from './stream.js';
import { switchCard } from './switches.js';
import { createTab } from './tab.js';
import { createUpdates } from './updates.js';

const initial = JSON.parse(document.getElementById('desk-data').textContent);
const dialog = createDialog();
// Where no venue is connected nothing of it is loaded either.
const venue = initial.state.venue ? await import('./venue.js') : {};
// Alpine looks at whatever changes on the page, but for what is changed `unobserved`: hundreds of rows that it has no part in.
const stream = createSharedStream({ stream: createStream({ url: `${BASE}/stream` }) });
const parts = { api: createApi({ closeStream: stream.reconnect }), initial, ask: dialog.ask, unobserved: Alpine.mutateDom };

Alpine.store('desk', createDesk({
  ...parts, clock: createClock(initial.state.server_time),
  updates: createUpdates({ api: parts.api, stream }),
  arrived: (orders) => alerts.arrived(orders),
}));
const desk = Alpine.store('desk');
Alpine.store('alerts', createAlerts({
  sound: createSound(), waiting: () => ({ orders: desk.waiting, number: desk.waitingCount }),
}));
const alerts = Alpine.store('alerts');
Alpine.data('confirmDialog', dialog.component);
for (const [name, part] of Object.entries({
  keysDialog, lockoutForm, lockoutList, mendForm, modeBar, modeDetail, panel, pendingApprovals, recentDecisions, settingWarnings, switchCard, timeoutForm,
  ...venue,
})) {
  Alpine.data(name, part(parts));
}

escapeText(Alpine);
desk.start();
Alpine.start();
alerts.start();   // this and what follows is not worth the Halt button, should the browser refuse it
const tab = createTab();
const lastDay = document.getElementById('last-day');
new IntersectionObserver(async (seen, observer) => {
  if (!seen.at(-1).isIntersecting) return;
  observer.disconnect();
  const { watchLastDay } = await import('./later/lastday.js');
  watchLastDay(lastDay, parts.api);
}).observe(lastDay);
Alpine.effect(() => tab.show({ mode: desk.state.trading_mode, count: desk.waitingCount, stale: desk.stale }));
