// Wakes the Trading page up: the server's HTML is complete and works without this.

import Alpine from '../vendor/alpine.js';
import { createApi } from './api.js';
import { pendingApprovals } from './approvals.js';
import { createClock } from './clock.js';
import { recentDecisions } from './decisions.js';
import { createDesk } from './desk.js';
import { createDialog } from './dialog.js';
import { mendForm, settingWarnings, timeoutForm } from './forms.js';
import { keysDialog } from './keys.js';
import { lockoutForm, lockoutList } from './lockouts.js';
import { modeBar } from './mode.js';
import { switchCard } from './switches.js';

const initial = JSON.parse(document.getElementById('desk-data').textContent);
const dialog = createDialog();
const parts = { api: createApi(), initial, ask: dialog.ask };

Alpine.store('desk', createDesk({ ...parts, clock: createClock(initial.state.server_time) }));
Alpine.data('confirmDialog', dialog.component);
for (const [name, part] of Object.entries({
  keysDialog, lockoutForm, lockoutList, mendForm, modeBar, pendingApprovals, recentDecisions, settingWarnings, switchCard, timeoutForm,
})) {
  Alpine.data(name, part(parts));
}

// The rows that Alpine draws take the place of the server's in the same breath: never both, never none.
for (const row of document.querySelectorAll('[data-server-row]')) row.remove();
Alpine.store('desk').start();
Alpine.start();
