// Where the buttons of the rows in view were a moment ago, so that a hand that was on its way to one order does not decide
// another one that came beneath it: by a row that came or went, or by what appeared above the list.

const LOOKS = 100;      // milliseconds between two looks at where things are
const NOTICED = 450;    // milliseconds that a person needs to see that something moved, and to stop the hand
const STILL = 2;        // pixels

export function createAim({ body, scroller, rows }) {
  let watching = false;
  let looks = [];   // the last few: {at, scrolled, places: id -> {top, bottom}}

  const scrolled = () => window.scrollY + scroller.scrollTop;

  /** Those in view alone, found by halving: there may be hundreds. */
  function inView() {
    const all = body.querySelectorAll('[data-id]');
    const { top, bottom } = scroller.getBoundingClientRect();
    let [from, to] = [0, all.length];
    while (from < to) {
      const middle = (from + to) >> 1;
      if (all[middle].getBoundingClientRect().bottom < Math.max(0, top)) from = middle + 1;
      else to = middle;
    }
    const seen = [];
    for (; from < all.length && all[from].getBoundingClientRect().top <= Math.min(window.innerHeight, bottom); from += 1) seen.push(all[from]);
    return seen;
  }

  function look() {
    const at = performance.now();
    if (!watching || document.hidden || at - (looks.at(-1)?.at ?? -LOOKS) < LOOKS / 2) return;
    const places = new Map();
    for (const { dataset: { id } } of inView()) {
      const acts = rows.get(id)?.slots.acts;
      if (acts) places.set(id, acts.getBoundingClientRect());
    }
    // However long ago the last look was (a busy page looks late), what it saw is what the person saw before this.
    looks = [...looks.filter((one, index) => index === looks.length - 1 || at - one.at < 2 * NOTICED), { at, scrolled: scrolled(), places }];
  }

  /** What moved on the screen and in the page: not what was only scrolled, nor what was held in its place by scrolling. */
  function wasElsewhere({ at, scrolled: before, places }, id, y) {
    const { since, slots } = rows.get(id);
    const was = places.get(id);
    if (since > at) return true;
    if (!was) return Math.abs(scrolled() - before) <= STILL;
    const shift = slots.acts.getBoundingClientRect().top - was.top;
    if (Math.abs(shift + scrolled() - before) <= STILL) return false;
    return y < was.top || y > was.bottom;
  }

  return {
    look,
    /** What the page moves as it wakes up nobody has aimed at yet, so the first look comes after that. */
    start() {
      setInterval(() => {
        watching = true;
        look();
      }, LOOKS);
    },

    /** Whether that pointer event met buttons that were not there when the hand set out. */
    missed({ timeStamp, clientY }, id) {
      return looks.some((one, index) => (timeStamp - one.at < NOTICED || index === looks.length - 1) && wasElsewhere(one, id, clientY));
    },
  };
}
