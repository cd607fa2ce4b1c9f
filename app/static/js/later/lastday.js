// The last 24 hours at a glance: decisions by the hour, how long people took, lockouts and changes of the mode on one
// time line. Imported, with the library that draws, once somebody comes near it.

import UPlot from '../../vendor/uplot.js';
import { lowerCase } from '../ascii.js';
import { MODES } from '../changes.js';
import { HOUR, SECOND, age, utcTime } from '../clock.js';
import { visible } from '../rows.js';

// From the bottom of a bar to its top.
const OUTCOMES = [
  ['released', 'Released by the gate'], ['approved', 'Approved'], ['canceled', 'Canceled'], ['expired', 'Timed out'],
  ['rejected', 'Rejected'], ['blocked', 'Blocked'],
];
const GUTTER = 56;       // pixels left of the plots, for their scales; likewise of the lanes in app.css
const EDGE = 10;         // and right of them
const NARROW = 560;
const EVERY = 60_000;    // milliseconds
const MOST_LANES = 8;
// What two lines of a scale may be apart.
const COUNTS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6];
const DURATIONS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400];
const LANE_FONT = '12px system-ui, sans-serif';

const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const hourOf = (ms) => new Date(ms).toISOString().slice(11, 16);
const minute = (at) => `${at.slice(5, 10)} ${at.slice(11, 16)}`;
const seconds = (value) => (value === null ? '–' : age(value * SECOND));

/** An element with these attributes and children; texts are texts, never markup. */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children.flat());
  return element;
}

const totalOf = (hour) => OUTCOMES.reduce((sum, [key]) => sum + hour[key], 0);

function hourInWords(hour) {
  const start = Date.parse(hour.start);
  const parts = OUTCOMES.filter(([key]) => hour[key]).map(([key, name]) => `${hour[key]} ${lowerCase(name)}`);
  const took = hour.decided_by_people ? ` People took ${seconds(hour.median_seconds)} (median), ${seconds(hour.p90_seconds)} (9 of 10).` : '';
  return `${hourOf(start)}–${hourOf(start + HOUR)}: ${parts.join(', ') || 'nothing decided'}.${took}`;
}

// Plots

function scales(narrow, values) {
  const axis = { stroke: token('--ink-soft'), font: LANE_FONT, ticks: { show: false } };
  const grid = { stroke: token('--line'), width: 1 };
  return [
    {
      ...axis, grid: { show: false }, size: 26,
      splits: (u) => {
        const [first, every] = [u.scales.x.min, (narrow ? 6 : 3) * 3600];
        return Array.from({ length: 24 }, (_, n) => first + n * 3600).filter((at) => at % every === 0);
      },
      values: (u, splits) => splits.map((at) => hourOf(at * SECOND)),
    },
    { ...axis, grid, size: GUTTER, ...values },
  ];
}

function plot(target, day, { height, series, bands, data, values, narrow, label, pointed }) {
  const first = Date.parse(day.since) / SECOND;
  return new UPlot({
    width: target.clientWidth, height, series, bands, padding: [8, EDGE, 0, 0],
    axes: scales(narrow, values),
    scales: { x: { time: false, range: [first, first + 24 * 3600] }, y: { range: (u, low, high) => [0, Math.max(high, label === 'decisions' ? 4 : 10) * 1.08] } },
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
    hooks: { setCursor: [({ cursor: { idx } }) => pointed(idx)] },
  }, [day.hours.map(({ start }) => Date.parse(start) / SECOND + 1800), ...data], target);
}

function decisions(target, day, narrow, pointed) {
  const bars = UPlot.paths.bars({ size: [0.82, 48] });
  // The whole bar in the colour of what is on top, then over it all but that, and so on.
  const data = OUTCOMES.map((_, top) => day.hours.map((hour) => OUTCOMES.slice(0, top + 1).reduce((sum, [key]) => sum + hour[key], 0) || null));
  const series = OUTCOMES.map(([key]) => ({ fill: token(`--outcome-${key}`), stroke: token('--surface'), width: 1, paths: bars, points: { show: false } }));
  return plot(target, day, {
    height: narrow ? 150 : 180, data: data.reverse(), series: [{}, ...series.reverse()], narrow, pointed, label: 'decisions',
    values: { incrs: COUNTS, values: (u, ticks) => ticks.map((n) => n.toLocaleString('en-US')) },
  });
}

function times(target, day, narrow, pointed) {
  const stroke = token('--outcome-approved');
  const line = { stroke, width: 2, points: { show: true, size: 7, stroke, fill: token('--surface') } };
  return plot(target, day, {
    height: narrow ? 110 : 120, narrow, pointed, label: 'times',
    data: ['median_seconds', 'p90_seconds'].map((key) => day.hours.map((hour) => hour[key])),
    series: [{}, line, { ...line, width: 1, dash: [5, 4], points: { ...line.points, size: 5 } }],
    values: { incrs: DURATIONS, values: (u, ticks) => ticks.map((n) => (n ? age(n * SECOND).replace(/ 00?[ms]/g, '') : '0')) },
  });
}

// The time line

function lanes(day) {
  const first = Date.parse(day.since);
  const share = (at) => Math.min(1, Math.max(0, (Date.parse(at) - first) / (24 * HOUR)));
  const place = (element, from, to) => {
    element.style.setProperty('left', `${share(from) * 100}%`);
    element.style.setProperty('width', `${(share(to) - share(from)) * 100}%`);
    return element;
  };
  const byTicker = new Map();
  for (const lock of day.lockouts) byTicker.set(lock.ticker, [...(byTicker.get(lock.ticker) ?? []), lock]);
  const rows = [...byTicker].slice(0, MOST_LANES).map(([ticker, locks]) => make('div', { class: 'lane' },
    make('span', { class: 'lane-name' }, ticker === '*' ? 'every' : ticker),
    make('div', { class: 'lane-track' }, locks.map((lock) => place(make('span', {
      class: 'lane-bar', title: lockInWords(lock), ...(lock.removed_at && { 'data-removed': '' }),
    }, visible(lock.reason)), lock.created_at, lock.removed_at ?? lock.expires_at)))));
  const modes = day.modes.map(({ at, from }, n) => [from, day.modes[n - 1]?.at ?? day.since, at]);
  const last = day.modes.at(-1);
  if (last) modes.push([last.to, last.at, day.server_time]);
  const more = byTicker.size - rows.length;
  return make('div', { class: 'lanes', 'aria-hidden': 'true' },
    last ? [make('div', { class: 'lane' }, make('span', { class: 'lane-name' }, 'Mode'), make('div', { class: 'lane-track' }, modes.map(
      ([mode, from, to]) => place(make('span', { class: 'lane-mode', 'data-mode': mode, title: MODES[mode] }, MODES[mode]), from, to))))] : [],
    rows, more > 0 || day.more_lockouts ? [make('p', { class: 'help' }, `${more || 'Many'} more locked out: in the table below.`)] : []);
}

function lockInWords(lock) {
  const who = lock.removed_at ? `, removed ${minute(lock.removed_at)} by ${lock.removed_by}` : '';
  return `${lock.ticker === '*' ? 'Every symbol' : lock.ticker}: ${minute(lock.created_at)} to ${minute(lock.expires_at)} UTC (${lock.lockout_type.replace('_', ' ')}) by ${lock.created_by}${who}: ${visible(lock.reason)}`;
}

const modeInWords = (change) => `${minute(change.at)} UTC: ${MODES[change.from]} to ${MODES[change.to]} by ${change.by}${change.reason ? `: ${visible(change.reason)}` : ''}`;

// All of it in words and numbers, for those who do not see pictures

function table(day) {
  const head = ['Hour (UTC)', ...OUTCOMES.map(([, name]) => name), 'Median time', '9 of 10 within'];
  const cells = (hour) => [...OUTCOMES.map(([key]) => hour[key]), seconds(hour.median_seconds), seconds(hour.p90_seconds)];
  const list = (name, items) => (items.length ? [make('h3', {}, name), make('ul', {}, items.map((text) => make('li', {}, text)))] : []);
  return make('details', { class: 'in-numbers' }, make('summary', {}, 'In numbers'),
    make('div', { role: 'group', 'aria-label': 'Decisions by hour' }, make('table', {},
      make('thead', {}, make('tr', {}, head.map((name) => make('th', { scope: 'col' }, name)))),
      make('tbody', {}, day.hours.map((hour) => make('tr', {}, make('th', { scope: 'row' }, minute(hour.start)), cells(hour).map((cell, at) => make('td', { 'data-label': head[at + 1] }, String(cell)))))))),
    list('Lockouts', day.lockouts.map(lockInWords)), list('Changes of the mode', day.modes.map(modeInWords)));
}

function legend(day) {
  const total = (key) => day.hours.reduce((sum, hour) => sum + hour[key], 0);
  return make('ul', { class: 'legend' }, OUTCOMES.map(([key, name]) => make('li', {},
    make('span', { class: 'swatch', 'data-outcome': key, 'aria-hidden': 'true' }), `${name} `, make('strong', { class: 'num' }, total(key).toLocaleString('en-US')))));
}

/** Fills the section at every call: {read} gives the last day, or throws the server's no. */
function createLastDay({ section, read }) {
  const said = make('p', { class: 'help readout num', role: 'status' });
  const problem = make('p', { class: 'problem', role: 'alert' });
  const body = make('div');
  const when = make('p', { class: 'help' });
  let plots = [], day, at = null;

  section.replaceChildren(make('div', { class: 'card-head' }, make('h2', {}, 'Last 24 hours'), when), problem, body);

  function clear() {
    for (const one of plots) one.destroy();
    plots = [];
  }

  const latest = () => day.hours.findLastIndex(totalOf);

  function say(idx) {
    at = idx;
    const text = idx == null ? '' : hourInWords(day.hours[idx]);
    if (said.textContent !== text) said.textContent = text;
  }

  function pressed(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -24, End: 24 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = Math.min(23, Math.max(0, at == null ? latest() : at + step));
    const x = plots[0].valToPos(Date.parse(day.hours[next].start) / SECOND + 1800, 'x');
    for (const one of plots) one.setCursor({ left: x, top: 10 });
    say(next);
  }

  function figure(name, draw, ...words) {
    const target = make('div', { class: 'plot' });
    const shown = make('figure', {}, make('figcaption', {}, name, ...words), target);
    return { shown, draw: (narrow) => plots.push(draw(target, day, narrow, say)) };
  }

  function draw() {
    const open = body.querySelector('details')?.open;
    clear();
    const total = day.hours.reduce((sum, hour) => sum + totalOf(hour), 0);
    const byPeople = day.hours.some((hour) => hour.decided_by_people);
    const nothing = make('div', { class: 'empty small' }, make('p', {}, make('strong', {}, 'Nothing was decided in the last 24 hours.')));
    const figures = [
      ...(total ? [figure('Decisions per hour', decisions, legend(day))] : []),
      ...(byPeople ? [figure('Time to decision, by people', times, make('span', { class: 'help' }, ' median ', make('span', { class: 'key solid', 'aria-hidden': 'true' }), ', 9 of 10 within ', make('span', { class: 'key dashed', 'aria-hidden': 'true' })))] : []),
    ];
    const chart = make('div', { class: 'charts', tabindex: '0', role: 'group', 'aria-label': 'Charts by hour: the arrow keys go from hour to hour' },
      figures.map(({ shown }) => shown), figures.length ? said : []);
    chart.addEventListener('keydown', pressed);
    const line = day.lockouts.length || day.modes.length ? [make('figure', {}, make('figcaption', {}, 'Lockouts and changes of the mode'), lanes(day))] : [];
    body.replaceChildren(...(total ? [chart] : [nothing]), ...line, ...(total || line.length ? [table(day)] : []));
    when.textContent = `Until ${utcTime(Date.parse(day.server_time))} UTC, by the hour.`;
    for (const one of figures) one.draw(section.clientWidth < NARROW);
    const details = body.querySelector('details');
    if (details) details.open = !!open;
  }

  let width = 0;
  new ResizeObserver(() => {
    if (!day || body.clientWidth === width) return;
    width = body.clientWidth;   // less what the section keeps free at its edges, which grows with the text
    draw();
  }).observe(body);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { if (day) draw(); });

  return async () => {
    try {
      day = await read();
      problem.textContent = '';
      width = body.clientWidth;
      const focused = section.contains(document.activeElement) && document.activeElement.className;
      draw();
      if (focused) section.getElementsByClassName(focused)[0]?.focus({ preventScroll: true });
    } catch (no) {
      if (no.status !== 401) problem.textContent = `Not read: ${no.message}`;   // that a session has ended is said above
    }
  };
}

/** A file of ours that was linked here is there when this resolves; without it the picture is only less neat. */
const styled = (path) => new Promise((resolve) => {
  const { href } = new URL(path, import.meta.url);
  const link = Object.assign(document.createElement('link'), { rel: 'stylesheet', href, onload: resolve, onerror: resolve });
  document.head.append(link);
});

/** Shows it, and anew every minute for as long as it is looked at. */
export async function watchLastDay(section, api) {
  let near = true, readAt = -Infinity;
  await Promise.all([styled('../../vendor/uplot.css'), styled('../../css/lastday.css')]);
  const show = createLastDay({ section, read: () => api.read('history') });

  function look() {
    if (!near || document.hidden || performance.now() - readAt < EVERY) return;
    readAt = performance.now();
    show();
  }

  new IntersectionObserver((seen) => {
    near = seen.at(-1).isIntersecting;
    look();
  }).observe(section);
  document.addEventListener('visibilitychange', look);
  setInterval(look, EVERY / 4);
  look();
}
