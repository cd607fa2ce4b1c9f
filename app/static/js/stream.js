// The server's event stream: hears that something changed, knows when it hears nothing any more, and tries again.

const SILENCE = 25_000;    // milliseconds; the server says something every ten seconds
const SOONEST = 1000;      // milliseconds before it is tried again, doubled each time
const LATEST = 30_000;

/**
 * open({heard, lost}) until close(). heard({news, version}) is every sign of life: `news` that something changed, else a
 * beat. lost() is every try that failed. An EventSource gives up by itself when it is refused, so each try is a new one.
 */
export function createStream({ url, EventSource = window.EventSource, random = Math.random }) {
  let source, timer, failures, listener;

  function start(to) {
    source = new EventSource(url);
    const alive = (news) => ({ data }) => {
      if (!news) failures = 0;   // not before it has lasted: one that ends at once, again and again, is no stream
      expect(to);
      to.heard({ news, version: JSON.parse(data).state_version });
    };
    source.addEventListener('message', alive(true));
    source.addEventListener('beat', alive(false));
    source.addEventListener('error', () => again(to));
    expect(to);
  }

  function expect(to) {
    clearTimeout(timer);
    timer = setTimeout(() => again(to), SILENCE);
  }

  function again(to) {
    close();
    // Somewhere between half of it and all, so that a thousand pages do not come back at once.
    timer = setTimeout(() => start(to), Math.min(LATEST, SOONEST * 2 ** failures) * (0.5 + random() / 2));
    failures += 1;
    to.lost();
  }

  function close() {
    clearTimeout(timer);
    source?.close();
    source = null;
  }

  return {
    open(to) {
      close();
      failures = 0;
      listener = to;
      start(to);
    },
    close,
    /** Close the connection, which may be silent for good, and open another one in a moment. */
    reconnect() {
      if (source) again(listener);
    },
  };
}

const NAME = 'countersign.stream';
const TAKEN_OVER = SILENCE + 5000;   // a page that holds the stream and says nothing for so long is asleep
const TRYING = 2 * LATEST;           // unless it said that it goes on trying

/** Where pages cannot share (a browser lets them only under HTTPS, and on the machine itself) those in view have their own. */
function whileInView(stream) {
  let to;
  document.addEventListener('visibilitychange', () => {
    if (to && document.hidden) stream.close();
    else if (to) stream.open(to);
  });
  return {
    open(listener) {
      to = listener;
      if (!document.hidden) stream.open(to);
    },
    close() {
      to = null;
      stream.close();
    },
    reconnect: stream.reconnect,
  };
}

/**
 * The same for all pages of a browser together. Without HTTP/2 a browser opens only six connections to a server: six
 * tabs with a stream each would leave none to halt with. So one page holds the stream, and a lock that says so, and tells
 * the others; when it goes, the next one has the lock.
 */
export function createSharedStream({ stream, locks = navigator.locks, Channel = window.BroadcastChannel }) {
  const alone = whileInView(stream);
  if (!locks || !Channel) return alone;
  let channel, timer, request, release, version;
  let asking = false;   // and nothing was heard yet

  /** A reply is for whoever asked: those who follow already would take its old version for a fresh sign of life. */
  function hear({ asks, reconnects, reply, sign = asking && reply }, to) {
    if (reconnects && release) stream.reconnect();
    if (asks && version !== undefined) channel.postMessage({ reply: { news: false, version } });
    if (!sign || release) return;
    expect(to, sign.lost ? TRYING : TAKEN_OVER);
    tell(sign, to);
  }

  function tell(sign, to) {
    asking = false;
    if (sign.lost) to.lost();
    else to.heard(sign);
  }

  function expect(to, patience) {
    clearTimeout(timer);
    timer = setTimeout(() => {
      to.lost();
      follow(to, true);
    }, patience);
  }

  /** Waits for its turn to hold the stream, or takes it from a page that sleeps on it. */
  function follow(to, steal = false) {
    request?.abort();
    const mine = request = new AbortController();
    expect(to, TAKEN_OVER);
    locks.request(NAME, steal ? { steal } : { signal: mine.signal }, () => new Promise((resolve) => {
      if (mine !== request) return resolve();
      release = resolve;
      return lead(to);
    })).catch(({ name }) => {
      if (mine !== request) return;
      rest();
      if (name === 'AbortError') follow(to);   // another page took it over
      else giveUp(to);
    });
  }

  /** A browser may have locks and channels and refuse them: where it is told to keep nothing, or in some frames. */
  function giveUp(to) {
    close();
    alone.open(to);
  }

  function lead(to) {
    clearTimeout(timer);
    const pass = (sign) => {
      version = sign.version;
      channel.postMessage({ sign });
      tell(sign, to);
    };
    stream.open({ heard: pass, lost: () => pass({ lost: true }) });
  }

  function rest() {
    stream.close();
    release?.();
    release = version = undefined;
  }

  function close() {
    clearTimeout(timer);
    request?.abort();
    request = undefined;
    channel?.close();
    channel = undefined;
    rest();
    alone.close();
  }

  return {
    open(to) {
      close();
      try {
        channel = new Channel(NAME);
      } catch {
        return giveUp(to);
      }
      channel.onmessage = ({ data }) => hear(data, to);
      asking = true;
      channel.postMessage({ asks: true });
      return follow(to);
    },
    close,
    /** Of the page that holds the stream: the connections of a host are shared by all pages of a browser. */
    reconnect() {
      if (channel && !release) channel.postMessage({ reconnects: true });
      else stream.reconnect();
    },
  };
}
