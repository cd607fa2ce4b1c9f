"""Reflow: from 280 pixels of width, and with text of twice the size, nothing is cut off or scrolled sideways."""

from __future__ import annotations

from playwright.sync_api import Page

SIZES = [(width, root) for width in (280, 360, 390, 768) for root in (16, 32)]  # pixels
HEIGHT = 900

# What does not fit inside `scope`, in words. What is `aria-hidden` is a picture, whose words are elsewhere.
FAULTS = """(scope) => {
  const BLOCKS = 'p, td, th, li, dd, dt, pre, label, button, a, h1, h2, h3, legend, summary, div';
  const root = document.querySelector(scope);
  const wide = document.documentElement.clientWidth;
  const faults = new Set();

  function name(element) {
    const text = (element.textContent || element.value || '').trim().replace(/\\s+/g, ' ').slice(0, 40);
    return `${element.tagName.toLowerCase()}.${element.className?.baseVal ?? element.className} “${text}”`;
  }
  const isClipped = (element) => (
    !!element && (getComputedStyle(element).clipPath !== 'none' || isClipped(element.parentElement)));
  const isShown = (element) => (
    element.checkVisibility({ visibilityProperty: true }) && element.getClientRects().length > 0
    && !element.closest('.skip, [aria-hidden=true], .toast, svg') && !isClipped(element));

  const page = document.documentElement.scrollWidth;
  if (page > wide) faults.add(`the page is ${page} wide, of ${wide}`);
  for (const element of [...root.querySelectorAll('*')].filter(isShown)) {
    const { left, right, width } = element.getBoundingClientRect();
    if (width && (left < -1 || right > wide + 1)) faults.add(`beside the window: ${name(element)}`);
    const clips = getComputedStyle(element).overflowX !== 'visible' && !element.matches('input, progress, select');
    if (clips && element.scrollWidth > element.clientWidth + 1) faults.add(`cut off: ${name(element)}`);
    const around = (element.closest(BLOCKS) ?? element).getBoundingClientRect();
    for (const node of element.childNodes) {
      if (node.nodeType !== Node.TEXT_NODE || !node.data.trim()) continue;
      const range = document.createRange();
      range.selectNodeContents(node);
      const text = range.getBoundingClientRect();
      const beside = text.left < around.left - 1 || text.right > around.right + 1;
      if (beside) faults.add(`outside of its box: ${name(element)}`);
    }
  }

  const seen = 'h1, h2, .badge strong, .state-words, .ticker, .outcome';
  const pressed = 'a[href], button, input:not([type=hidden]), select, textarea, summary';
  for (const element of [...root.querySelectorAll(`${seen}, ${pressed}`)].filter(isShown)) {
    element.scrollIntoView({ block: 'center', inline: 'nearest', behavior: 'instant' });
    const [box] = element.getClientRects();
    const found = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
    const isIt = found && (element.contains(found) || (element.matches(seen) && found.contains(element)));
    if (!isIt) faults.add(`covered: ${name(element)} by ${found ? name(found) : 'nothing'}`);
  }
  return [...faults];
}"""


def resize(page: Page, width: int, root: int) -> None:
    page.set_viewport_size({"width": width, "height": HEIGHT})
    page.evaluate(
        "(size) => { document.documentElement.style.setProperty('font-size', `${size}px`);"
        " for (const one of document.querySelectorAll('details')) one.open = true; }",
        root,
    )


def faults(page: Page, scope: str = "body", sizes: list[tuple[int, int]] = SIZES) -> list[str]:
    """Everything that does not fit, at each size, with all details opened."""
    found = []
    for width, root in sizes:
        resize(page, width, root)
        # The page may draw its charts anew in the next frame.
        page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        found += [f"{width} px, text of {root} px: {fault}" for fault in page.evaluate(FAULTS, scope)]
    return found
