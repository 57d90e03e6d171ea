// The Pareto front: no other trial is better in all objectives.

section('pareto', 'Pareto front', () => {
  if (TRIALS.objectives.length < 2 || !STUDIES.some((study) => study.front.length)) return null;
  const names = TRIALS.objectives.map((goal) => goal.name);
  const goal = (key, fallback) => TRIALS.objectives.find((each) => each.name === choice(key, fallback)) || TRIALS.objectives.find((each) => each.name === fallback);
  const front = new Set(STUDIES.flatMap((study, s) => study.front.map((row) => TRIALS.offsets[s] + row)));
  const draw = (ctx, width, height, self) => {
    const [gx, gy] = [goal('px', names[0]), goal('py', names[1])];
    const [x, y] = [robustExtent(gx.values, gx.isMinimized), robustExtent(gy.values, gy.isMinimized)];
    if (!x || !y) return [];
    const arrow = (each) => `${each.name} (${each.isMinimized ? 'less' : 'more'} is better)`;
    const [px, py] = [padded([x[0], x[1]]), padded([y[0], y[1]])];
    const { box, sx, sy } = frame(ctx, width, height, { low: px[0], high: px[1], label: arrow(gx) }, { low: py[0], high: py[1], label: arrow(gy) });
    const marks = [];
    const picked = new Set(SELECTED);
    clipTo(ctx, box, () => {
      for (let i = 0; i < TRIALS.count; i += 1) {
        if (gx.values[i] === null || gy.values[i] === null || TRIALS.state[i] !== 'COMPLETE') continue;
        const mark = { x: sx(gx.values[i]), y: sy(gy.values[i]), trial: i };
        ctx.globalAlpha = picked.has(i) ? 1 : 0.15;
        if (front.has(i)) square(ctx, mark.x, mark.y, 4.5, SEVERAL ? studyColour(TRIALS.study[i]) : colour('accent'));
        else dot(ctx, mark.x, mark.y, 2.8, SEVERAL ? studyColour(TRIALS.study[i]) : colour('faint'));
        marks.push(mark);
      }
      ctx.globalAlpha = 1;
      STUDIES.forEach((study, s) => {
        const own = study.front.map((row) => TRIALS.offsets[s] + row).map((i) => [sx(gx.values[i]), sy(gy.values[i])]).sort((a, b) => a[0] - b[0]);
        if (own.length > 1 && TRIALS.objectives.length === 2) strokePath(ctx, own, SEVERAL ? studyColour(s) : colour('accent'), 1.5);
      });
    });
    if (x[2] || y[2]) self.say('Values far from most others are outside of the figure.');
    return marks.sort((a, b) => a.x - b.x);
  };
  const options = names.map((name) => [name, name]);
  const own = chart({
    id: 'pareto', title: 'Completed trials; squares are the Pareto front', draw, height: 360,
    controls: names.length > 2 ? [selectOf('Across', 'px', options, names[0]), selectOf('Up', 'py', options, names[1]), studyKeys()] : [studyKeys()],
    highlight: (ctx, trial, self) => {
      const mark = self.marks.find((each) => each.trial === trial);
      if (mark) ring(ctx, mark.x, mark.y, 7);
    },
    table: () => [['trial', ...names, ...DIFFERING.map((column) => column.title)],
      [...front].map((i) => [trialName(i), ...TRIALS.objectives.map((each) => each.values[i]), ...DIFFERING.map((column) => cellText(column, i))])],
    summary: () => `${counted(front.size, 'trial')} on the front of ${names.join(' and ')}`,
    watch: ['px', 'py'],
  });
  SELECTION_LISTENERS.push(() => later(own));
  return own.figure;
});

function square(ctx, x, y, half, style) {
  ctx.fillStyle = style;
  ctx.fillRect(x - half, y - half, 2 * half, 2 * half);
}
