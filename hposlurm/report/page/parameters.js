// The parameters in one table: how much each matters, where the good trials lie, whether the range should be wider.

section('parameters', 'Parameters: what matters, and where the good values are', () => perStudy((study, s) => {
  const [goal] = study.trials.objectives;
  const ranked = study.trials.rank.map((rank, row) => [rank, row]).filter(([rank]) => rank !== null).sort((a, b) => a[0] - b[0]);
  if (!study.trials.parameters.length || !ranked.length) return null;
  const good = ranked.slice(0, Math.max(3, Math.ceil(ranked.length / 10))).map(([, row]) => row);
  const measured = study.importance;
  const rows = study.trials.parameters.map((column) => [
    column.name, ...measured.map((each) => shareBar(each, column.name)), searched(column), leaderRange(column, good),
    valueText(column, ranked[0][1]), edgeText(study.edges.find((edge) => edge.parameter === column.name)),
  ]);
  const order = measured.length ? study.trials.parameters.map((column, k) => [measured[0].shares[column.name] ?? -1, k]).sort((a, b) => b[0] - a[0]) : rows.map((_, k) => [0, k]);
  return [
    importanceNotes(measured),
    smallTable(`Parameters of ${study.head.study}`,
      ['parameter', ...measured.map(methodTitle), 'searched', `best ${good.length} trials lie in`, 'best', 'at the edge?'],
      order.map(([, k]) => rows[k]), { rowHeads: true, class: 'parameters' }),
    el('p', { class: 'note' }, `Best means the ${goal.is_minimized ? 'lowest' : 'highest'} ${goal.name}`
      + (study.trials.objectives.length > 1 ? ' on the Pareto front first.' : '.')),
  ];
}), 'Parameters');

function methodTitle(each) {
  const of = each.objective || (STUDIES.some((study) => study.trials.objectives.length > 1) ? 'Pareto front' : '');
  return TRIALS.objectives.length > 1 ? `${each.method}, ${of}` : each.method;
}

function shareBar(each, name) {
  const share = each.shares[name];
  if (each.left_out.includes(name)) return el('span', { class: 'muted' }, 'not judged: not always active');
  if (share === undefined) return el('span', { class: 'muted' }, '–');
  const bar = el('span', { class: 'bar', 'aria-hidden': 'true' });
  bar.style.width = `${Math.max(1, Math.round(share * 70))}px`;
  return el('span', { class: `share${each.trials < each.enough ? ' doubtful' : ''}` }, bar, percent(share),
    share <= each.floors[name] ? el('span', { class: 'muted' }, ' no sign of an effect') : null);
}

function importanceNotes(measured) {
  if (!measured.length) return el('p', { class: 'note' }, 'Importance is not shown: fewer than 4 trials completed inside of the space.');
  const notes = [];
  const doubtful = measured.filter((each) => each.trials < each.enough);
  if (doubtful.length) {
    const texts = [...new Set(doubtful.map((each) => `${each.method} has ${counted(each.trials, 'trial')} and should have ${each.enough}`))];
    notes.push(el('p', { class: 'warning' }, `Too few trials to trust the importance: ${texts.join('; ')}.`));
  }
  const methods = [...new Set(measured.map((each) => each.method))];
  const meanings = { fANOVA: 'fANOVA: the share of the variance over the whole space that a parameter explains', 'PED-ANOVA': 'PED-ANOVA: how much a parameter decides who is in the best tenth' };
  notes.push(el('p', { class: 'note' }, `${methods.map((method) => meanings[method]).join('. ')}. From ${[...new Set(measured.map((each) => each.trials))].join(' and ')} completed trials, computed by Optuna.`
    + (measured.some((each) => Object.keys(each.floors).length) ? ' No sign of an effect: the share is no larger than with the values of the parameter shuffled.' : '')
    + (methods.includes('fANOVA') ? '' : ' fANOVA needs scikit-learn: pip install "hposlurm[report]".')));
  return notes;
}

function valueText(column, row) {
  const value = column.rows[row];
  if (value === null) return 'inactive';
  return column.kind === 'choice' ? column.choices[value] : shown(value);
}

function searched(column) {
  if (column.kind === 'choice') return column.choices.join(', ');
  return `${shown(column.low)} to ${shown(column.high)}${column.is_log ? ' (log)' : ''}`;
}

function leaderRange(column, good) {
  const values = good.map((row) => column.rows[row]).filter((value) => value !== null);
  if (!values.length) return 'inactive';
  if (column.kind === 'choice') {
    const counts = column.choices.map((text, c) => [text, values.filter((value) => value === c).length]).filter(([, n]) => n);
    return counts.sort((a, b) => b[1] - a[1]).map(([text, n]) => `${text} (${n}×)`).join(', ');
  }
  return `${shown(Math.min(...values))} to ${shown(Math.max(...values))}`;
}

// What the notices say of the place of the best value too
function edgeText(edge) {
  if (!edge) return '–';
  if (edge.kind === 'at bound') return el('span', { class: 'warning' }, `${edge.side} end: `, adviceText(edge));
  if (edge.kind === 'untried') return `not known: no trial ended between ${shown(edge.untried[0])} and ${shown(edge.untried[1])}`;
  return { inside: 'no', 'no trend': `${edge.side} end, without a clear trend`, 'too few': 'too few trials', inactive: 'inactive in the best trial' }[edge.kind] || '–';
}
