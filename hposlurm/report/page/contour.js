// The objective over two parameters: colours between the trials are interpolated, and fade where there is no trial near.

section('contour', 'Contour', () => {
  const columns = DIFFERING.filter((column) => column.values.filter((value) => value !== null).length > 2);
  if (columns.length < 2 || TRIALS.number.filter((_, i) => isEnd(TRIALS.objectives[0], i)).length < 4) return null;
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
      if (x !== null && y !== null && isEnd(goal, i)) points.push({ x: sx(x), y: sy(y), trial: i, value: goal.values[i], bands: [ax.isChoice ? x : 0, ay.isChoice ? y : 0] });
    }
    if (!points.length) return [];
    const bandsAt = (px, py) => [ax.isChoice ? Math.round(sx.invert(px)) : 0, ay.isChoice ? Math.round(sy.invert(py)) : 0];
    paintBetween(ctx, box, points, goal, bandsAt);
    for (const point of points.filter((_, k) => k % Math.ceil(points.length / 800) === 0)) {
      dot(ctx, point.x, point.y, 3.2, colour('panel'));
      dot(ctx, point.x, point.y, 2.4, goodness(point.trial));
    }
    const best = points.find((point) => TRIALS.rank[point.trial] === 0);
    if (best) ring(ctx, best.x, best.y);
    const range = goodRange(goal);
    self.say(`${goal.name} from ${shown(goal.isMinimized ? range[0] : range[1])} (best, ${isDark() ? 'lightest' : 'darkest'}) to ${shown(goal.isMinimized ? range[1] : range[0])}. Interpolated between completed trials: a guide for the eye, not a model.`);
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
        [...Array(TRIALS.count).keys()].filter((i) => isEnd(chosenObjective(), i)).map((i) => [trialName(i), cellText(cx, i), cellText(cy, i), chosenObjective().values[i]])];
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

// Shepard's inverse distance weights over the nearest trials, on a coarse grid
function paintBetween(ctx, box, points, goal, bandsAt) {
  const cell = Math.max(6, Math.round((box.right - box.left) / 70));
  const some = points.length > 1500 ? points.filter((_, k) => k % Math.ceil(points.length / 1500) === 0) : points;
  const range = goodRange(goal);
  const reach = ((box.right - box.left) * (box.bottom - box.top)) / Math.max(4, some.length);
  for (let x = box.left; x < box.right; x += cell) {
    for (let y = box.top; y < box.bottom; y += cell) {
      let [weights, total, near] = [0, 0, Infinity];
      const bands = bandsAt(x + cell / 2, y + cell / 2);
      for (const point of some) {
        if (point.bands[0] !== bands[0] || point.bands[1] !== bands[1]) continue;
        const away = (point.x - x - cell / 2) ** 2 + (point.y - y - cell / 2) ** 2 + 4;
        const weight = 1 / (away * away);
        weights += weight;
        total += weight * point.value;
        if (away < near) near = away;
      }
      if (!weights) continue;
      const value = total / weights;
      const share = range[1] > range[0] ? (value - range[0]) / (range[1] - range[0]) : 0;
      ctx.globalAlpha = 0.8 * Math.max(0.3, Math.min(1, (3 * reach) / near));
      ctx.fillStyle = ramp(goal.isMinimized ? share : 1 - share);
      ctx.fillRect(x, y, Math.min(cell, box.right - x), Math.min(cell, box.bottom - y));
    }
  }
  ctx.globalAlpha = 1;
}
