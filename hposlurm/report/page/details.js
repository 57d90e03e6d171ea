// One trial whole, in a dialog: configuration, values, curve, why it went on, what its end was.

function showDetails(i) {
  hideTip();
  const study = STUDIES[TRIALS.study[i]];
  const row = TRIALS.row[i];
  const dialog = el('dialog', { class: 'details', 'aria-labelledby': 'details-title' },
    el('form', { method: 'dialog', class: 'close' }, el('button', { 'aria-label': 'Close' }, '✕')),
    el('h2', { id: 'details-title' }, `${trialName(i)} `, stateBadge(TRIALS.state[i])),
    el('h3', {}, 'Configuration'),
    pairs(TRIALS.parameters.map((column) => [column.title, exactText(column, i)])),
    el('h3', {}, 'Results'),
    pairs(TRIALS.columns.filter((c) => c.group !== 'param' && !['trial', 'state', 'study'].includes(c.key) && c.values[i] !== null)
      .map((column) => [column.title, cellText(column, i)])),
    study.curves.map((own) => smallCurve(own, row)),
    decisionsOf(study, row), failuresOf(study, row),
    el('p', { class: 'note' }, 'Why, in full: ', el('code', {}, `hposlurm explain ${study.head.study} ${TRIALS.number[i]}`)));
  dialog.addEventListener('close', () => dialog.remove());
  dialog.addEventListener('click', (event) => { if (event.target === dialog) dialog.close(); });
  document.body.append(dialog);
  dialog.showModal();
}

// All digits that the page has of a number: a configuration is copied from here
function exactText(column, i) {
  const value = column.values[i];
  return column.kind === 'number' && value !== null ? String(value) : cellText(column, i);
}

function pairs(rows) {
  return el('dl', { class: rows.length > 12 ? 'pairs many' : 'pairs' }, rows.map(([name, value]) => el('div', {}, el('dt', {}, name), el('dd', {}, value))));
}

function stateBadge(state) {
  return el('span', { class: `badge ${state.toLowerCase().replace(/\W/g, '-')}` }, state);
}

function smallCurve(own, row) {
  const place = own.rows.indexOf(row);
  if (place < 0 || own.values[place].length < 2) return null;
  const rows = own.steps[own.steps_of[place]].map((step, k) => [step, own.values[place][k]]);
  return el('details', { class: 'data' }, el('summary', {}, `${own.objective} by step`),
    smallTable(`${own.objective} by step`, ['step', own.objective], rows));
}

function decisionsOf(study, row) {
  const found = study.rungs ? study.rungs.decisions.filter((each) => each.row === row) : [];
  if (!found.length) return null;
  return [el('h3', {}, 'Why it went on, or stopped'),
    el('ul', {}, found.map((each) => el('li', {}, `${each.what} at step ${each.from_step}: ${each.why}`)))];
}

function failuresOf(study, row) {
  const found = study.failures.filter((group) => group.rows.includes(row));
  if (!found.length) return null;
  return [el('h3', {}, 'What went wrong'), found.map((group) => [
    el('p', {}, group.reason),
    group.tail.length ? el('pre', { tabindex: '0' }, group.tail.join('\n')) : null,
  ])];
}
