// What multi-fidelity did: who reached each rung, who went on and why, and what early values are worth.

const FATES = { 'went on': 'state-complete', stopped: 'state-fail', waits: 'state-paused', failed: 'state-fail', complete: 'state-running' };

section('rungs', 'What multi-fidelity did', () => perStudy((study, s) => {
  const own = study.rungs;
  if (!own || !own.rungs.length) return null;
  const saved = own.full_steps ? 1 - own.steps / own.full_steps : 0;
  return [
    saved > 0 ? el('p', {}, `${shown(own.steps)} steps were trained; all trials to the end would have been ${shown(own.full_steps)}: ${percent(saved)} saved.`) : null,
    own.premise ? el('p', {}, `${own.premise}.`) : null,
    smallTable(`Rungs of ${study.head.study}`, ['rung at step', 'reached it', 'went on', 'stopped there', 'wait', 'rank correlation with the end', 'from trials'],
      own.rungs.map((rung, k) => [rung.step, rung.rows.length, k === own.rungs.length - 1 ? '–' : rung.sent_on,
        rung.fates.filter((fate) => fate === 'stopped').length, rung.fates.filter((fate) => fate === 'waits').length,
        k === own.rungs.length - 1 ? 'the end' : rung.correlation === null ? 'too few' : correlationBar(rung.correlation), k === own.rungs.length - 1 ? '–' : rung.pairs]),
      { rowHeads: true }),
    rungChart(study, s).figure,
    finalChart(study, s),
    own.brackets.length ? smallTable('Brackets', ['bracket', 'trials', 'first compared at step', 'trained to the end'],
      own.brackets.map((each) => [each.number, each.trials, each.first_rung ?? '–', each.complete]), { showCaption: true }) : null,
    decisionList(study, s),
  ];
}), 'Rungs');

function correlationBar(value) {
  const bar = el('span', { class: 'bar', 'aria-hidden': 'true' });
  bar.style.width = `${Math.round(Math.max(0, value) * 60) + 1}px`;
  return el('span', { class: 'share' }, bar, value.toFixed(2));
}

function rungChart(study, s) {
  const own = study.rungs;
  const goal = study.trials.objectives[0];
  const draw = (ctx, width, height, self) => {
    const values = own.rungs.flatMap((rung) => [...rung.values]);
    const [low, high, isCut] = robustExtent(values, goal.is_minimized);
    const pad = padded([low, high]);
    const ticks = own.rungs.map((rung, k) => [k, `step ${rung.step}`]);
    const { box, sx, sy } = frame(ctx, width, height, { low: -0.5, high: own.rungs.length - 0.5, ticks }, { low: pad[0], high: pad[1], label: own.objective });
    const [marks, before] = [[], new Map()];
    clipTo(ctx, box, () => own.rungs.forEach((rung, k) => rung.rows.forEach((row, j) => {
      const x = sx(k + (((study.trials.number[row] * 0.618) % 1) - 0.5) * 0.5);
      const y = sy(rung.values[j]);
      ctx.globalAlpha = 0.25;
      if (before.has(row)) strokePath(ctx, [before.get(row), [x, y]], colour('muted'), 1);
      before.set(row, [x, y]);
      ctx.globalAlpha = 0.85;
      dot(ctx, x, y, 3, colour(FATES[rung.fates[j]]));
      if (y >= box.top && y <= box.bottom) marks.push({ x, y, trial: TRIALS.offsets[s] + row, text: [`step ${rung.step}: ${rung.fates[j]}`] });
    })));
    ctx.globalAlpha = 1;
    own.rungs.forEach((rung, k) => {
      if (rung.correlation === null) return;
      ctx.font = FONT;
      ctx.fillStyle = colour('text');
      ctx.textAlign = 'center';
      ctx.textBaseline = 'top';
      ctx.fillText(`r = ${rung.correlation.toFixed(2)}`, sx(k), box.top - 2);
    });
    if (isCut) self.say('Values far from most others are outside of the figure.');
    return marks;
  };
  return chart({
    id: `rungs-${s}`, title: 'Values at each rung; r is the rank correlation with the end', draw, height: 320,
    controls: [keys([['complete', 'went on'], ['fail', 'stopped or failed'], ['interrupted', 'waits'], ['running', 'trained to the end']])],
    highlight: (ctx, trial, self) => {
      const points = self.marks.filter((mark) => mark.trial === trial).map((mark) => [mark.x, mark.y]);
      if (points.length) { strokePath(ctx, points, colour('accent'), 2.5); for (const [x, y] of points) ring(ctx, x, y, 5); }
    },
    table: () => [['trial', 'rung', own.objective, 'what became of it'],
      own.rungs.flatMap((rung) => rung.rows.map((row, j) => [study.trials.number[row], rung.step, rung.values[j], rung.fates[j]]))],
    summary: () => own.rungs.map((rung) => `${rung.rows.length} at step ${rung.step}`).join(', '),
  });
}

// Small plots: the value at a rung against the value at the end
function finalChart(study, s) {
  const own = study.rungs;
  const goal = study.trials.objectives[0];
  const panels = own.rungs.slice(0, -1).filter((rung) => rung.pairs >= 3);
  if (!panels.length) return null;
  const end = (row) => (study.trials.rank[row] === null ? null : goal.counted[row]);
  return el('div', { class: 'multiples' }, panels.map((rung) => {
    const points = rung.rows.map((row, j) => [row, rung.values[j], end(row)]).filter(([, , value]) => value !== null);
    return chart({
      id: `final-${s}-${rung.step}`, height: 210,
      title: `Step ${rung.step} against the end${rung.correlation === null ? '' : `, r = ${rung.correlation.toFixed(2)}`}`,
      draw: (ctx, width, height) => {
        const x = padded(robustExtent(points.map(([, early]) => early), goal.is_minimized));
        const y = padded(robustExtent(points.map(([, , late]) => late), goal.is_minimized));
        const { box, sx, sy } = frame(ctx, width, height, { low: x[0], high: x[1], label: `at step ${rung.step}` }, { low: y[0], high: y[1], label: `${own.objective} at the end` });
        const marks = points.map(([row, early, late]) => ({ x: sx(early), y: sy(late), trial: TRIALS.offsets[s] + row }));
        clipTo(ctx, box, () => marks.forEach((mark) => dot(ctx, mark.x, mark.y, 2.6, colour('series-0'))));
        return marks.sort((a, b) => a.x - b.x);
      },
      highlight: (ctx, trial, self) => {
        const mark = self.marks.find((each) => each.trial === trial);
        if (mark) ring(ctx, mark.x, mark.y);
      },
      summary: () => `${counted(points.length, 'trial')} that were trained to the end`,
    }).figure;
  }));
}

const FIRST_DECISIONS = 100;
function decisionList(study, s) {
  const own = study.rungs;
  if (!own.decisions.length) return null;
  const details = el('details', { class: 'data' }, el('summary', {}, `Who went on, and why: ${counted(own.decisions.length + own.more, 'decision')}`));
  details.addEventListener('toggle', () => {
    if (!details.open || details.children.length > 1) return;
    details.append(smallTable('Decisions', ['trial', 'at step', 'decision', 'why'],
      own.decisions.slice(0, FIRST_DECISIONS).map((each) => [trialButton(study, each.row), each.from_step, each.what, each.why])));
    const more = own.decisions.length + own.more - FIRST_DECISIONS;
    if (more > 0) details.append(el('p', { class: 'note' }, `${more} more: choose a trial in any figure or in the table to see why it went on or stopped.`));
  });
  return details;
}
