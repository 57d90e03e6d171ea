// The learning curves; a stopped trial's curve ends where the trial did.

const CURVES_BY = SEVERAL ? 'study' : 'value';

section('curves', 'Learning curves', () => {
  const all = STUDIES.flatMap((study, s) => study.curves.map((own) => ({ own, s })));
  if (!all.some(({ own }) => own.values.some((values) => values.length > 1))) return null;
  const chosen = () => all.filter(({ own }) => own.objective === chosenObjective().name);
  const ends = { COMPLETE: 'state-complete', PRUNED: 'state-pruned', FAIL: 'state-fail' };
  const styleOf = (s, trial) => (choice('curves.by', CURVES_BY) === 'study' ? studyColour(s)
    : choice('curves.by', CURVES_BY) === 'state' ? colour(ends[TRIALS.state[trial]] || 'state-running') : goodness(trial));
  const draw = (ctx, width, height, self) => {
    const goal = chosenObjective();
    const isLogX = choice('curves.logx', '') === '1';
    const isLogY = choice('curves.logy', '') === '1';
    const last = chosen().flatMap(({ own }) => own.values.map((values) => values[values.length - 1]));
    const first = chosen().flatMap(({ own }) => own.values.map((values) => values[0]));
    const y = robustExtent([...last, ...first], goal.isMinimized);
    const x = extent(chosen().flatMap(({ own }) => own.steps.flatMap((steps) => [steps[0], steps[steps.length - 1]])));
    if (!x || !y) return [];
    const pad = padded([y[0], y[1]]);
    const { box, sx, sy } = frame(ctx, width, height,
      { low: isLogX ? Math.max(1, x[0]) : Math.min(x[0], 0), high: x[1], isLog: isLogX, label: 'step' },
      { low: isLogY ? y[0] : pad[0], high: isLogY ? y[1] : pad[1], isLog: isLogY, label: goal.name });
    const picked = new Set(SELECTED);
    const marks = [];
    self.paths = new Map();
    const lines = chosen().flatMap(({ own, s }) => own.rows.map((row, k) => ({ own, s, k, trial: TRIALS.offsets[s] + row })));
    // the worst first, so that the best ones lie on top
    lines.sort((a, b) => (rankOf(b.trial) - rankOf(a.trial)));
    const drawn = someLines(lines);
    const alpha = Math.max(0.12, Math.min(0.9, 60 / drawn.length));
    for (const { own, k, trial } of drawn) {
      const points = own.steps[own.steps_of[k]].map((step, j) => [sx(Math.max(step, sx.isLog ? sx.low : step)), sy(own.values[k][j])]);
      const [ex, ey] = points[points.length - 1];
      self.paths.set(trial, points);
      if (ey >= box.top && ey <= box.bottom) marks.push({ x: ex, y: ey, trial });
    }
    const stops = new Set(['PRUNED', 'PAUSED']);
    const dots = colour('state-pruned');
    paintInFrames(self, drawn, (chunk) => clipTo(ctx, box, () => chunk.forEach(({ s, trial }) => {
      const isTop = rankOf(trial) < 5;
      const points = self.paths.get(trial);
      ctx.globalAlpha = !picked.has(trial) ? 0.04 : isTop ? 1 : alpha;
      strokePath(ctx, points, styleOf(s, trial), isTop ? 2 : 1);
      if (stops.has(TRIALS.state[trial])) dot(ctx, ...points[points.length - 1], 2, dots);
    })), () => { ctx.globalAlpha = 1; });
    self.say([y[2] ? 'Values far from most others are outside of the figure.' : '',
      drawn.length < lines.length ? `Drawn are the best 500 curves and an even sample of the others, ${drawn.length} of ${lines.length}.` : ''].join(' ').trim());
    return marks.reverse();
  };
  const nearest = (x, y, self) => {
    let [best, least] = [null, 12 * 12];
    for (const [trial, points] of self.paths || []) {
      for (let k = 0; k < points.length; k += 1) {
        const away = k ? toSegment(x, y, points[k - 1], points[k]) : (points[0][0] - x) ** 2 + (points[0][1] - y) ** 2;
        if (away < least) [best, least] = [trial, away];
      }
    }
    return best === null ? null : { x, y, trial: best };
  };
  const highlight = (ctx, trial, self) => {
    const points = self.paths && self.paths.get(trial);
    if (points) { strokePath(ctx, points, colour('accent'), 3); ring(ctx, ...points[points.length - 1], 4); }
  };
  const table = () => [['trial', 'state', 'first step', 'last step', 'best', 'final'],
    chosen().flatMap(({ own, s }) => own.rows.map((row, k) => {
      const [steps, values, i] = [own.steps[own.steps_of[k]], own.values[k], TRIALS.offsets[s] + row];
      return [trialName(i), TRIALS.state[i], steps[0], steps[steps.length - 1], (chosenObjective().isMinimized ? Math.min : Math.max)(...values), values[values.length - 1]];
    }))];
  const own = chart({
    id: 'curves', title: 'Learning curves: a curve ends where its trial did; a grey dot is a stop', draw, highlight, table, nearest, height: 340,
    summary: () => `${counted(chosen().reduce((n, each) => n + each.own.rows.length, 0), 'curve')} of ${chosenObjective().name}`,
    controls: [selectOf('Colour by', 'curves.by', [['value', 'value'], ['state', 'state'], ...(SEVERAL ? [['study', 'study']] : [])], CURVES_BY),
      checkbox('log steps', 'curves.logx'), checkbox('log values', 'curves.logy'), ...objectiveControl(), studyKeys()],
    watch: ['curves.', 'obj'],
  });
  SELECTION_LISTENERS.push(() => later(own));
  return own.figure;
});

function rankOf(trial) {
  return TRIALS.rank[trial] ?? Infinity;
}

function strokePath(ctx, points, style, width) {
  ctx.strokeStyle = style;
  ctx.lineWidth = width;
  ctx.lineJoin = 'bevel';
  ctx.beginPath();
  points.forEach(([x, y], k) => (k ? ctx.lineTo(x, y) : ctx.moveTo(x, y)));
  if (points.length === 1) ctx.lineTo(points[0][0] + 1, points[0][1]);
  ctx.stroke();
}

function toSegment(x, y, [ax, ay], [bx, by]) {
  const length = (bx - ax) ** 2 + (by - ay) ** 2;
  const share = length ? Math.min(1, Math.max(0, ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length)) : 0;
  return (ax + share * (bx - ax) - x) ** 2 + (ay + share * (by - ay) - y) ** 2;
}

// The colour of a trial by its value; trials without one are grey
const GOODNESS = new Map();
function goodRange(goal) {
  if (!GOODNESS.has(goal)) {
    const ends = goal.values.filter((_, i) => isEnd(goal, i));
    GOODNESS.set(goal, robustExtent(ends.length > 2 ? ends : goal.values, goal.isMinimized) || [0, 1]);
  }
  return GOODNESS.get(goal);
}

// True for a value at the end of a training; that of a paused or stopped trial cannot be compared with it
function isEnd(goal, i) {
  return goal.values[i] !== null && TRIALS.state[i] === 'COMPLETE';
}

function goodness(trial, goal = chosenObjective()) {
  const [low, high] = goodRange(goal);
  const value = goal.values[trial];
  if (value === null) return colour('faint');
  const share = high > low ? (value - low) / (high - low) : 0;
  return ramp(goal.isMinimized ? share : 1 - share);
}
