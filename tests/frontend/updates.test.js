// When the page reads the state: upon news, and by itself where there is no stream.

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { createUpdates } from '../../app/static/js/updates.js';

const VERSION = 7;
const news = { news: true, version: VERSION };
const beat = { news: false, version: VERSION };

let api, stream, desk, said, reading, watcher, hidden;

/** The read under way is answered, or failed. */
function answer(problem) {
  const { sent } = reading;
  reading = null;
  watcher(problem ? { problem } : { sent, received: Date.now(), data: undefined });
}

const pass = (ms) => vi.advanceTimersByTime(ms);
const reads = () => api.poll.mock.calls.length;

function start({ random = () => 0.5 } = {}) {
  createUpdates({ api, stream, random }).start(desk);
}

function startStreaming(options) {
  start(options);
  said.heard(news);
  pass(350);
  answer();
  api.poll.mockClear();
}

beforeEach(() => {
  vi.useFakeTimers({ now: Date.parse('2026-11-22T14:00:00Z') });
  hidden = false;
  vi.spyOn(document, 'hidden', 'get').mockImplementation(() => hidden);
  const read = () => { reading = { sent: Date.now() }; };
  api = {
    watch: (key, heard) => { watcher = heard; },
    poll: vi.fn(() => { if (!reading) read(); }),
    refetch: vi.fn(read),
  };
  stream = { open: vi.fn((to) => { said = to; }), close: vi.fn() };
  desk = { version: () => VERSION, confirmed: vi.fn(), polling: vi.fn() };
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

test('the first that is heard leads to the first read, were it a beat', () => {
  start();
  expect(stream.open).toHaveBeenCalledOnce();
  said.heard(beat);
  pass(350);
  expect(reads()).toBe(1);
  expect(desk.confirmed).not.toHaveBeenCalled();
});

test('without the stream it reads about every 5 seconds, and says so after 3', () => {
  start();
  pass(2999);
  expect(desk.polling).not.toHaveBeenCalled();
  pass(200);
  expect(desk.polling).toHaveBeenLastCalledWith(true);
  expect(reads()).toBe(1);   // at once, to know whether the server answers at all
  answer();
  pass(4900);
  expect(reads()).toBe(1);
  pass(200);
  expect(reads()).toBe(2);
});

test('after a failed read it reads every 2 seconds, with or without the stream', () => {
  startStreaming();
  said.heard(news);
  pass(350);
  answer(new Error('no answer'));
  pass(1999);
  said.heard(news);   // news does not put it off
  pass(1);
  expect(reads()).toBe(2);
});

test.for([[0, 1600], [1, 2400]])('after a failed read pages that failed together spread out: %d is %d milliseconds', ([random, ms]) => {
  startStreaming({ random: () => random });
  said.heard(news);
  pass(350);
  answer(new Error('no answer'));
  pass(ms - 1);
  expect(reads()).toBe(1);
  pass(1);
  expect(reads()).toBe(2);
});

test('with the stream up it reads only upon news, within 150 milliseconds', () => {
  startStreaming({ random: () => 1 });
  pass(1000);
  expect(reads()).toBe(0);
  said.heard(news);
  pass(149);
  expect(reads()).toBe(0);
  pass(1);
  expect(reads()).toBe(1);
});

describe('a read while the page is stale', () => {
  const patienceOf = (call) => api.poll.mock.calls[call][1]?.patience;
  const silent = { timedOut: true };

  test('is given two seconds where the stream missed its beat, and as long as anything else before', () => {
    startStreaming();
    said.heard(news);
    pass(350);
    answer();
    expect(patienceOf(0)).toBeUndefined();
    pass(12_000);
    expect(patienceOf(1)).toBe(2000);
  });

  test('is sent again at once where no answer came, on six connections, and then as after any failure', () => {
    startStreaming();
    pass(12_000);
    for (let tries = 1; tries <= 6; tries += 1) {
      expect(reads()).toBe(tries);
      expect(patienceOf(tries - 1)).toBe(2000);
      answer(silent);
      pass(1);
    }
    expect(reads()).toBe(7);
    expect(patienceOf(6)).toBeUndefined();
    answer(silent);
    pass(1999);
    expect(reads()).toBe(7);
    pass(1);
    expect(reads()).toBe(8);
  });

  test('is over with the first answer', () => {
    startStreaming();
    pass(12_000);
    answer(silent);
    pass(1);
    answer();
    said.heard(news);
    pass(350);
    expect(patienceOf(2)).toBeUndefined();
  });
});

test('news during a read leads to exactly one more read after it', () => {
  startStreaming();
  said.heard(news);
  pass(350);
  for (let many = 0; many < 10; many += 1) {
    pass(50);
    said.heard(news);
  }
  answer();
  pass(350);
  expect(reading).not.toBeNull();
  answer();
  pass(5000);
  expect(reading).toBeNull();
});

test('a read that somebody else began after the news will do', () => {
  startStreaming();
  said.heard(news);
  pass(10);
  api.refetch('state');
  pass(20);
  answer();
  pass(5000);
  expect(reads()).toBe(0);
});

test('under ceaseless news it reads at most about three times a second', () => {
  startStreaming();
  for (let tenths = 0; tenths < 100; tenths += 1) {
    said.heard(news);
    pass(100);
    if (reading) answer();
  }
  expect(reads()).toBeGreaterThan(20);
  expect(reads()).toBeLessThanOrEqual(30);
});

test('a beat of the version that is shown confirms it; of another one it is news', () => {
  startStreaming();
  said.heard(beat);
  pass(1000);
  expect(desk.confirmed).toHaveBeenCalledOnce();
  expect(reads()).toBe(0);
  said.heard({ news: false, version: VERSION + 1 });
  pass(350);
  expect(reads()).toBe(1);
  expect(desk.confirmed).toHaveBeenCalledOnce();
});

test('a beat confirms nothing while news is still to be read: it may be news of the same version', () => {
  startStreaming();
  said.heard(news);
  pass(350);
  said.heard(beat);
  expect(desk.confirmed).not.toHaveBeenCalled();
  answer();
  pass(350);
  answer();
  said.heard(beat);
  expect(desk.confirmed).toHaveBeenCalledOnce();
});

test('however quiet it is, it reads once a minute', () => {
  startStreaming();
  for (let beats = 0; beats < 12; beats += 1) {
    pass(10_000);
    said.heard(beat);
    pass(350);
    if (reading) answer();
  }
  expect(reads()).toBeGreaterThanOrEqual(1);
  expect(reads()).toBeLessThanOrEqual(2);
});

test('when a beat is late it asks', () => {
  startStreaming();
  said.heard(beat);
  pass(11_999);
  expect(reads()).toBe(0);
  pass(1);
  expect(reads()).toBe(1);
});

test('a stream that is back within 3 seconds is not worth a word', () => {
  startStreaming();
  said.lost();
  pass(2900);
  said.heard(news);
  pass(350);
  answer();
  pass(5000);
  expect(desk.polling).not.toHaveBeenCalledWith(true);
});

test('it heals once the stream is back and a read has succeeded', () => {
  startStreaming();
  said.lost();
  pass(3200);
  expect(desk.polling).toHaveBeenLastCalledWith(true);
  answer();
  said.heard(news);
  expect(desk.polling).toHaveBeenLastCalledWith(true);
  pass(350);
  answer();
  expect(desk.polling).toHaveBeenLastCalledWith(false);
});

test('a stream that is back with nothing but beats heals too', () => {
  startStreaming();
  said.lost();
  pass(3200);
  answer();
  desk.polling.mockClear();
  said.heard(beat);
  expect(desk.polling.mock.calls).toEqual([[false]]);
});

test('a hidden page follows the stream, and does not poll without it', () => {
  startStreaming();
  hidden = true;
  said.heard(news);
  pass(350);
  expect(reads()).toBe(1);
  answer();
  said.lost();
  pass(3200);   // once, when it is lost
  answer();
  api.poll.mockClear();
  pass(60_000);
  expect(reads()).toBe(0);
  hidden = false;
  document.dispatchEvent(new Event('visibilitychange'));
  expect(api.refetch).toHaveBeenCalledExactlyOnceWith('state', { patience: 2000 });
});

test('a session that is over ends everything', () => {
  startStreaming();
  said.lost();
  pass(3200);
  answer({ status: 401 });
  expect(stream.close).toHaveBeenCalled();
  expect(desk.polling).toHaveBeenLastCalledWith(false);
  api.poll.mockClear();
  pass(60_000);
  expect(reads()).toBe(0);
});

test('a page that is put away lets go of the stream, and takes it up again', () => {
  start();
  window.dispatchEvent(new Event('pagehide'));
  expect(stream.close).toHaveBeenCalled();
  window.dispatchEvent(Object.assign(new Event('pageshow'), { persisted: true }));
  expect(stream.open).toHaveBeenCalledTimes(2);
  expect(api.refetch).toHaveBeenCalledOnce();
});

test('a clock that is set back does not make it read on and on', () => {
  startStreaming();
  said.heard(news);
  vi.setSystemTime(Date.now() - 3_600_000);
  pass(350);
  answer();
  pass(11_000);
  expect(reads()).toBe(1);
});
