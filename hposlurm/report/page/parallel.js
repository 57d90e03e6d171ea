// Parallel coordinates: a line per trial, an axis per parameter and objective. A stretch of an axis that is brushed
// filters the table and all other figures. Inactive parameters have a tick of their own below the axis.

section('parallel', 'Parallel coordinates', () => {
  const axes = () => [...DIFFERING, ...goalAxes()];
  if (DIFFERING.length < 1 || !TRIALS.objectives.some((goal) => goal.values.some((value) => value !== null))) return null;
  const own = chart({
    id: 'parallel', title: 'Parallel coordinates: drag along an axis to keep only the trials that cross it there', height: 340,
    minWidth: Math.max(0, 76 * axes().length), nearest: nearestLine,
    draw: (ctx, width, height, self) => drawParallel(ctx, width, height, self, axes()),
    highlight: (ctx, trial, self) => {
      const points = self.lines && self.lines.get(trial);
      if (points) { strokePath(ctx, points, colour('accent'), 3); for (const [x, y] of points) dot(ctx, x, y, 3.5, colour('accent')); }
    },
    summary: () => `${counted(SELECTED.length, 'trial')} of ${TRIALS.count} selected${brushes().length ? `, ${counted(brushes().length, 'axis')} brushed`.replace('axiss', 'axes') : ''}`,
    table: () => [['trial', ...axes().map((axis) => axis.title)], SELECTED.map((i) => [trialName(i), ...axes().map((axis) => cellText(axis, i))])],
    controls: [...objectiveControl(), studyKeys(), typedBrush(axes())],
    watch: ['obj'],
  });
  addBrushing(own);
  SELECTION_LISTENERS.push(() => later(own));
  return [own.figure, brushChips()];
}, 'Parallel');

function goalAxes() {
  return TRIALS.objectives.map((goal) => ({ ...goal.best, key: `value.${goal.name}`, title: goal.name, values: goal.values, isGoal: true }));
}

function axisColumns() {
  return new Map([...TRIALS.byKey, ...goalAxes().map((axis) => [axis.key, axis])]);
}
for (const axis of goalAxes()) TRIALS.byKey.set(axis.key, axis);

function drawParallel(ctx, width, height, self, axes) {
  ctx.clearRect(0, 0, width, height);
  const box = { top: 44, bottom: height - 52, left: 44, right: width - 44 };
  const inactiveY = height - 24;
  const gap = axes.length > 1 ? (box.right - box.left) / (axes.length - 1) : 0;
  self.axes = axes.map((axis, k) => {
    const x = box.left + k * gap;
    const scale = axis.kind === 'choice'
      ? scaleOf({ low: -0.5, high: axis.choices.length - 0.5, from: box.bottom, to: box.top }) : numberScale(axis, box);
    return { axis, x, scale, y: (i) => (axis.values[i] === null ? inactiveY : scale(axis.values[i])) };
  });
  self.box = box;
  self.lines = new Map();
  const picked = new Set(SELECTED);
  const order = [...Array(TRIALS.count).keys()].filter((i) => self.axes.some(({ axis }) => axis.isGoal && axis.values[i] !== null));
  order.sort((a, b) => rankOf(b) - rankOf(a));
  const all = order.filter((i) => picked.has(i));
  const shownLines = someLines(all);
  const alpha = Math.max(0.12, Math.min(0.85, 80 / shownLines.length));
  const top = new Set(shownLines.slice(-5));
  for (const i of shownLines) self.lines.set(i, pathOf(self, i));
  const drawAxes = () => self.axes.forEach(({ axis, x, scale }, k) => drawParallelAxis(ctx, axis, x, scale, box, inactiveY, gap, k));
  ctx.globalAlpha = 0.05;
  for (const i of order.filter((each) => !picked.has(each)).slice(-300)) strokePath(ctx, pathOf(self, i), colour('muted'), 1);
  paintInFrames(self, shownLines, (chunk) => chunk.forEach((i) => {
    ctx.globalAlpha = top.has(i) ? 1 : alpha;
    strokePath(ctx, self.lines.get(i), SEVERAL ? studyColour(TRIALS.study[i]) : goodness(i), top.has(i) ? 2 : 1);
  }), () => { ctx.globalAlpha = 1; drawAxes(); });
  ctx.globalAlpha = 1;
  drawAxes();
  if (shownLines.length < all.length) self.say(`Drawn are the best 500 trials and an even sample of the others, ${shownLines.length} of ${all.length}.`);
  return shownLines.reverse().map((i) => { const [x, y] = self.lines.get(i)[axes.length - 1]; return { x, y, trial: i }; });
}

function numberScale(axis, box) {
  const seen = extent(axis.values);
  const low = Number.isFinite(axis.low) ? Math.min(axis.low, seen[0]) : seen[0];
  const high = Number.isFinite(axis.high) ? Math.max(axis.high, seen[1]) : seen[1];
  if (!axis.isGoal) return scaleOf({ low, high, isLog: axis.isLog, from: box.bottom, to: box.top });
  const [a, b] = robustExtent(axis.values, axis.isMinimized);
  const scale = scaleOf({ low: a, high: b, from: box.bottom, to: box.top });
  const held = (value) => Math.min(Math.max(scale(value), box.top), box.bottom);
  return Object.assign(held, { invert: scale.invert, ticks: scale.ticks, low: scale.low, high: scale.high });
}

function pathOf(self, i) {
  return self.axes.map(({ x, y }) => [x, y(i)]);
}

function drawParallelAxis(ctx, axis, x, scale, box, inactiveY, gap, k) {
  line(ctx, x, box.top, x, box.bottom, colour('axis'), 1.5);
  ctx.font = FONT;
  ctx.textAlign = 'center';
  ctx.textBaseline = 'bottom';
  ctx.fillStyle = colour('text');
  const room = Math.max(60, gap - 8);
  const title = axis.isLog ? `${axis.title} (log)` : axis.title;
  ctx.fillText(fittedName(ctx, title, Math.min(room, k === 0 ? 84 : room)), x, box.top - 12);
  ctx.textBaseline = 'middle';
  const ticks = axis.kind === 'choice' ? axis.choices.map((text, c) => [c, text]) : scale.ticks(6).map((t) => [t, tickText(t)]);
  const few = ticks.length > 14 ? ticks.filter((_, t) => t % Math.ceil(ticks.length / 14) === 0) : ticks;
  for (const [value, text] of few) tickLabel(ctx, fitted(ctx, text, Math.max(40, gap - 16)), x, scale(value));
  if (axis.values.some((value) => value === null) && !axis.isGoal) tickLabel(ctx, 'inactive', x, inactiveY);
  for (const { key, low, high } of brushes()) {
    if (key !== axis.key) continue;
    const [y0, y1] = low === null ? [inactiveY + 8, inactiveY - 8] : [scale(low), scale(high)];
    ctx.globalAlpha = 0.3;
    ctx.fillStyle = colour('accent');
    ctx.fillRect(x - 9, Math.min(y0, y1), 18, Math.max(3, Math.abs(y0 - y1)));
    ctx.globalAlpha = 1;
  }
}

function tickLabel(ctx, text, x, y) {
  const width = ctx.measureText(text).width;
  ctx.globalAlpha = 0.75;
  ctx.fillStyle = colour('panel');
  ctx.fillRect(x - width / 2 - 2, y - 7, width + 4, 14);
  ctx.globalAlpha = 1;
  ctx.fillStyle = colour('text');
  ctx.fillText(text, x, y);
}

function nearestLine(x, y, self) {
  let [best, least] = [null, 8 * 8];
  const k = self.axes ? Math.min(self.axes.length - 2, Math.max(0, self.axes.findIndex((each) => each.x > x) - 1)) : -1;
  if (k < 0) return null;
  for (const [trial, points] of self.lines) {
    const away = toSegment(x, y, points[k], points[k + 1]);
    if (away < least) [best, least] = [trial, away];
  }
  return best === null ? null : { x, y, trial: best };
}
