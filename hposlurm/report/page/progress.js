// The best value so far, against GPU hours, hours or trials.

const PROGRESS_AXES = [['gpu_hours', 'GPU hours'], ['hours', 'hours'], ['trials', 'trials that ended']];
const HAS_GPUS = STUDIES.some((study) => study.head.gpu_hours > 0);
const FIRST_AXIS = STUDIES.every((study) => study.head.gpu_hours > 0) ? 'gpu_hours' : 'hours';

function objectiveOptions() {
  return TRIALS.objectives.map((goal) => [goal.name, goal.name]);
}

function chosenObjective() {
  return TRIALS.objectives.find((goal) => goal.name === choice('obj', '')) || TRIALS.objectives[0];
}

function objectiveControl() {
  return TRIALS.objectives.length > 1 ? [selectOf('Objective', 'obj', objectiveOptions(), TRIALS.objectives[0].name)] : [];
}

section('progress', 'Best so far', () => {
  if (!STUDIES.some((study) => study.best_so_far.length)) return null;
  const axis = () => choice('x', FIRST_AXIS);
  const axisName = () => PROGRESS_AXES.find(([key]) => key === axis())[1];
  const series = () => STUDIES.map((study, s) => [study.best_so_far.find((own) => own.objective === chosenObjective().name), s, study]).filter(([own]) => own);
  const now = (own) => own.now[{ hours: 0, gpu_hours: 1, trials: 2 }[axis()]];
  const draw = (ctx, width, height, self) => {
    const all = series();
    if (!all.length) return [];
    const goal = chosenObjective();
    const most = Math.max(...all.map(([own]) => now(own)));
    const [low, high, isCut] = robustExtent(all.flatMap(([own]) => own.values), goal.isMinimized);
    const [padLow, padHigh] = padded([low, high]);
    const { box, sx, sy } = frame(ctx, width, height, { low: 0, high: most || 1, label: axisName() }, { low: padLow, high: padHigh, label: goal.name });
    const marks = [];
    clipTo(ctx, box, () => all.forEach(([own, s]) => {
      own[axis()].forEach((x, k) => {
        const y = sy(own.values[k]);
        dot(ctx, sx(x), y, 2.5, SEVERAL ? studyColour(s) : colour('faint'));
        if (y >= box.top && y <= box.bottom) marks.push({ x: sx(x), y, trial: TRIALS.offsets[s] + own.rows[k] });
      });
    }));
    clipTo(ctx, box, () => all.forEach(([own, s]) => stairs(ctx, own[axis()].map(sx), own.best.map(sy), sx(now(own)), studyColour(s))));
    if (isCut) self.say('Values far from most others are outside of the figure; the table has them.');
    self.sx = sx;
    self.sy = sy;
    return marks.sort((a, b) => a.x - b.x);
  };
  const highlight = (ctx, trial, self) => {
    const mark = self.marks.find((each) => each.trial === trial);
    if (mark) ring(ctx, mark.x, mark.y);
  };
  const table = () => [['study', 'trial', 'hours', 'GPU hours', 'trials', chosenObjective().name, 'best so far'],
    series().flatMap(([own, , study]) => own.rows.map((row, k) => [study.head.study, study.trials.number[row], own.hours[k], own.gpu_hours[k], own.trials[k], own.values[k], own.best[k]]))];
  const summary = () => series().map(([own, , study]) => `${study.head.study}: best ${own.objective} ${shown(own.best[own.best.length - 1])} after ${shown(now(own))} ${axisName()}`).join('; ');
  return chart({
    id: 'progress', title: `Best value so far: each dot is a completed trial${SEVERAL ? ', each line a study' : ''}`, summary, draw, highlight, table,
    controls: [selectOf('Against', 'x', PROGRESS_AXES.filter(([key]) => HAS_GPUS || key !== 'gpu_hours'), FIRST_AXIS), ...objectiveControl(), studyKeys()],
    watch: ['x', 'obj'],
  }).figure;
});

function stairs(ctx, xs, ys, end, style) {
  ctx.strokeStyle = style;
  ctx.lineWidth = 2.5;
  ctx.beginPath();
  ctx.moveTo(xs[0], ys[0]);
  for (let k = 1; k < xs.length; k += 1) {
    if (ys[k] === ys[k - 1]) continue;
    ctx.lineTo(xs[k], ys[k - 1]);
    ctx.lineTo(xs[k], ys[k]);
  }
  ctx.lineTo(end, ys[ys.length - 1]);
  ctx.stroke();
}

function ring(ctx, x, y, radius = 6) {
  ctx.strokeStyle = colour('accent');
  ctx.lineWidth = 2.5;
  ctx.beginPath();
  ctx.arc(x, y, radius, 0, 2 * Math.PI);
  ctx.stroke();
}

// What the colours of a figure mean, above it: pairs of a class of figures.css and a text
function keys(entries) {
  return el('span', { class: 'keys' }, entries.map(([key, text]) => el('span', {}, el('i', { class: `key ${key}` }), ` ${text}`)));
}

function colourKeys(texts) {
  return keys(texts.map((text, k) => [STUDY_COLOURS[k % STUDY_COLOURS.length], text]));
}

function studyKeys() {
  return SEVERAL ? colourKeys(STUDIES.map((study) => study.head.study)) : null;
}
