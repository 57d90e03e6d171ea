// What failed and why, grouped by reason, the costliest first.

section('failures', 'What failed, and why', () => perStudy((study, s) => {
  if (!study.failures.length) return null;
  const total = study.head.gpu_hours;
  return study.failures.map((group, k) => {
    const share = total && group.gpu_hours ? `, ${shown(group.gpu_hours)} GPU hours (${percent(group.gpu_hours / total)} of all)` : '';
    const lost = group.lost ? `; ${counted(group.lost, 'trial')} given up` : group.outcome === 'interrupted' ? '; they went on elsewhere or later' : '; all recovered';
    return el('details', { class: 'failure', open: k < 3 },
      el('summary', {}, el('strong', {}, `${counted(group.attempts, 'attempt')} ${words(group.outcome)}: `), group.reason),
      el('p', { class: 'note' }, `${counted(group.trials, 'trial')}${share}${lost}`),
      group.tail.length ? [el('p', { class: 'note' }, `The last lines of trial ${group.example}:`), el('pre', { tabindex: '0' }, group.tail.join('\n'))] : null,
      el('p', { class: 'trial-list' }, 'Trials: ', group.rows.slice(0, 30).map((row) => [trialButton(study, row), ' ']), group.trials > 30 ? `and ${group.trials - 30} more` : null));
  });
}), 'Failures');

function words(outcome) {
  return { fail: 'failed', infeasible: 'did not fit into the memory', interrupted: 'were interrupted', dropped: 'were cancelled' }[outcome] || outcome;
}
