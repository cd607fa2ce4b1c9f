// Buttons that copy what is shown this once. Browsers let a page do so under HTTPS and on the machine itself; elsewhere
// there is no button, and one copies by hand.

for (const button of document.querySelectorAll('[data-copies]')) {
  button.hidden = !navigator.clipboard;
  button.addEventListener('click', async () => {
    const said = await navigator.clipboard.writeText(document.getElementById(button.dataset.copies).textContent)
      .then(() => 'Copied', () => 'Copy it by hand: the browser did not let the page');
    button.textContent = said;
    document.getElementById('copied').textContent = `${said}.`;
  });
}
