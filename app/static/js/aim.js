// Where the buttons of the rows in view were a moment ago, so that a hand that was on its way to one of them does not press
// another one that came beneath it: by a row that came or went, or by what appeared above the list.

const LOOKS = 100;      // milliseconds between two looks at where things are
const NOTICED = 450;    // milliseconds that a person needs to see that something moved, and to stop the hand
const STILL = 2;        // pixels

export const MOVED = 'The list had just moved: look again.';

/** `stray` is told of each click on a button that was meant for what had stood there. */
export function createAim({ body, scroller, rows, stray }) {
  let watching = false;
  let astray = false;   // the press that a click will end
  let looks = [];   // the last few: {at, scrolled, places: button -> its box}

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

  function look(apart = LOOKS / 2) {
    const at = performance.now();
    if (!watching || document.hidden || at - (looks.at(-1)?.at ?? -apart) < apart) return;
    const places = new Map();
    // Each by itself: where one stands above the other, the wrong one may come to where the right one was.
    for (const row of inView()) for (const button of row.querySelectorAll('button')) places.set(button, button.getBoundingClientRect());
    // However long ago the last look was (a busy page looks late), what it saw is what the person saw before this.
    looks = [...looks.filter((one, index) => index === looks.length - 1 || at - one.at < 2 * NOTICED), { at, scrolled: scrolled(), places }];
  }

  /** What moved on the screen and in the page: not what was only scrolled, nor what was held in its place by scrolling. */
  function wasElsewhere({ at, scrolled: before, places }, button, { clientX: x, clientY: y }) {
    const was = places.get(button);
    const by = scrolled() - before;
    if (!was) return rows.get(button.closest('[data-id]').dataset.id).since > at || Math.abs(by) <= STILL;
    if (x >= was.left && x <= was.right && y >= was.top && y <= was.bottom) return false;
    const { left, top } = button.getBoundingClientRect();
    return Math.abs(left - was.left) > STILL || Math.abs(top - was.top + by) > STILL;
  }

  /** Whether that pointer event met a button that was not there when the hand set out. */
  const missed = (event, button) => looks.some(
    (one, index) => (event.timeStamp - one.at < NOTICED || index === looks.length - 1) && wasElsewhere(one, button, event),
  );

  /** Keys press a button without aiming: no `detail`. */
  function pressed(event) {
    const button = event.target.closest('[data-id] button');
    if (event.type === 'pointerdown') astray = !!button && missed(event, button);
    if (event.type !== 'click' || !button || !event.detail) return;
    if (astray || missed(event, button)) stray(event, button.closest('[data-id]').dataset.id);
    astray = false;
  }

  for (const type of ['pointerdown', 'click']) body.addEventListener(type, pressed, true);

  /** Right after a picture of the page was made: at any other time a look could make the browser lay it out once more. */
  function again() {
    setTimeout(() => requestAnimationFrame(() => setTimeout(() => {
      again();
      watching = true;
      look();
    })), LOOKS);
  }

  return {
    /** Before something is moved, should the last look be long ago. */
    look: () => look(2 * LOOKS),
    /** What the page moves as it wakes up nobody has aimed at yet, so the first look comes after that. */
    start: again,
  };
}
