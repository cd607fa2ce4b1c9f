// What the server makes of a form's fields, and how its messages come back to them.

import { beforeEach, describe, expect, test } from 'vitest';

import { inWords, whole } from '../../app/static/js/forms.js';

describe('a number that was typed', () => {
  test.for([['60', 60], [' 60 ', 60], ['007', 7], ['0', 0], ['', undefined], ['  ', undefined]])('%o is %o', ([typed, sent]) => {
    expect(whole(typed)).toBe(sent);
  });

  test.for(['60.5', '-1', '1e3', '6_0', '٦٠', 'an hour', '0x10'])('%o is left for the server to refuse', (typed) => {
    expect(whole(typed)).toBe(typed);
  });
});

describe('the server’s messages', () => {
  let form;

  beforeEach(() => {
    document.body.innerHTML = `<form>
      <label for="ticker"> Ticker </label><input id="ticker" name="ticker">
      <label for="minutes">Duration</label><input id="minutes" name="duration_minutes" inputmode="numeric">
    </form>`;
    form = document.querySelector('form');
    // jsdom has no such property, where browsers do.
    form.elements.duration_minutes.inputMode = 'numeric';
  });

  test('begin with the label of their field', () => {
    expect(inWords({ ticker: ['is required'] }, form)).toEqual({ ticker: 'Ticker is required.' });
  });

  test('for fields that are not there are left to whoever shows the rest', () => {
    expect(inWords({ body: ['needs something'] }, form)).toEqual({});
  });

  test('about types are not for people: they say what was typed wrongly', () => {
    const errors = { duration_minutes: ['must be an integer, not a string'] };
    const { duration_minutes: input } = form.elements;
    for (const [typed, said] of [['an hour', 'Duration must be a whole number.'], ['', 'Duration is required.']]) {
      input.value = typed;
      expect(inWords(errors, form)).toEqual({ duration_minutes: said });
    }
    input.value = '0';
    expect(inWords({ duration_minutes: ['must be from 1 to 525600'] }, form)).toEqual({ duration_minutes: 'Duration must be from 1 to 525600.' });
  });
});
