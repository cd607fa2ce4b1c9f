// The server's clock, and times as words. Everything shown is UTC.

const SECOND = 1000;
const HOUR = 3600 * SECOND;

/** The clock of the database, whatever this machine's own clock says. */
export function createClock(serverTime) {
  let ahead = Date.parse(serverTime) - Date.now();
  return {
    now: () => Date.now() + ahead,
    /** The answer was made about half-way between asking and hearing. */
    set(time, sent, received) {
      ahead = Date.parse(time) - (sent + received) / 2;
    },
  };
}

export const utcTime = (ms) => new Date(ms).toISOString().slice(11, 19);

/** "16:27:01 UTC" today, "2026-11-23 16:27 UTC" on another day. */
export function utcEnd(ms, now) {
  const end = new Date(ms).toISOString();
  const today = new Date(now).toISOString().slice(0, 10);
  return end.startsWith(today) ? `${end.slice(11, 19)} UTC` : `${end.slice(0, 10)} ${end.slice(11, 16)} UTC`;
}

const two = (number) => String(number).padStart(2, '0');

/** "59m 32s", "3h 04m 10s", "2d 03h 04m 10s". Rounded up, so that it says 0s only when it is over. */
export function timeLeft(ms) {
  const seconds = Math.max(0, Math.ceil(ms / SECOND));
  const [days, hours, minutes] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  const s = seconds % 60;
  if (days) return `${days}d ${two(hours)}h ${two(minutes)}m ${two(s)}s`;
  if (hours) return `${hours}h ${two(minutes)}m ${two(s)}s`;
  return minutes ? `${minutes}m ${two(s)}s` : `${s}s`;
}

/** "12s", "3m 20s" since then: rounded down, for nothing is older than it is. */
export const age = (ms) => timeLeft(Math.max(0, Math.floor(ms / SECOND) * SECOND));

export function minutesInWords(minutes) {
  return minutes === 1 ? '1 minute' : `${minutes} minutes`;
}

export { HOUR, SECOND };
