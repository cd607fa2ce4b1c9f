// The event stream: when it is held to be lost, when it is tried again, and one for all pages of a browser.

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { createSharedStream, createStream } from '../../app/static/js/stream.js';

let sources;

class Source extends EventTarget {
  open = true;

  constructor(url) {
    super();
    this.url = url;
    sources.push(this);
  }
  close() {
    this.open = false;
  }
  says(type, version) {
    this.dispatchEvent(new MessageEvent(type, { data: `{"state_version": ${version}}` }));
  }
  fails() {
    this.dispatchEvent(new Event('error'));
  }
}

const listener = () => ({ heard: vi.fn(), lost: vi.fn() });
const streamOf = (random = () => 1) => createStream({ url: '/stream', EventSource: Source, random });
const opened = () => sources.filter(({ open }) => open);

beforeEach(() => {
  sources = [];
  vi.useFakeTimers();
});
afterEach(() => vi.useRealTimers());

describe('a stream', () => {
  test('tells news from beats, with the version', () => {
    const to = listener();
    streamOf().open(to);
    sources[0].says('message', 7);
    sources[0].says('beat', 8);
    expect(sources[0].url).toBe('/stream');
    expect(to.heard.mock.calls).toEqual([[{ news: true, version: 7 }], [{ news: false, version: 8 }]]);
    expect(to.lost).not.toHaveBeenCalled();
  });

  test('is lost at once upon an error, and tried again anew', () => {
    const to = listener();
    streamOf().open(to);
    sources[0].fails();
    expect(to.lost).toHaveBeenCalledOnce();
    expect(opened()).toEqual([]);
    vi.advanceTimersByTime(1000);
    expect(opened()).toEqual([sources[1]]);
  });

  test('is lost after 25 seconds of silence, counted from the last sign of life', () => {
    const to = listener();
    streamOf().open(to);
    vi.advanceTimersByTime(20_000);
    sources[0].says('beat', 1);
    vi.advanceTimersByTime(24_999);
    expect(to.lost).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1);
    expect(to.lost).toHaveBeenCalledOnce();
    expect(sources[0].open).toBe(false);
  });

  test('is tried again after 1, 2, 4 and at most 30 seconds, until it has lasted', () => {
    streamOf().open(listener());
    const waits = Array.from({ length: 7 }, () => {
      sources.at(-1).fails();
      const before = Date.now();
      vi.advanceTimersToNextTimer();
      return Date.now() - before;
    });
    expect(waits).toEqual([1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
    sources.at(-1).says('message', 1);   // the first of every stream: it may end at once again
    sources.at(-1).fails();
    vi.advanceTimersByTime(29_999);
    expect(opened()).toEqual([]);
    vi.advanceTimersByTime(1);
    sources.at(-1).says('beat', 1);
    sources.at(-1).fails();
    vi.advanceTimersByTime(1000);
    expect(opened()).toHaveLength(1);
  });

  test('is tried again by some pages sooner than by others, and never in less than half the time', () => {
    streamOf(() => 0).open(listener());
    sources[0].fails();
    vi.advanceTimersByTime(499);
    expect(opened()).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(opened()).toHaveLength(1);
  });

  test('that is to reconnect is lost and closed at once, and opened anew in a moment', () => {
    const to = listener();
    const stream = streamOf();
    stream.reconnect();   // before it is open there is nothing to close
    expect(sources).toEqual([]);
    stream.open(to);
    stream.reconnect();
    expect(opened()).toEqual([]);
    expect(to.lost).toHaveBeenCalledOnce();
    stream.reconnect();
    vi.advanceTimersByTime(1000);
    expect(opened()).toEqual([sources[1]]);
  });

  test('says and tries nothing once it is closed, and can be opened again', () => {
    const stream = streamOf();
    const to = listener();
    stream.open(to);
    stream.close();
    vi.advanceTimersByTime(100_000);
    expect(sources).toHaveLength(1);
    expect(opened()).toEqual([]);
    expect(to.lost).not.toHaveBeenCalled();
    stream.open(to);
    expect(opened()).toHaveLength(1);
  });
});

/** navigator.locks, as far as it is used here: one lock, those who wait for it, taking it away, and a browser that refuses. */
class Locks {
  holder = null;
  queue = [];
  refusals = [];

  request(name, { signal, steal }, act) {
    return new Promise((resolve, reject) => {
      if (this.refusals.length) throw new DOMException('refused', this.refusals.pop());
      const one = { act, resolve, reject };
      signal?.addEventListener('abort', () => {
        if (this.holder === one) return;   // as the real one: what is held is not given up by this
        this.queue = this.queue.filter((other) => other !== one);
        reject(new DOMException('given up', 'AbortError'));
      });
      if (steal) {
        this.holder?.reject(new DOMException('stolen', 'AbortError'));
        this.holder = null;
        this.queue.unshift(one);
      } else this.queue.push(one);
      this.#next();
    });
  }

  #next() {
    if (this.holder || !this.queue.length) return;
    const one = this.holder = this.queue.shift();
    one.act().then((value) => {
      one.resolve(value);
      if (this.holder !== one) return;
      this.holder = null;
      this.#next();
    });
  }
}

function channels() {
  const all = new Set();
  return class {
    constructor() {
      all.add(this);
    }
    postMessage(data) {
      for (const other of all) if (other !== this) other.onmessage?.({ data });
    }
    close() {
      all.delete(this);
    }
  };
}

describe('a stream shared by the pages of a browser', () => {
  let locks, Channel;

  beforeEach(() => {
    locks = new Locks();
    Channel = channels();
  });

  function page(itsOwn = streamOf()) {
    const stream = createSharedStream({ stream: itsOwn, locks, Channel });
    const to = listener();
    stream.open(to);
    return { ...to, close: stream.close };
  }

  const turn = () => vi.advanceTimersByTimeAsync(0);

  test('is opened once, and all hear of it', () => {
    const [one, other] = [page(), page()];
    sources[0].says('message', 7);
    expect(sources).toHaveLength(1);
    for (const { heard } of [one, other]) expect(heard.mock.calls).toEqual([[{ news: true, version: 7 }]]);
    sources[0].fails();
    for (const { lost } of [one, other]) expect(lost).toHaveBeenCalledOnce();
  });

  test('tells a page that comes later that it is there', () => {
    page();
    sources[0].says('message', 7);
    expect(page().heard.mock.calls).toEqual([[{ news: false, version: 7 }]]);
    sources[0].fails();
    expect(page().heard).not.toHaveBeenCalled();
  });

  test('tells that to nobody else: it is old by then, and no sign of life', async () => {
    page({ open: (to) => to.heard({ news: true, version: 7 }), close: () => {} });
    const other = page();
    other.heard.mockClear();
    await vi.advanceTimersByTimeAsync(29_000);
    page();
    expect(other.heard).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(1000);
    expect(other.lost).toHaveBeenCalledOnce();
  });

  test('goes on with another page when the one that holds it is closed', async () => {
    const [one, other] = [page(), page()];
    one.close();
    await turn();
    expect(opened()).toEqual([sources[1]]);
    sources[1].says('message', 8);
    expect(other.heard).toHaveBeenCalledOnce();
    expect(other.lost).not.toHaveBeenCalled();
    expect(one.heard).not.toHaveBeenCalled();
  });

  test('is not held by a page that was closed before its turn', async () => {
    const [one, other, third] = [page(), page(), page()];
    other.close();
    expect(locks.queue).toHaveLength(1);   // a page that was put away could not let go of what it is given
    one.close();
    await turn();
    sources.at(-1).says('message', 8);
    expect(third.heard).toHaveBeenCalledOnce();
    expect(other.heard).not.toHaveBeenCalled();
    expect(opened()).toHaveLength(1);
  });

  test('is taken from a page that sleeps on it, which then follows', async () => {
    const silent = { open: vi.fn(), close: vi.fn() };
    const asleep = page(silent);
    const other = page();
    silent.close.mockClear();
    await vi.advanceTimersByTimeAsync(29_999);
    expect(sources).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(other.lost).toHaveBeenCalledOnce();
    expect(silent.close).toHaveBeenCalled();
    expect(opened()).toHaveLength(1);
    sources[0].says('message', 9);
    for (const { heard } of [asleep, other]) expect(heard.mock.calls).toEqual([[{ news: true, version: 9 }]]);
    other.close();
    await turn();
    expect(silent.open).toHaveBeenCalledTimes(2);
  });

  test('is left to a page that goes on trying', async () => {
    const [, other] = [page(), page()];
    const asked = vi.spyOn(locks, 'request');
    for (let tries = 0; tries < 10; tries += 1) {
      for (const source of opened()) source.fails();
      await vi.advanceTimersByTimeAsync(30_000);
    }
    expect(other.lost.mock.calls.length).toBeGreaterThan(8);
    expect(asked).not.toHaveBeenCalled();
  });

  function show(yes) {
    vi.spyOn(document, 'hidden', 'get').mockReturnValue(!yes);
    document.dispatchEvent(new Event('visibilitychange'));
  }

  test.for(['SecurityError', 'InvalidStateError'])('is each page\'s own where the browser refuses the lock with a %s', async (name) => {
    locks.refusals = [name, name, name];   // not more: the page would ask for ever
    const { heard, close } = page();
    await turn();
    expect(locks.refusals).toHaveLength(2);
    sources[0].says('message', 7);
    expect(heard.mock.calls).toEqual([[{ news: true, version: 7 }]]);
    show(false);
    expect(opened()).toEqual([]);
    show(true);
    expect(opened()).toHaveLength(1);
    close();
    show(true);
    expect(opened()).toEqual([]);
  });

  test('is each page\'s own where the browser refuses the channel', () => {
    Channel = class {
      constructor() {
        throw new DOMException('refused', 'SecurityError');
      }
    };
    const { close } = page();
    expect(opened()).toHaveLength(1);
    close();
    expect(opened()).toEqual([]);
  });

  test('is each page\'s own where a browser has no locks, while the page is in view', () => {
    const [one, other] = [listener(), listener()];
    const streams = [one, other].map((to) => {
      const stream = createSharedStream({ stream: streamOf(), locks: undefined, Channel });
      stream.open(to);
      return stream;
    });
    expect(opened()).toHaveLength(2);
    show(false);
    expect(opened()).toEqual([]);
    streams[0].close();
    show(true);
    expect(opened()).toHaveLength(1);
    sources.at(-1).says('message', 7);
    expect([one.heard.mock.calls.length, other.heard.mock.calls.length]).toEqual([0, 1]);
  });
});
