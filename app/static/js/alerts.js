// For those who look elsewhere: a sound, and a notification of the browser, when orders come in that wait. Both are off
// until somebody switches them on, and are remembered in this browser.

import { createFront } from './front.js';
import { count, size } from './orders.js';
import { inBrowser } from './storage.js';

const SOUND = 'countersign.alert-sound';
const NOTICE = 'countersign.alert-notice';
const QUIET = 5000;            // milliseconds between two alerts: what comes in meanwhile is told together
const SOUNDING = 'countersign.sounding';
const SOUNDS_FOR = 1500;

const DENIED = 'This browser refuses notifications from this site. Allow them in its settings for the site, then try again.';
const MUTED = 'The browser plays no sound before your first click on this page.';
const NEVER = 'This browser cannot show notifications here.';

const inWords = (order) => `${order.ticker} ${order.side} ${size(order)}${order.notional ? ' notional' : ''} waits for approval`;

/** `waiting()` is {orders, number}: those that wait now, of which all or some are listed. */
export function createAlerts({
  sound, waiting, kept = inBrowser, Notice = window.Notification, locks = navigator.locks, inFront = createFront({ locks }),
}) {
  let shown, quiet;
  let fresh = { ids: new Set(), number: 0 };

  const keep = (key, on) => (on ? kept.setItem(key, 'on') : kept.removeItem(key));

  /** What was switched on, here or on another page of this browser, as far as it can be done. */
  function recalled() {
    const wanted = !!kept.getItem(NOTICE);
    const granted = Notice?.permission === 'granted';
    return { sound: sound.possible && !!kept.getItem(SOUND), notice: wanted && granted, problem: wanted && !granted ? DENIED : '' };
  }

  /** Of several pages in one browser, one sounds; where it does not let them agree on that, each does. */
  function sounds() {
    const alone = () => sound.play();
    if (!locks) return alone();
    return locks.request(SOUNDING, { ifAvailable: true }, (lock) => lock && new Promise((done) => {
      sound.play();
      setTimeout(done, SOUNDS_FOR);
    })).catch(alone);
  }

  return {
    ...recalled(),
    locked: true,        // the browser plays nothing yet

    get on() {
      return this.sound || this.notice;
    },
    get words() {
      if (this.muted) return 'muted';
      return this.on ? 'on' : this.problem ? 'refused' : 'off';
    },
    get hint() {
      return this.muted ? MUTED : this.problem;
    },
    get muted() {
      return this.sound && this.locked;
    },

    start() {
      // What is switched in one page of a browser holds in all of them.
      window.addEventListener('storage', ({ key }) => { if (key === SOUND || key === NOTICE) Object.assign(this, recalled()); });
      for (const type of ['click', 'keydown']) document.addEventListener(type, () => { if (this.muted) this.unlock(); }, true);
    },

    open() {
      document.getElementById('alerts').showModal();
    },

    async unlock() {
      await sound.unlock().catch(() => {});
      this.locked = !sound.ready;
    },

    async keepSound() {
      keep(SOUND, this.sound);
      if (this.sound) await this.sample();
    },

    async sample() {
      await this.unlock();
      if (sound.ready) sound.play();
    },

    /** Asks the browser, which asks the person; a no is said in words, and the box stays empty. */
    async keepNotice() {
      this.problem = '';
      if (this.notice && !Notice) this.problem = NEVER;
      else if (this.notice && await Notice.requestPermission() !== 'granted') this.problem = DENIED;
      if (this.problem) this.notice = false;
      keep(NOTICE, this.notice);
    },

    arrived({ listed, number }) {
      if (!number || !this.on) return;
      for (const { id } of listed) fresh.ids.add(id);
      fresh.number += number;
      if (!quiet) this.tell();
    },

    /** What came in since the last alert, less what is decided by now. */
    tell() {
      const { orders, number } = waiting();
      const here = orders.filter(({ id }) => fresh.ids.has(id));
      const came = here.length + fresh.number - fresh.ids.size;
      fresh = { ids: new Set(), number: 0 };
      quiet = came && setTimeout(() => this.tell(), QUIET);
      if (!came) return;
      if (this.sound && sound.ready) sounds();
      if (this.notice) this.show(came === 1 && here.length ? here[0] : null, number);
    },

    async show(order, number) {
      if (await inFront()) return;
      const all = `${count(number)} ${number === 1 ? 'waits' : 'wait'} for approval`;
      shown?.close();
      try {
        // The same event on another page of this browser has the same tag, and so replaces this rather than adding to it.
        shown = new Notice(order ? inWords(order) : all, {
          tag: `countersign-${order?.id ?? number}`, body: order && number > 1 ? `${all}.` : '',
        });
      } catch {
        this.problem = NEVER;   // phones want a service worker
        this.notice = false;
        return;
      }
      shown.onclick = () => {
        window.focus();
        shown.close();
      };
    },
  };
}
