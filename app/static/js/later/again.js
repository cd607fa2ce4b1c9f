// On the page that stands in for another one while the desk cannot answer: asks whether it can, and loads that page then.

const EVERY = 2000;      // milliseconds
const PATIENCE = 10_000;

const wait = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });
const isReady = () => fetch('/readyz', { cache: 'no-store', signal: AbortSignal.timeout(PATIENCE) }).then(({ ok }) => ok, () => false);

// Not all that stood before a closed door at the very same moment.
do await wait(EVERY * (0.8 + Math.random() * 0.4));
while (!await isReady());
window.location.reload();
