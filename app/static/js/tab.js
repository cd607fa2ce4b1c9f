// What the browser's tab shows of the desk, for those who look elsewhere: how many orders wait, and in what mode.

const SIZE = 64;             // drawn larger than the 16 pixels that it is shown at, for sharp screens
const MOST = 9;
const MOMENT = 100;          // milliseconds
const EDGE = 14;             // how far the corners are cut off or rounded

const TILES = {
  paper: { colours: ['--mode-paper', '--mode-paper-ink'], sign: 'M14 33 27 46 50 19' },
  live: { colours: ['--mode-live', '--mode-live-ink'], sign: 'M14 33 27 46 50 19' },
  disabled: { colours: ['--mode-halted', '--mode-halted-ink'], sign: 'M16 32H48', cut: true },
  stale: { colours: ['--stale', '--stale-ink'], sign: 'M32 14V36M32 46V50' },
};

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function outline(pen, cut) {
  pen.beginPath();
  if (!cut) return pen.roundRect(0, 0, SIZE, SIZE, EDGE);
  const [near, far] = [EDGE + 4, SIZE - EDGE - 4];   // an octagon, like the sign on the badge
  const corners = [[near, 0], [far, 0], [SIZE, near], [SIZE, far], [far, SIZE], [near, SIZE], [0, far], [0, near]];
  for (const corner of corners) pen.lineTo(...corner);
  return pen.closePath();
}

/** A tile in the colour of the mode, with the number that wait: nothing smaller can be read at 16 pixels. */
function draw({ cut, sign }, [ground, ink], count) {
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = SIZE;
  const pen = canvas.getContext('2d');
  pen.fillStyle = ground;
  outline(pen, cut);
  pen.fill();
  pen.fillStyle = pen.strokeStyle = ink;
  if (count) {
    const text = count > MOST ? `${MOST}+` : String(count);
    pen.font = `800 ${count > MOST ? 40 : 54}px system-ui, sans-serif`;
    pen.textAlign = 'center';
    const { actualBoundingBoxAscent: above } = pen.measureText(text);
    pen.fillText(text, SIZE / 2, (SIZE + above) / 2, SIZE - 6);
  } else {
    pen.lineWidth = 9;
    pen.lineCap = pen.lineJoin = 'round';
    pen.stroke(new Path2D(sign));
  }
  return canvas.toDataURL();
}

/** show({mode, count, stale}): touches the title and the icon only where they say something else. */
export function createTab() {
  const icon = document.querySelector('link[rel="icon"]');
  const name = document.title.replace(/^\(\d+\) /, '');
  let tile, number, due, drawn;

  /** A moment later: to read a colour while rows are being changed makes the browser work out the whole page for it. */
  function soon() {
    clearTimeout(due);
    due = setTimeout(paint, MOMENT);
  }

  function paint() {
    const colours = tile.colours.map(colour);
    const look = `${colours} ${tile.sign} ${number}`;
    if (look === drawn) return;
    drawn = look;
    icon.type = 'image/png';
    icon.href = draw(tile, colours, number);
  }

  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', soon);

  return {
    show({ mode, count, stale }) {
      const title = count ? `(${count}) ${name}` : name;
      if (document.title !== title) document.title = title;
      tile = TILES[stale ? 'stale' : mode];
      number = stale ? 0 : Math.min(count, MOST + 1);   // one that cannot be trusted is not for a glance
      soon();
    },
  };
}
