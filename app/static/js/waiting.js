// Which orders the list of those that wait shows, and in what order. An order that waits no more stays in its place for
// a while and says what became of it; and while a pointer is over the list nothing moves beneath it.

const LINGER = 5000;            // milliseconds
const LINGER_REFUSED = 20_000;  // where it was not what the operator wanted
const MOST_SETTLED = 100;

const soonest = (one, other) => (one.expires_at < other.expires_at || (one.expires_at === other.expires_at && one.id < other.id) ? -1 : 1);

export function createWaitingList() {
  const settled = new Map();   // id -> {until, end, refused}: `end` is the order as it was decided, where that is known
  let shown = new Map();       // id -> order, as the rows stand

  const waits = (id) => shown.has(id) && !settled.has(id);

  function settle(id, now, { end, refused = false } = {}) {
    settled.set(id, { end, refused, until: now + (refused ? LINGER_REFUSED : LINGER) });
  }

  return {
    settle, waits,

    get: (id) => shown.get(id),
    end: (id) => settled.get(id)?.end,
    waiting: () => [...shown.values()].filter(({ id }) => waits(id)),

    /** Whether some row has said for long enough what became of its order. */
    overdue: (now) => [...settled.values()].some(({ until }) => until <= now),

    /**
     * Takes in what waits and what was decided; `keep` says which settled rows stay although their time is over, and
     * `asked` which ones an answer is still to come for: it needs a row to be told in.
     */
    update({ waiting, decided, now, still, keep, asked = () => false }) {
      const here = new Map(waiting.map((order) => [order.id, order]));
      for (const id of shown.keys()) if (!here.has(id) && !settled.has(id)) settle(id, now);
      for (const [id, one] of settled) one.end ??= decided.find((order) => order.id === id);
      // What was settled by an answer stays so, though a read that began before it still lists it.
      const stays = ([id, { until }]) => shown.has(id) && (here.has(id) || until > now || keep(id) || asked(id));
      const lingering = new Set([...settled].filter(stays).map(([id]) => id));
      // However many went as they were meant to, one that did not is still to be seen.
      const plenty = [...lingering].filter((id) => !settled.get(id).refused && !asked(id)).slice(0, -MOST_SETTLED);
      for (const id of plenty) lingering.delete(id);
      for (const id of settled.keys()) if (!lingering.has(id) && !here.has(id)) settled.delete(id);

      const all = new Map([...shown].filter(([id]) => lingering.has(id)));
      for (const [id, order] of here) all.set(id, order);
      const placed = still ? [...shown.keys()].filter((id) => all.has(id)) : [];
      const isPlaced = new Set(placed);
      const rest = [...all.values()].filter(({ id }) => !isPlaced.has(id)).sort(soonest);
      shown = new Map([...placed.map((id) => [id, all.get(id)]), ...rest.map((order) => [order.id, order])]);
      return [...shown.values()];
    },
  };
}
