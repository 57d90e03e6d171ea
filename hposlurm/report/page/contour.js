// The objective over two parameters: colours between the trials are interpolated, and fade where there is no trial near.

section('contour', 'Contour', () => {
  const columns = DIFFERING.filter((column) => column.values.filter((value) => value !== null).length > 2);
  if (columns.length < 2 || TRIALS.objectives[0].values.filter((value) => value !== null).length < 4) return null;
  const order = byImportance(columns);
  const options = columns.map((column) => [column.key, column.title]);
  const axis = (key, fallback) => columns.find((column) => column.key === choice(key, '')) || fallback;
  const draw = (ctx, width, height, self) => {
    const [cx, cy] = [axis('cx', order[0]), axis('cy', order[1])];
    const [ax, ay] = [parameterAxis(cx), parameterAxis(cy)];
    const { box, sx, sy } = frame(ctx, width, height, { ...ax, label: `${cx.title}${ax.isLog ? ' (log)' : ''}` },
      { ...ay, label: `${cy.title}${ay.isLog ? ' (log)' : ''}` });
    const goal = chosenObjective();
    const points = [];
    for (let i = 0; i < TRIALS.count; i += 1) {
      const [x, y] = [ax.place(cx.values[i]), ay.place(cy.values[i])];
      if (x !== null && y !== null && goal.values[i] !== null) points.push({ x: sx(x), y: sy(y), trial: i, value: goal.values[i] });
    }
    if (!points.length) return [];
    paintBetween(ctx, box, points, goal);
    if (ay.isChoice) choiceLabels(ctx, ay, sy, box);
    for (const point of points.slice(-3000)) {
      dot(ctx, point.x, point.y, 3.2, colour('panel'));
      dot(ctx, point.x, point.y, 2.4, goodness(point.trial));
    }
    const best = points.find((point) => TRIALS.rank[point.trial] === 0);
    if (best) ring(ctx, best.x, best.y);
    const range = robustExtent(goal.values, goal.isMinimized);
    self.say(`${goal.name} from ${shown(goal.isMinimized ? range[0] : range[1])} (best, ${isDark() ? 'lightest' : 'darkest'}) to ${shown(goal.isMinimized ? range[1] : range[0])}. Interpolated between the trials: a guide for the eye, not a model.`);
    return points;
  };
  return chart({
    id: 'contour', title: 'The objective over two parameters', draw, height: 380,
    controls: [selectOf('Across', 'cx', options, order[0].key), selectOf('Up', 'cy', options, order[1].key), ...objectiveControl()],
    highlight: (ctx, trial, self) => {
      const mark = self.marks.find((each) => each.trial === trial);
      if (mark) ring(ctx, mark.x, mark.y);
    },
    table: () => {
      const [cx, cy] = [axis('cx', order[0]), axis('cy', order[1])];
      return [['trial', cx.title, cy.title, chosenObjective().name],
        [...Array(TRIALS.count).keys()].filter((i) => chosenObjective().values[i] !== null).map((i) => [trialName(i), cellText(cx, i), cellText(cy, i), chosenObjective().values[i]])];
    },
    summary: () => `${chosenObjective().name} over ${axis('cx', order[0]).title} and ${axis('cy', order[1]).title}`,
    watch: ['cx', 'cy', 'obj'],
  }).figure;
});

function byImportance(columns) {
  const [first] = STUDIES.map((study) => study.importance[0]).filter(Boolean);
  const share = (column) => (first && first.shares[column.title]) || 0;
  return [...columns].sort((a, b) => share(b) - share(a));
}

function choiceLabels(ctx, axis, scale, box) {
  ctx.font = FONT;
  ctx.textAlign = 'left';
  ctx.textBaseline = 'middle';
  for (const [value, text] of axis.ticks) {
    const y = scale(value);
    const width = ctx.measureText(text).width;
    ctx.globalAlpha = 0.8;
    ctx.fillStyle = colour('panel');
    ctx.fillRect(box.left + 2, y - 8, width + 6, 16);
    ctx.globalAlpha = 1;
    ctx.fillStyle = colour('text');
    ctx.fillText(text, box.left + 5, y);
  }
}

// Shepard's inverse distance weights over the nearest trials, on a coarse grid
function paintBetween(ctx, box, points, goal) {
  const cell = Math.max(6, Math.round((box.right - box.left) / 70));
  const some = points.length > 1500 ? points.filter((_, k) => k % Math.ceil(points.length / 1500) === 0) : points;
  const range = robustExtent(goal.values, goal.isMinimized);
  const reach = ((box.right - box.left) * (box.bottom - box.top)) / Math.max(4, some.length);
  for (let x = box.left; x < box.right; x += cell) {
    for (let y = box.top; y < box.bottom; y += cell) {
      let [weights, total, near] = [0, 0, Infinity];
      for (const point of some) {
        const away = (point.x - x - cell / 2) ** 2 + (point.y - y - cell / 2) ** 2 + 4;
        const weight = 1 / (away * away);
        weights += weight;
        total += weight * point.value;
        if (away < near) near = away;
      }
      const value = total / weights;
      const share = range[1] > range[0] ? (value - range[0]) / (range[1] - range[0]) : 0;
      ctx.globalAlpha = 0.75 * Math.min(1, (3 * reach) / near);
      ctx.fillStyle = ramp(goal.isMinimized ? share : 1 - share);
      ctx.fillRect(x, y, Math.min(cell, box.right - x), Math.min(cell, box.bottom - y));
    }
  }
  ctx.globalAlpha = 1;
}
