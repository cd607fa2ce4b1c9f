// Whether somebody looks at the desk: at this page, or at another one of the same browser.

const NAME = 'countersign.in-front';

/** The page in front holds a lock for as long as it is: the browser lets go of it with the page, however that ends. */
export function createFront({ locks = navigator.locks, here = () => !document.hidden && document.hasFocus() } = {}) {
  let leave;

  function look() {
    if (here() === !!leave) return;
    if (leave) {
      leave = leave();
      return;
    }
    const gone = new Promise((resolve) => { leave = resolve; });
    locks.request(NAME, { mode: 'shared' }, () => gone).catch(() => {});   // refused: then pages know of themselves alone
  }

  async function elsewhere() {
    const { held } = await locks.query();
    return held.some(({ name }) => name === NAME);
  }

  if (locks) {
    for (const type of ['focus', 'blur']) window.addEventListener(type, look);
    document.addEventListener('visibilitychange', look);
    look();
  }
  return async () => here() || (!!locks && elsewhere().catch(() => false));
}
