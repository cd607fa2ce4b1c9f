"""A change draws anew what changed, and leaves the rest of a full page alone."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.browser.conftest import AsScript, LockOut, SendOrder, SignIn
from tests.browser.parts import awake, decisions, look_again, rows, waiting
from tests.crowds import orders_wait, symbols_are_locked_out
from tests.serving import Server

# The ids of the rows in which anything changes from now on, less the time that each has left.
WATCH = """() => {
  window.touched = new Set();
  const touch = (node) => { if (node?.dataset?.id) window.touched.add(node.dataset.id); };
  new MutationObserver((changes) => {
    for (const { target, addedNodes, removedNodes } of changes) {
      const element = target.closest ? target : target.parentElement;
      if (element?.closest('[data-slot="left"], progress')) continue;
      touch(element?.closest('[data-id]'));
      [...addedNodes, ...removedNodes].forEach(touch);
    }
  }).observe(document.querySelector('main'), { subtree: true, childList: true, attributes: true });
}"""


def touched(page: Page) -> list[str]:
    ids: list[str] = page.evaluate("() => [...window.touched].sort()")
    return ids


def test_of_many_rows_the_one_that_it_is_about(
    page: Page, sign_in: SignIn, send_order: SendOrder, as_script: AsScript, lock_out: LockOut, server: Server
) -> None:
    wanted = send_order("AAPL")
    orders_wait(server, 60)
    symbols_are_locked_out(server, 30)
    sign_in(page)
    awake(page)
    expect(waiting(page)).to_have_count(61)
    expect(rows(page)).to_have_count(30)
    look_again(page)
    page.evaluate(WATCH)
    as_script("operator", "POST", f"/approvals/{wanted}/approve", {})
    expect(decisions(page)).to_have_count(1)
    page.wait_for_timeout(2000)  # clocks go on meanwhile
    assert touched(page) == [wanted]
    made = lock_out("MSFT", minutes=30)
    expect(rows(page)).to_have_count(31)
    assert touched(page) == sorted([wanted, made])
