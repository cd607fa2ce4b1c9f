// Rows of a table, kept by the id of what they show. Drawn by hand rather than by Alpine: there may be hundreds, each
// with a clock, and the rows that came from the server are taken over as they are.

import { upperCase } from './ascii.js';

/** Whether two items say the same. Most are the very same objects; of what was read again every one is new. */
function same(one, other) {
  if (!one) return false;
  const differs = Object.keys(other).filter((key) => one[key] !== other[key]);
  return differs.every((key) => JSON.stringify(one[key]) === JSON.stringify(other[key]));
}

export function createRows(body, fill) {
  const blank = body.querySelector('template');
  const rows = new Map([...body.querySelectorAll('[data-id]')].map((element) => [element.dataset.id, row(element)]));

  function row(element) {
    const slots = {};
    for (const slot of element.querySelectorAll('[data-slot]')) slots[slot.getAttribute('data-slot')] = slot;
    return { element, slots, shown: null, since: -Infinity };
  }

  function made(id) {
    const element = blank.content.firstElementChild.cloneNode(true);
    element.dataset.id = id;
    rows.set(id, { ...row(element), since: performance.now() });
    return rows.get(id);
  }

  return {
    get: (id) => rows.get(id),

    /** Shows exactly these items, in this order; a row is touched only where something about it changed. */
    draw(items) {
      const focused = document.activeElement;
      const kept = new Set(items.map(({ id }) => id));
      for (const [id, { element }] of rows) {
        if (kept.has(id)) continue;
        element.remove();
        rows.delete(id);
      }
      let place = body.firstElementChild;
      let come = [];   // put in together: one by one, hundreds take a second
      for (const item of items) {
        const one = rows.get(item.id) ?? made(item.id);
        if (!same(one.shown, item)) fill(one, item);
        one.shown = item;
        if (one.element !== place) {
          come.push(one.element);
          continue;
        }
        place.before(...come);
        come = [];
        place = place.nextElementSibling;
      }
      if (place) place.before(...come);
      else body.append(...come);
      // A row that is moved loses the focus on the way.
      if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
    },
  };
}

const TURNING = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** What turns the text around it is shown as what it is: an engine's words must not read as something else. */
export const visible = (text) => text?.replace(TURNING, (one) => `[U+${upperCase(one.charCodeAt(0).toString(16)).padStart(4, '0')}]`) ?? '';

/** Replaces Alpine's `x-text` by one that shows every text as `visible` does: messages of the server quote other people. */
export function escapeText(Alpine) {
  Alpine.directive('text', (element, { expression }, { effect, evaluateLater }) => {
    const evaluate = evaluateLater(expression);
    effect(() => evaluate((text) => {
      Alpine.mutateDom(() => { element.textContent = typeof text === 'string' ? visible(text) : text; });
    }));
  });
}

const LONG = /[\d,.]{12}|\d{6}[CP]\d{8}$/;
const BREAKS = /(?<=\d,)(?=\d)|(?<=\d{6})(?=[CP]\d{8}$)/;

/** Allow a line break after the commas of a long number and before the strike of an option: elsewhere it would misread. */
function write(element, text) {
  if (!LONG.test(text)) element.textContent = text;
  else element.replaceChildren(...text.split(BREAKS).flatMap((part, at) => (at ? [document.createElement('wbr'), part] : [part])));
}

/** Texts by slot; what says the same already is left alone. */
export function put(slots, texts) {
  for (const [name, text] of Object.entries(texts)) {
    const shown = visible(text);
    if (slots[name].textContent !== shown) write(slots[name], shown);
  }
}
