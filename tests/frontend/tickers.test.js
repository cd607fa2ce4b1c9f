// Tickers as they are typed: nothing is ever mapped to another ticker, and the wrong character is named.

import { readFileSync, readdirSync } from 'node:fs';

import { describe, expect, test } from 'vitest';

import { lowerCase, upperCase } from '../../app/static/js/ascii.js';
import { normalizeTicker, tickerProblem } from '../../app/static/js/tickers.js';

const SCRIPTS = 'app/static/js';
const FOREIGN = ['ß', 'ſ', 'ı', 'ﬁ', 'ŉ', 'ǰ', '\u212a', 'µ', 'Ａ', '１', '٣', 'é', '😀'];   // U+212A: the Kelvin sign

describe('upper and lower case', () => {
  test('change ASCII letters and nothing else', () => {
    expect(upperCase('brk.b ßſıﬁµ')).toBe('BRK.B ßſıﬁµ');
    expect(lowerCase('BRK.B İ\u212a')).toBe('brk.b İ\u212a');
  });

  test('never change the length', () => {
    for (let code = 0; code <= 0xffff; code += 1) {
      const character = String.fromCharCode(code);
      if (upperCase(character).length !== 1 || lowerCase(character).length !== 1) throw new Error(`U+${code.toString(16)}`);
    }
  });

  test('are changed in ascii.js alone', () => {
    const files = readdirSync(SCRIPTS, { recursive: true }).filter((name) => name.endsWith('.js') && name !== 'ascii.js');
    const found = files.filter((name) => /\bto(Locale)?(Upper|Lower)Case\(|\.normalize\(|localeCompare/.test(readFileSync(`${SCRIPTS}/${name}`, 'utf8')));
    expect(found).toEqual([]);
  });
});

describe('a ticker', () => {
  test.for([
    'AAPL', 'BRK.B', 'BTC/USD', 'BTC/USDT:USDT', 'BTC_USDT', 'RY.TO', '0700.HK', 'M&M.NS', 'ES=F', '^GSPC', 'ES1!', 'ABC-W',
    'AAPL261218C00200000', 'ABCDEF261218C00200000', 'X'.repeat(32), '*',
  ])('%s is taken', (ticker) => {
    expect([tickerProblem(ticker), normalizeTicker(ticker)]).toEqual(['', ticker]);
  });

  test.for([[' aapl ', 'AAPL'], ['brk.b', 'BRK.B'], ['AAPL  261218C00200000', 'AAPL261218C00200000'], ['aapl  261218c00200000 ', 'AAPL261218C00200000'], [' * ', '*']])(
    '%o is %s', ([typed, ticker]) => {
      expect([tickerProblem(typed), normalizeTicker(typed)]).toEqual(['', ticker]);
    },
  );

  test.for(FOREIGN)('is not made of %s, which is named', (character) => {
    for (const text of [character, `a${character}s`, `${character}PY`]) {
      expect(tickerProblem(text)).toContain(`must not contain “${character}” (U+`);
      expect(normalizeTicker(text)).toBeNull();
    }
  });

  test.for([
    ['AA PL', 'a space'], ['AAPL 261218C00200000', 'a space'], ['A\tB', 'U+0009'], ['\u00a0AAPL', 'U+00A0'], ['A\u200bB', 'U+200B'], ['\u202eAAPL', 'U+202E'],
    ['A$', '“$”'], ['A*', '“*”'], ['A,B', '“,”'], ['e\u0301', 'U+0301'],
  ])('names the character of %o that is wrong', ([text, name]) => {
    expect(tickerProblem(text)).toContain(`must not contain ${name}. Allowed are A-Z 0-9 . / - _ : = ^ & !`);
    expect(normalizeTicker(text)).toBeNull();
  });

  test('starts with a letter, a digit or ^, and has at most 32 characters', () => {
    expect(tickerProblem('.AAPL')).toBe('Ticker must start with a letter, a digit or ^.');
    expect(tickerProblem('X'.repeat(33))).toBe('Ticker must have at most 32 characters.');
    expect([normalizeTicker('.AAPL'), normalizeTicker('X'.repeat(33))]).toEqual([null, null]);
  });

  test('has a letter or a digit; while it is typed, none is missing yet', () => {
    for (const text of ['', '  ', '^', '^.']) expect([tickerProblem(text), normalizeTicker(text)]).toEqual(['', null]);
  });
});
