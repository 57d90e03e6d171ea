// A population: which trial was copied from which, and the schedules of the best.

section('lineage', 'Population: lineage and schedules', () => perStudy((study, s) => {
  const own = study.lineage;
  if (!own) return null;
  return [lineageChart(study, s).figure, own.mutable.map((name) => scheduleChart(study, s, name)), schedules(study)];
}), 'Population');

function lineageChart(study, s) {
  const own = study.lineage;
  const count = Math.max(...own.members.map((each) => each.member)) + 1;
  const row = Math.max(12, Math.min(30, 420 / count));
  const byRow = new Map(own.members.map((each) => [each.row, each]));
  const draw = (ctx, width, height) => {
    ctx.clearRect(0, 0, width, height);
    const box = { top: 24, bottom: 24 + count * row, left: 40, right: width - 12, width };
    const sx = scaleOf({ low: 0, high: Math.max(1, ...own.members.map((each) => each.to_step)), from: box.left, to: box.right });
    drawAxisX(ctx, sx, box, 'step');
    ctx.textAlign = 'right';
    ctx.textBaseline = 'middle';
    const y = (member) => box.top + member * row + row / 2;
    for (let k = 0; k < count; k += 1) { ctx.fillStyle = colour('muted'); ctx.fillText(String(k), box.left - 8, y(k)); }
    ctx.textAlign = 'left';
    ctx.textBaseline = 'top';
    ctx.fillStyle = colour('text');
    ctx.fillText('member of the population', 4, 3);
    const marks = [];
    for (const each of own.members) {
      const parent = each.parent === null ? null : byRow.get(each.parent);
      if (parent) strokePath(ctx, [[sx(each.from_step), y(parent.member)], [sx(each.from_step), y(each.member)]], colour('muted'), 1.2);
    }
    for (const each of own.members) {
      const trial = TRIALS.offsets[s] + each.row;
      const mark = { x: sx(each.from_step), y: y(each.member), width: Math.max(2, sx(each.to_step) - sx(each.from_step)), height: row, trial };
      strokePath(ctx, [[mark.x, mark.y], [mark.x + mark.width - 2, mark.y]], goodness(trial, TRIALS.objectives.find((goal) => goal.name === study.trials.objectives[0].name)), Math.min(9, row * 0.5));
      if (each.parent !== null) dot(ctx, mark.x, mark.y, 3.5, colour('text'));
      mark.text = each.parent === null ? [] : [['copy of', `trial ${study.trials.number[each.parent]}`]];
      marks.push(mark);
    }
    return marks;
  };
  return chart({
    id: `lineage-${s}`, title: 'The population: a bar is a trial, a dot is a copy of the member that its line comes from', draw,
    height: () => 24 + count * row + 44,
    highlight: (ctx, trial, self) => {
      ctx.strokeStyle = colour('accent');
      ctx.lineWidth = 2;
      for (const mark of self.marks) if (mark.trial === trial) ctx.strokeRect(mark.x - 1, mark.y - mark.height / 2 + 1, mark.width + 2, mark.height - 2);
    },
    table: () => [['trial', 'member', 'generation', 'from step', 'to step', 'copy of'],
      own.members.map((each) => [study.trials.number[each.row], each.member, each.generation, each.from_step, each.to_step, each.parent === null ? '–' : study.trials.number[each.parent]])],
    summary: () => `${counted(own.members.length, 'trial')} of ${counted(count, 'member')}`,
  });
}

function scheduleChart(study, s, name) {
  const own = study.lineage;
  const last = Math.max(...own.members.map((each) => each.to_step));
  const lines = own.schedules.map((each) => each.legs.filter((leg) => typeof leg.params[name] === 'number')).filter((legs) => legs.length);
  const column = TRIALS.parameters.find((each) => each.title === name);
  if (!lines.length) return null;
  return chart({
    id: `schedule-${s}-${name}`, height: 220, title: `${name} of the best ${lines.length === 1 ? 'trial' : `${lines.length} trials`}, by step`,
    controls: [colourKeys(own.schedules.slice(0, lines.length).map((each) => `trial ${each.trial}`))],
    draw: (ctx, width, height) => {
      const y = extent(lines.flatMap((legs) => legs.map((leg) => leg.params[name])));
      const isLog = Boolean(column && column.isLog);
      const { box, sx, sy } = frame(ctx, width, height, { low: 0, high: last, label: 'step' }, { low: isLog ? y[0] : padded(y)[0], high: isLog ? y[1] : padded(y)[1], isLog, label: name });
      clipTo(ctx, box, () => [...lines].reverse().forEach((legs, k) => {
        const points = legs.flatMap((leg, j) => [[sx(leg.step), sy(leg.params[name])], [sx(j + 1 < legs.length ? legs[j + 1].step : last), sy(leg.params[name])]]);
        strokePath(ctx, points, studyColour(lines.length - 1 - k), k === lines.length - 1 ? 3 : 1.5);
      }));
      return [];
    },
    summary: () => `the best trial has ${lines[0].map((leg) => `${shown(leg.params[name])} from step ${leg.step}`).join(', ')}`,
  }).figure;
}

function schedules(study) {
  const [best] = study.lineage.schedules;
  if (!best) return null;
  const names = study.lineage.mutable;
  return [smallTable(`The schedule of trial ${best.trial}, the best`, ['from step', ...names, 'trained by trial'],
    best.legs.map((leg) => [leg.step, ...names.map((name) => leg.params[name] ?? '–'), leg.trial]), { showCaption: true, rowHeads: true }),
  el('p', { class: 'note' }, 'To replay it in one run: ', el('code', {}, `hposlurm best ${study.head.study} --export best.yaml`))];
}
