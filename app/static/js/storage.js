// What this browser remembers for the page. One that is told to keep nothing throws as soon as its storage is named: then
// it is remembered for as long as the page is open.

export function reach(name) {
  try {
    return window[name];
  } catch {
    const items = new Map();
    return {
      getItem: (key) => items.get(key) ?? null,
      setItem: (key, value) => { items.set(key, value); },
      removeItem: (key) => { items.delete(key); },
    };
  }
}

export const inBrowser = reach('localStorage');
export const inTab = reach('sessionStorage');
