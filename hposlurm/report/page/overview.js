// The head of the page: which configuration to take, how sure that is, what it cost.

function buildTop() {
  const top = document.getElementById('top');
  const theme = el('button', {
    type: 'button', id: 'theme',
    onclick: () => { choose('theme', isDark() ? 'light' : 'dark', 'system'); label(); },
  });
  const label = () => { theme.textContent = isDark() ? 'Light' : 'Dark'; theme.setAttribute('aria-label', `Switch to ${isDark() ? 'light' : 'dark'} colours`); };
  onChoice(['theme'], label);
  label();
  append(top, [
    el('h1', {}, STUDIES.map((each) => each.head.study).join(', ')),
    el('div', { class: 'tools' }, theme),
  ]);
}

section('overview', 'Overview', () => [
  el('div', { class: SEVERAL ? 'studies several' : 'studies' }, STUDIES.map(studyCard)),
  SEVERAL ? comparison() : null,
  leaders(),
]);

function studyCard(study) {
  const { head } = study;
  const { best } = head;
  return el('article', { class: 'card', 'aria-label': `Study ${head.study}` },
    SEVERAL ? el('h3', {}, head.study) : null,
    el('p', {}, el('span', { class: `badge phase-${head.phase.replace(/\W/g, '-')}` }, head.phase), ` ${head.detail}`),
    head.is_simulated ? el('p', { class: 'warning' }, 'Simulated: nothing was trained. Times and GPU hours are those of the simulation.') : null,
    best ? [
      el('p', { class: 'figure' }, Object.entries(best.values).map(([name, value], i) => [
        i ? ', ' : '', el('span', { class: 'name' }, `${name} `), el('strong', {}, shown(value))]),
      ` in `, trialButton(study, best.row)),
      best.remark ? el('p', { class: best.remark.startsWith('infeasible') ? 'warning' : 'note' }, best.remark) : null,
      pairs(Object.entries(best.params)),
      el('p', { class: 'note' }, 'As a file: ', el('code', {}, `hposlurm best ${head.study} --export best.yaml`)),
    ] : el('p', { class: 'figure' }, 'No trial has completed yet.'),
    facts(study),
    head.notes.length ? el('ul', { class: 'notes' }, head.notes.map((note) => el('li', {}, note))) : null);
}

function trialButton(study, row) {
  const i = TRIALS.offsets[STUDIES.indexOf(study)] + row;
  return el('button', { type: 'button', class: 'link', onclick: () => showDetails(i) }, `trial ${study.trials.number[row]}`);
}

function facts(study) {
  const { head } = study;
  const counts = Object.entries(head.counts).map(([state, n]) => `${n} ${state.toLowerCase()}`).join(', ') || 'none';
  const hours = Object.entries(head.costs).map(([what, n]) => `${shown(n)} in ${what}`).join(', ');
  const rows = [
    ['Trials', `${study.trials.number.length}${head.total && head.total !== study.trials.number.length ? ` of ${head.total}` : ''}: ${counts}`],
    ['GPU hours', head.gpu_hours ? `${shown(head.gpu_hours)} spent${hours ? ` (${hours})` : ''}` : 'none: its trials use no GPU'],
    ['Time', `${duration(head.hours * 3600)} since the first plan`],
    ...budgetRows(head),
    ['Algorithm', head.algorithm],
    ...Object.entries(head.tags),
  ];
  return pairs(rows);
}

function budgetRows(head) {
  const use = head.budget.gpu_hours;
  const more = use && use.used > head.gpu_hours * 1.01 ? ' (jobs that left no record of their end count until the next plan)' : '';
  const reserved = use && use.reserved ? `, ${shown(use.reserved)} reserved for running and waiting jobs` : '';
  const hours = use ? [['Budget', `${shown(use.used)} of ${shown(use.limit)} GPU hours counted${more}${reserved}: ${shown(Math.max(0, use.limit - use.used - use.reserved))} left`]] : [];
  const titles = { wall_time: 'Wall time', patience: 'Trials without improvement', target: 'Target' };
  const format = (name, value) => (name === 'wall_time' ? duration(value) : shown(value));
  return [...hours, ...Object.entries(head.budget).filter(([name]) => titles[name])
    .map(([name, each]) => [titles[name], `${format(name, each.used)} of ${format(name, each.limit)}`])];
}

function comparison() {
  const rows = STUDIES.map((study) => {
    const { head } = study;
    const waited = study.timeline ? duration(study.timeline.waited_s) : '–';
    return [head.study, head.best ? Object.entries(head.best.values).map(([name, value]) => `${name} ${shown(value)}`).join(', ') : '–', head.algorithm,
      study.trials.number.length, head.gpu_hours, duration(head.hours * 3600), waited];
  });
  return smallTable('The studies side by side', ['study', 'best', 'algorithm', 'trials', 'GPU hours', 'time', 'waited in the queue, all jobs'],
    rows, { rowHeads: true, showCaption: true });
}

section('notices', 'Noticed', () => perStudy((study) => (study.notices.length ? el('ul', { class: 'noticed' },
  study.notices.map((each) => el('li', {}, el('strong', {}, `${each.text}. `), adviceText(each), ' ', noticedTrials(study, each.trials)))) : null)));

// The advice of a notice or an edge; its command can be copied, so no full stop follows it
function adviceText(each) {
  if (!each.command) return [`${each.advice}.`];
  return [each.advice.slice(0, each.advice.length - each.command.length), el('code', {}, each.command)];
}

const MOST_NOTICED = 12;
function noticedTrials(study, numbers) {
  const rows = numbers.slice(0, MOST_NOTICED).map((number) => study.trials.number.indexOf(number)).filter((row) => row >= 0);
  const more = numbers.length - rows.length;
  return el('span', { class: 'trial-list' }, rows.map((row) => [trialButton(study, row), ' ']), more > 0 ? `and ${more} more` : null);
}

// ---- how sure: the leaders next to each other, and when the last improvement came

function leaders() {
  return perStudy((study, s) => {
    const [goal] = study.trials.objectives;
    const order = study.trials.rank.map((rank, row) => [rank, row]).filter(([rank]) => rank !== null).sort((a, b) => a[0] - b[0]);
    if (order.length < 2) return null;
    const offset = TRIALS.offsets[s];
    const columns = TRIALS.parameters.filter((column) => DIFFERING.includes(column) && order.some(([, row]) => column.values[offset + row] !== null));
    const rows = order.slice(0, 5).map(([, row]) => [
      trialButton(study, row),
      ...study.trials.objectives.map((each) => each.counted[row]),
      ...columns.map((column) => cellText(column, offset + row)),
      ...(study.head.gpu_hours ? [study.trials.gpu_hours[row]] : []),
    ]);
    return [el('h3', {}, 'How sure is that?'), el('ul', {}, sureness(study, goal, order).map((text) => el('li', {}, text))),
      smallTable('The best trials', ['trial', ...study.trials.objectives.map((each) => each.name), ...columns.map((c) => c.title), ...(study.head.gpu_hours ? ['GPU hours'] : [])],
        rows, { rowHeads: true, showCaption: true })];
  });
}

function ordinal(n) {
  const ending = Math.floor(n / 10) % 10 === 1 ? 'th' : ['th', 'st', 'nd', 'rd'][n % 10] || 'th';
  return `${n}${ending}`;
}

function sureness(study, goal, order) {
  const found = [];
  const value = (place) => goal.counted[order[place][1]];
  const last = Math.min(4, order.length - 1);
  if (study.trials.objectives.length === 1) {
    const gap = Math.abs(value(last) - value(0));
    found.push(`The best ${last + 1} trials lie within ${shown(gap)} of each other (${goal.name} ${shown(value(0))} to ${shown(value(last))}); `
      + 'a difference that is smaller than what two runs of one configuration differ by means nothing.');
  } else found.push(`${counted(study.front.length, 'trial')} on the Pareto front: no other trial is better in every objective.`);
  const progress = study.best_so_far[0];
  if (progress) {
    const best = progress.best[progress.best.length - 1];
    const k = progress.best.indexOf(best);
    const since = progress.now[2] - progress.trials[k];
    const row = study.trials.rank.indexOf(Math.min(...study.trials.rank.filter((rank) => rank !== null)));
    const which = goal.counted[row] === best ? ` (trial ${study.trials.number[row]})` : '';
    found.push(`The best ${goal.name} came from the ${ordinal(progress.trials[k])} of ${progress.now[2]} to end${which}`
      + (study.head.gpu_hours ? `, after ${shown(progress.gpu_hours[k])} of ${shown(progress.now[1])} GPU hours` : '')
      + (since ? `; ${counted(since, 'trial')} since then did not beat it.` : '; the search was still improving when the records end.'));
  }
  if (study.rungs && study.rungs.premise) found.push(`Early values: ${study.rungs.premise}.`);
  return found;
}
