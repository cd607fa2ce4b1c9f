// Rows of a table, kept by the id of what they show. Drawn by hand rather than by Alpine: there may be hundreds, each
// with a clock, and the rows that came from the server are taken over as they are.

export function createRows(body, fill) {
  const blank = body.querySelector('template');
  const rows = new Map([...body.querySelectorAll('[data-id]')].map((element) => [element.dataset.id, row(element)]));

  function row(element) {
    const slots = Object.fromEntries([...element.querySelectorAll('[data-slot]')].map((slot) => [slot.dataset.slot, slot]));
    return { element, slots, shown: '' };
  }

  function made(id) {
    const element = blank.content.firstElementChild.cloneNode(true);
    element.dataset.id = id;
    rows.set(id, row(element));
    return rows.get(id);
  }

  return {
    get: (id) => rows.get(id),
    ids: () => [...rows.keys()],

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
      for (const item of items) {
        const one = rows.get(item.id) ?? made(item.id);
        const shown = JSON.stringify(item);
        if (shown !== one.shown) fill(one, item);
        one.shown = shown;
        if (one.element === place) place = place.nextElementSibling;
        else body.insertBefore(one.element, place);
      }
      // A row that is moved loses the focus on the way.
      if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
    },
  };
}

/** Texts by slot; what says the same already is left alone. */
export function put(slots, texts) {
  for (const [name, text] of Object.entries(texts)) {
    if (slots[name].textContent !== text) slots[name].textContent = text;
  }
}
