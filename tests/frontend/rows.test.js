// Rows that are drawn by hand: only what changed is touched, and those that the server wrote are taken over.

import { beforeEach, describe, expect, test, vi } from 'vitest';

import { createRows, escapeText, put } from '../../app/static/js/rows.js';

let body;

const fill = vi.fn(({ slots }, { text }) => put(slots, { text }));
const shown = () => [...body.querySelectorAll('tr')].map((row) => `${row.dataset.id}:${row.textContent.trim()}`).join(' ');
const items = (...ids) => ids.map((id) => ({ id, text: id.toUpperCase() }));

beforeEach(() => {
  fill.mockClear();
  document.body.innerHTML = `<table><tbody>
    <template><tr><td data-slot="text"></td><td><button type="button" aria-label="Act"></button></td></tr></template>
    <tr data-id="s"><td data-slot="text">S</td><td><button type="button" aria-label="Act"></button></td></tr>
  </tbody></table>`;
  body = document.querySelector('tbody');
});

describe('rows', () => {
  test('that came from the server are taken over as they are', () => {
    const [element] = body.querySelectorAll('tr');
    const rows = createRows(body, fill);
    rows.draw(items('s'));
    expect(body.querySelector('tr')).toBe(element);
    expect(rows.get('s').element).toBe(element);
  });

  test('come, go and move as the items say', () => {
    const rows = createRows(body, fill);
    rows.draw(items('a', 's', 'b'));
    expect(shown()).toBe('a:A s:S b:B');
    rows.draw(items('b', 'a'));
    expect(shown()).toBe('b:B a:A');
    expect(rows.get('s')).toBeUndefined();
    rows.draw([]);
    expect(shown()).toBe('');
    expect(rows.get('a')).toBeUndefined();
  });

  test('are touched only where something about them changed', () => {
    const rows = createRows(body, fill);
    rows.draw(items('a', 'b'));
    fill.mockClear();
    rows.draw([{ id: 'a', text: 'A' }, { id: 'b', text: 'other' }]);
    expect(fill.mock.calls.map(([, { id }]) => id)).toEqual(['b']);
    expect(shown()).toBe('a:A b:other');
  });

  test('keep the focus when they move', () => {
    const rows = createRows(body, fill);
    rows.draw(items('a', 'b'));
    const button = rows.get('a').element.querySelector('button');
    button.focus();
    rows.draw(items('b', 'c', 'a'));
    expect(document.activeElement).toBe(button);
  });

  test('know since when they are there: the server’s always were', () => {
    const rows = createRows(body, fill);
    const before = performance.now();
    rows.draw(items('s', 'a'));
    expect(rows.get('s').since).toBe(-Infinity);
    expect(rows.get('a').since).toBeGreaterThanOrEqual(before);
  });

  test('never take what is written in them for HTML', () => {
    const rows = createRows(body, fill);
    rows.draw([{ id: 'a', text: '<img src=x onerror=alert(1)>' }]);
    expect(body.querySelector('img')).toBeNull();
    expect(rows.get('a').slots.text.textContent).toBe('<img src=x onerror=alert(1)>');
  });
});

test('a text that says the same already is left alone', () => {
  const slot = document.createElement('p');
  slot.textContent = 'same';
  const [node] = slot.childNodes;
  put({ slot }, { slot: 'same' });
  expect(slot.firstChild).toBe(node);
  put({ slot }, { slot: 'other' });
  expect(slot.textContent).toBe('other');
});

test('a text that would turn itself around on the screen shows what does it', () => {
  const slot = document.createElement('p');
  put({ slot }, { slot: 'buy \u202e01\u202c at once\u061c – ‘naïve’ 日本 €' });
  expect(slot.textContent).toBe('buy [U+202E]01[U+202C] at once[U+061C] – ‘naïve’ 日本 €');
});

test('whatever Alpine writes by x-text is shown so, too', () => {
  const element = document.createElement('p');
  let write;
  escapeText({
    mutateDom: (work) => work(),
    directive: (name, bind) => {
      expect(name).toBe('text');
      bind(element, { expression: 'problem' }, { effect: (run) => run(), evaluateLater: () => (to) => { write = to; } });
    },
  });
  write('locked out: \u202efoo');
  expect(element.textContent).toBe('locked out: [U+202E]foo');
  write(7);
  expect(element.textContent).toBe('7');
});

test('a long number may go on in the next line after a comma, and says the same', () => {
  const slot = document.createElement('p');
  put({ slot }, { slot: 'value 123,456,789,012.123456789' });
  expect(slot.innerHTML).toBe('value 123,<wbr>456,<wbr>789,<wbr>012.123456789');
  const [first] = slot.childNodes;
  put({ slot }, { slot: 'value 123,456,789,012.123456789' });
  expect(slot.firstChild).toBe(first);
  put({ slot }, { slot: '1,234.50' });
  expect(slot.innerHTML).toBe('1,234.50');
});

test('the symbol of an option may continue in the next line before its strike', () => {
  const slot = document.createElement('p');
  put({ slot }, { slot: 'AAPL261218C00200000' });
  expect(slot.innerHTML).toBe('AAPL261218<wbr>C00200000');
  put({ slot }, { slot: 'BRK.B' });
  expect(slot.innerHTML).toBe('BRK.B');
});
