// When and where each attempt ran: GPUs at work, idle GPUs, jobs that waited.

const OUTCOMES = { complete: 'state-complete', pruned: 'state-pruned', fail: 'state-fail', infeasible: 'state-fail', interrupted: 'state-paused', dropped: 'state-waiting', running: 'state-running' };
const MOST_LANES = 64;

section('timeline', 'Timeline', () => perStudy((study, s) => {
  const own = study.timeline;
  if (!own) return null;
  const unit = own.gpus ? 'GPUs' : 'trials';
  return [
    pairs([
      [`Most ${unit} at work at once`, shown(own.most)],
      ['Idle', `${percent(own.idle_share)} of the time of these ${unit}, from the first start to the last end`],
      ['Waited in the queue', `${duration(own.waited_s)}, all jobs together; ${duration(own.waited_s / own.rows.length)} each`],
    ]),
    loadChart(study, s, unit).figure,
    lanesChart(study, s).figure,
  ];
}));

function timeUnit(seconds) {
  return seconds > 3 * 86400 ? [86400, 'days'] : seconds > 2 * 3600 ? [3600, 'hours'] : seconds > 120 ? [60, 'minutes'] : [1, 'seconds'];
}

// Steps of a sum over time: [[time, sum], …]
function sums(own, from, to, weight) {
  const events = [];
  own.rows.forEach((_, k) => {
    if (to[k] > from[k]) events.push([from[k], weight], [to[k], -weight]);
  });
  events.sort((a, b) => a[0] - b[0]);
  const found = [[0, 0]];
  let sum = 0;
  for (const [time, change] of events) {
    sum += change;
    if (found[found.length - 1][0] === time) found[found.length - 1][1] = sum;
    else found.push([time, sum]);
  }
  found.push([own.end, 0]);
  return found;
}

function loadChart(study, s, unit) {
  const own = study.timeline;
  const weight = own.gpus || 1;
  const working = sums(own, own.started, own.ended, weight);
  const waiting = sums(own, own.queued, own.started, weight);
  const draw = (ctx, width, height) => {
    const [per, name] = timeUnit(own.end);
    const most = Math.max(own.most, ...waiting.map(([, n]) => n));
    const { box, sx, sy } = frame(ctx, width, height, { low: 0, high: own.end / per || 1, label: `${name} since the first plan` }, { low: 0, high: most * 1.05, label: unit });
    area(ctx, [[working.find(([, n]) => n) ? own.started[0] : 0, own.most], [own.end, own.most]], (t) => sx(t / per), sy, colour('idle'));
    area(ctx, working, (t) => sx(t / per), sy, colour('state-complete'));
    steps(ctx, waiting, (t) => sx(t / per), sy, colour('state-waiting-line'));
    return [];
  };
  return chart({
    id: `load-${s}`, title: `${unit} at work, idle, and asked for by jobs that waited in the queue`, draw, height: 220,
    controls: [keys([['complete', `${unit} at work`], ['idle', `idle ${unit}`], ['waiting', `${unit} that waiting jobs ask for`]])],
    table: () => [['seconds since the first plan', `${unit} at work`], working.map(([time, n]) => [time, n])],
    summary: () => `at most ${own.most} ${unit} at work, idle ${percent(own.idle_share)} of the time`,
  });
}

function area(ctx, points, sx, sy, style) {
  ctx.fillStyle = style;
  ctx.beginPath();
  ctx.moveTo(sx(points[0][0]), sy(0));
  let before = 0;
  for (const [time, value] of points) {
    ctx.lineTo(sx(time), sy(before));
    ctx.lineTo(sx(time), sy(value));
    before = value;
  }
  ctx.lineTo(sx(points[points.length - 1][0]), sy(0));
  ctx.fill();
}

function steps(ctx, points, sx, sy, style) {
  ctx.strokeStyle = style;
  ctx.lineWidth = 1.5;
  ctx.beginPath();
  let before = 0;
  for (const [time, value] of points) {
    ctx.lineTo(sx(time), sy(before));
    ctx.lineTo(sx(time), sy(value));
    before = value;
  }
  ctx.stroke();
}

function lanesChart(study, s) {
  const own = study.timeline;
  const count = Math.min(own.lanes.length, MOST_LANES);
  const row = Math.max(6, Math.min(20, 480 / count));
  const draw = (ctx, width, height, self) => {
    ctx.clearRect(0, 0, width, height);
    ctx.font = FONT;
    const [per, name] = timeUnit(own.end);
    const left = Math.min(150, 12 + Math.max(...own.lanes.slice(0, count).map((text) => ctx.measureText(text).width)));
    const box = { top: 24, bottom: 24 + count * row, left, right: width - 12, width };
    const sx = scaleOf({ low: 0, high: own.end / per || 1, from: box.left, to: box.right });
    drawAxisX(ctx, sx, box, `${name} since the first plan`);
    laneNames(ctx, own, count, row, box);
    const marks = [];
    own.rows.forEach((_, k) => {
      if (own.lane[k] >= count) return;
      const y = box.top + own.lane[k] * row + row / 2;
      line(ctx, sx(own.queued[k] / per), y, sx(own.started[k] / per), y, colour('state-waiting-line'), 1);
    });
    own.rows.forEach((each, k) => {
      if (own.lane[k] >= count) return;
      const y = box.top + own.lane[k] * row;
      const [x0, x1] = [sx(own.started[k] / per), sx(own.ended[k] / per)];
      const outcome = at(own.outcome, k);
      ctx.fillStyle = colour(OUTCOMES[outcome] || 'state-waiting');
      const mark = { x: x0, y: y + row / 2, width: Math.max(1.5, x1 - x0), height: row, trial: TRIALS.offsets[s] + each };
      ctx.fillRect(x0, y + 1, Math.max(1, mark.width - 0.7), row - 2);
      if (mark.width > 26 && row >= 12) {
        ctx.fillStyle = colour('on-bar');
        ctx.textAlign = 'left';
        ctx.textBaseline = 'middle';
        ctx.fillText(String(study.trials.number[each]), x0 + 4, y + row / 2);
      }
      const gpus = at(own.gpu_ids, k);
      mark.text = [['node', own.lanes[own.lane[k]] + (gpus ? `, GPU ${gpus}` : '')], ['attempt', `${own.attempt[k]}: ${outcome}`],
        ['waited', duration(own.started[k] - own.queued[k])], ['ran', duration(own.ended[k] - own.started[k])]];
      marks.push(mark);
    });
    if (own.lanes.length > count) self.say(`${counted(own.lanes.length - count, 'further lane')} not drawn; the table has all attempts.`);
    return marks;
  };
  return chart({
    id: `lanes-${s}`, title: 'Attempts by node: a bar is an attempt, the thin line before it is its wait', draw,
    height: () => 24 + count * row + 40,
    controls: [keys([['complete', 'completed'], ['pruned', 'stopped'], ['interrupted', 'interrupted'], ['fail', 'failed'], ['fail', 'infeasible'], ['dropped', 'dropped'], ['running', 'running']]
      .filter(([key, text]) => own.outcome.values.includes(text === 'infeasible' ? text : key)))],
    highlight: (ctx, trial, self) => {
      ctx.strokeStyle = colour('accent');
      ctx.lineWidth = 2.5;
      for (const mark of self.marks) if (mark.trial === trial) ctx.strokeRect(mark.x - 1, mark.y - mark.height / 2, mark.width + 2, mark.height);
    },
    table: () => [['trial', 'attempt', 'node', 'queued s', 'started s', 'ended s', 'outcome'],
      own.rows.map((each, k) => [study.trials.number[each], own.attempt[k], own.lanes[own.lane[k]], own.queued[k], own.started[k], own.ended[k], at(own.outcome, k)])],
    summary: () => `${counted(own.rows.length, 'attempt')} on ${counted(new Set(own.lanes).size, 'node')}`,
  });
}

function laneNames(ctx, own, count, row, box) {
  ctx.textAlign = 'right';
  ctx.textBaseline = 'middle';
  let last = -Infinity;
  for (let k = 0; k < count; k += 1) {
    const y = box.top + k * row + row / 2;
    if (k && own.lanes[k] === own.lanes[k - 1]) continue;
    line(ctx, 0, y - row / 2, box.right, y - row / 2, colour('grid'));
    if (y - last < 13) continue;
    ctx.fillStyle = colour('muted');
    ctx.fillText(fitted(ctx, own.lanes[k], box.left - 8), box.left - 6, Math.max(y, box.top + 7));
    last = y;
  }
}
