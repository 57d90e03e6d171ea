// Slices: the objective against each parameter, one small plot for each.

const MOST_SLICES = 24;

section('slices', 'Slices', () => {
  const columns = DIFFERING.slice(0, MOST_SLICES);
  if (!columns.length || !TRIALS.objectives.some((goal) => goal.values.filter((value) => value !== null).length > 2)) return null;
  return [
    el('div', { class: 'controls' }, objectiveControl(), studyKeys()),
    el('div', { class: 'multiples' }, columns.map((column) => sliceChart(column).figure)),
    DIFFERING.length > MOST_SLICES ? el('p', { class: 'note' }, `${counted(DIFFERING.length - MOST_SLICES, 'further parameter')} not drawn`) : null,
  ];
});

// A number's own scale, or the places of the choices, with a place for trials in which it is inactive
function parameterAxis(column) {
  const hasInactive = column.values.some((value) => value === null);
  if (column.kind === 'choice') {
    const count = column.choices.length + (hasInactive ? 1 : 0);
    const ticks = column.choices.map((text, c) => [c, text]);
    if (hasInactive) ticks.push([count - 1, 'inactive']);
    return { low: -0.5, high: count - 0.5, ticks, place: (value) => (value === null ? count - 1 : value), isChoice: true };
  }
  const seen = extent(column.values);
  return { low: Math.min(column.low, seen[0]), high: Math.max(column.high, seen[1]), isLog: column.isLog, place: (value) => value };
}

function sliceChart(column) {
  const axis = parameterAxis(column);
  const draw = (ctx, width, height) => {
    const goal = chosenObjective();
    const range = robustExtent(goal.values, goal.isMinimized);
    if (!range) return [];
    const [low, high] = padded([range[0], range[1]]);
    const { box, sx, sy } = frame(ctx, width, height, { ...axis, label: `${column.title}${axis.isLog ? ' (log)' : ''}` }, { low, high, label: goal.name });
    const picked = new Set(SELECTED);
    const marks = [];
    clipTo(ctx, box, () => {
      for (let i = 0; i < TRIALS.count; i += 1) {
        const [value, y] = [axis.place(column.values[i]), goal.values[i]];
        if (value === null || y === null) continue;
        // choices lie on top of each other: spread them a little, always in the same way
        const spread = axis.isChoice ? (((TRIALS.number[i] * 0.618) % 1) - 0.5) * 0.5 : 0;
        const mark = { x: sx(value + spread), y: sy(y), trial: i };
        ctx.globalAlpha = !picked.has(i) ? 0.06 : (TRIALS.state[i] === 'COMPLETE' ? 1 : 0.45) * Math.max(0.15, Math.min(0.75, 400 / TRIALS.count));
        dot(ctx, mark.x, mark.y, 3, SEVERAL ? studyColour(TRIALS.study[i]) : TRIALS.state[i] === 'COMPLETE' ? colour('series-0') : colour('faint'));
        if (mark.y >= box.top && mark.y <= box.bottom) marks.push(mark);
      }
      ctx.globalAlpha = 1;
      const best = marks.filter((mark) => TRIALS.rank[mark.trial] === 0);
      for (const mark of best) ring(ctx, mark.x, mark.y, 5);
    });
    return marks.sort((a, b) => a.x - b.x);
  };
  const own = chart({
    id: `slice-${column.key}`, title: column.title, draw, height: 210, watch: ['obj'],
    highlight: (ctx, trial, self) => {
      const mark = self.marks.find((each) => each.trial === trial);
      if (mark) ring(ctx, mark.x, mark.y);
    },
    summary: () => `${chosenObjective().name} against ${column.title}, the best trial is ringed; faint dots are trials that did not complete`,
  });
  SELECTION_LISTENERS.push(() => later(own));
  return own;
}
