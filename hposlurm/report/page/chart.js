// A figure: a canvas that is drawn when it is first seen, with hover, keyboard and the same data as a table.

const CHARTS = [];

// draw(ctx, width, height) draws and returns its marks: [{ x, y, trial, text }], for hover and keyboard.
// highlight(ctx, trial) draws one trial on top. table() returns [heads, rows]. controls are elements above the canvas.
function chart({ id, title, summary, height = 300, draw, highlight, table, controls = [], minWidth = 0, nearest, watch = [] }) {
  const base = el('canvas', { 'aria-hidden': 'true' });
  const top = el('canvas', { class: 'top', 'aria-hidden': 'true' });
  const stage = el('div', {
    class: 'stage', tabindex: '0', role: 'img', 'aria-label': `${title}. ${summary ? summary() : ''}`, id: `chart-${id}`,
  }, base, top);
  const scroller = el('div', { class: 'scroll canvas' }, stage);
  const note = el('p', { class: 'note' });
  const figure = el('figure', { class: 'chart' },
    el('figcaption', {}, title),
    controls.some(Boolean) ? el('div', { class: 'controls' }, controls) : null,
    scroller, note, table ? asTable(title, table) : null);
  const self = { id, figure, stage, base, top, marks: [], isSeen: false, width: 0, height: 0, note, nearest };
  self.redraw = () => {
    if (!self.isSeen) return;
    self.width = Math.max(minWidth, Math.floor(scroller.clientWidth));
    self.height = typeof height === 'function' ? height(self.width) : height;
    if (self.width < 40) return;
    for (const canvas of [base, top]) sizeCanvas(canvas, self.width, self.height);
    stage.style.width = `${self.width}px`;
    stage.style.height = `${self.height}px`;
    note.textContent = '';
    self.marks = draw(base.getContext('2d'), self.width, self.height, self) || [];
    if (summary) stage.setAttribute('aria-label', `${title}. ${summary()} Arrow keys go through the trials, Enter shows one.`);
    self.highlight(HOVERED);
  };
  self.highlight = (trial) => {
    const ctx = top.getContext('2d');
    ctx.clearRect(0, 0, self.width, self.height);
    if (self.isSeen && highlight && trial !== null) highlight(ctx, trial, self);
    if (self.overlay) self.overlay(ctx);
  };
  self.say = (text) => { note.textContent = text; };
  CHARTS.push(self);
  SEEN.observe(stage);
  SIZES.observe(scroller);
  addHover(self);
  if (watch.length) onChoice(watch, () => later(self));
  stage.chart = self;
  return self;
}

function sizeCanvas(canvas, width, height) {
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  canvas.getContext('2d').setTransform(ratio, 0, 0, ratio, 0, 0);
}

const SEEN = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const own = entry.target.chart;
    if (entry.isIntersecting && own && !own.isSeen) {
      own.isSeen = true;
      own.redraw();
    }
  }
}, { rootMargin: '300px' });

const SIZES = new ResizeObserver((entries) => {
  for (const entry of entries) {
    const own = CHARTS.find((each) => entry.target.contains(each.stage));
    if (own && own.isSeen && Math.abs(own.width - entry.target.clientWidth) > 1) later(own);
  }
});

const WAITING = new Set();
// Draws in the next frame, however often it is asked for until then
function later(own) {
  if (!WAITING.size) {
    requestAnimationFrame(() => {
      const due = [...WAITING];
      WAITING.clear();
      for (const each of due) each.redraw();
    });
  }
  WAITING.add(own);
}

function redrawAll() {
  for (const own of CHARTS) later(own);
}

const MOST_TABLE_ROWS = 500;
function asTable(title, table) {
  const holder = el('div', {});
  const details = el('details', { class: 'data' }, el('summary', {}, 'The figure as a table'), holder);
  details.addEventListener('toggle', () => {
    clear(holder);
    if (!details.open) return;
    const [heads, rows] = table();
    const more = rows.length - MOST_TABLE_ROWS;
    holder.append(smallTable(title, heads, rows.slice(0, MOST_TABLE_ROWS)));
    if (more > 0) holder.append(el('p', { class: 'note' }, `${counted(more, 'further row')} not shown`));
  });
  return details;
}

// Of very many lines the best ones are drawn and an even sample of the others: more would only make a grey area
const MOST_LINES = 2500;
const LINES_PER_FRAME = 300;

function someLines(ordered) {
  if (ordered.length <= MOST_LINES) return ordered;
  const best = ordered.slice(-500);
  const every = (ordered.length - 500) / (MOST_LINES - 500);
  return [...Array(MOST_LINES - 500).keys()].map((k) => ordered[Math.floor(k * every)]).concat(best);
}

// Paints the items over several frames, so that the page stays usable meanwhile; a later drawing ends an earlier one
function paintInFrames(self, items, paint, done) {
  const token = {};
  let place = 0;
  self.painting = token;
  self.isDrawn = false;
  const go = () => {
    if (self.painting !== token) return;
    const chunk = items.slice(place, place + LINES_PER_FRAME);
    place += chunk.length;
    paint(chunk);
    if (place < items.length) requestAnimationFrame(go);
    else { done(); self.isDrawn = true; }
  };
  go();
}

// The frame of a plot with two axes: returns the box and both scales
function frame(ctx, width, height, x, y) {
  ctx.clearRect(0, 0, width, height);
  const box = { top: 24, bottom: height - 40, right: width - 12, left: 0, width };
  const sy = scaleOf({ ...y, from: box.bottom, to: box.top });
  box.left = leftMargin(ctx, sy, y.ticks, box.bottom - box.top);
  const sx = scaleOf({ ...x, from: box.left, to: box.right });
  drawAxisX(ctx, sx, box, x.label, { ticks: x.ticks });
  drawAxisY(ctx, sy, box, y.label, y.ticks);
  line(ctx, box.left, box.bottom, box.right, box.bottom, colour('axis'));
  return { box, sx, sy };
}

function clipTo(ctx, box, paint) {
  ctx.save();
  ctx.beginPath();
  ctx.rect(box.left - 5, box.top - 5, box.right - box.left + 10, box.bottom - box.top + 10);
  ctx.clip();
  paint();
  ctx.restore();
}
