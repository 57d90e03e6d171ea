// All trials of all studies in one set of columns, and which of them are selected by search and brushes.

const TRIALS_HAVE_ONE = new Set(STUDIES.flatMap((each) => each.trials.objectives.map((goal) => goal.name))).size === 1;
const TRIALS = joinTrials();

function joinTrials() {
  const study = [];
  const row = [];
  const offsets = [];
  STUDIES.forEach((each, s) => {
    offsets.push(study.length);
    each.trials.number.forEach((_, r) => { study.push(s); row.push(r); });
  });
  const found = { count: study.length, study, row, offsets, columns: [], byKey: new Map(), parameters: [], objectives: [] };
  const flat = (pick) => study.map((s, i) => pick(STUDIES[s].trials, row[i]));
  const add = (column) => {
    let { key } = column;
    while (found.byKey.has(key)) key = `${column.group}.${key}`;
    found.byKey.set(key, column);
    found.columns.push(Object.assign(column, { key }));
    return column;
  };
  const text = (key, title, values, group = 'about') => add({ key, title, kind: 'text', values, group });
  const number = (key, title, values, more = {}) => add({ key, title, kind: 'number', values, group: 'about', ...more });
  number('trial', 'trial', flat((t, r) => t.number[r]));
  if (SEVERAL) text('study', 'study', study.map((s) => STUDIES[s].head.study));
  text('state', 'state', flat((t, r) => at(t.state, r)));
  addObjectives(found, add);
  addParameters(found, add);
  number('step', 'last step', flat((t, r) => t.step[r]));
  addMetrics(found, add);
  number('runtime', 'runtime', flat((t, r) => t.runtime_s[r]), { format: duration });
  number('gpu_hours', 'GPU hours', flat((t, r) => t.gpu_hours[r]));
  number('wave', 'wave', flat((t, r) => t.wave[r]));
  number('attempts', 'attempts', flat((t, r) => t.attempts[r]));
  text('node', 'node', flat((t, r) => at(t.node, r)));
  text('origin', 'origin', flat((t, r) => at(t.origin, r)));
  text('reason', 'reason', flat((t, r) => at(t.reason, r)));
  found.rank = joinedRanks(found, flat((t, r) => t.rank[r]));
  found.state = found.byKey.get('state').values;
  found.number = found.byKey.get('trial').values;
  return found;
}

// Studies with the same single objective are ranked together; others each by themselves
function joinedRanks(found, ranks) {
  const isShared = STUDIES.every((each) => each.trials.objectives.length === 1 && each.trials.objectives[0].name === found.objectives[0].name);
  if (!SEVERAL || !isShared) return ranks;
  const [goal] = found.objectives;
  const sign = goal.isMinimized ? 1 : -1;
  const order = ranks.map((rank, i) => i).filter((i) => ranks[i] !== null).sort((a, b) => sign * (goal.values[a] - goal.values[b]) || a - b);
  const joined = ranks.map(() => null);
  order.forEach((i, place) => { joined[i] = place; });
  return joined;
}

function names(pick) {
  return [...new Set(STUDIES.flatMap((each) => pick(each.trials).map((column) => column.name)))];
}

function joinedColumn(found, pick, name, read) {
  const own = STUDIES.map((each) => pick(each.trials).find((column) => column.name === name));
  return found.study.map((s, i) => (own[s] ? read(own[s], found.row[i]) : null));
}

function addObjectives(found, add) {
  const pick = (t) => t.objectives;
  for (const name of names(pick)) {
    const first = STUDIES.flatMap((each) => each.trials.objectives).find((column) => column.name === name);
    const made = { name, isMinimized: first.is_minimized, report: first.report };
    const column = (key, title, field) => add({
      key, title, kind: 'number', group: 'objective', values: joinedColumn(found, pick, name, (own, r) => own[field][r]),
      isMinimized: first.is_minimized,
    });
    made.best = column(name, `${name}, best`, 'best');
    made.step = column(`${name}.step`, TRIALS_HAVE_ONE ? 'at step' : `${name}, at step`, 'best_step');
    made.final = column(`${name}.final`, `${name}, final`, 'final');
    made.values = joinedColumn(found, pick, name, (own, r) => own.counted[r]);
    found.objectives.push(made);
  }
}

function addParameters(found, add) {
  const pick = (t) => t.parameters;
  for (const name of names(pick)) {
    const own = STUDIES.map((each) => pick(each.trials).find((column) => column.name === name));
    const known = own.filter(Boolean);
    const asNumber = known.every((column) => column.kind === 'number');
    const choices = asNumber ? [] : [...new Set(known.flatMap((c) => (c.kind === 'choice' ? c.choices : c.rows.filter((v) => v !== null).map(String))))];
    const value = (column, r) => {
      const raw = column.rows[r];
      if (raw === null || asNumber) return raw;
      return choices.indexOf(column.kind === 'choice' ? column.choices[raw] : String(raw));
    };
    found.parameters.push(add({
      key: name, title: name, kind: asNumber ? 'number' : 'choice', group: 'param', choices,
      values: found.study.map((s, i) => (own[s] ? value(own[s], found.row[i]) : null)),
      low: Math.min(...known.map((c) => c.low ?? Infinity)), high: Math.max(...known.map((c) => c.high ?? -Infinity)),
      isLog: known.some((c) => c.is_log), isConditional: known.some((c) => c.is_conditional) || known.length < STUDIES.length,
    }));
  }
}

function addMetrics(found, add) {
  const pick = (t) => t.metrics;
  for (const name of names(pick)) {
    add({ key: name, title: name, kind: 'number', group: 'metric', values: joinedColumn(found, pick, name, (own, r) => own.rows[r]) });
  }
}

function cellText(column, i) {
  const value = column.values[i];
  if (value === null || value === undefined) return column.group === 'param' ? 'inactive' : '–';
  if (column.kind === 'choice') return column.choices[value];
  return column.format ? column.format(value) : shown(value);
}

// Short, and telling: the number, and the parameters in which trials differ
const DIFFERING = TRIALS.parameters.filter((column) => new Set(column.values).size > 1);
function trialName(i) {
  return `${SEVERAL ? `${STUDIES[TRIALS.study[i]].head.study} ` : ''}trial ${TRIALS.number[i]}`;
}

function describe(i) {
  const rows = [`${trialName(i)} · ${TRIALS.state[i]}`];
  for (const goal of TRIALS.objectives) {
    if (goal.values[i] !== null) rows.push([goal.name, shown(goal.values[i])]);
    else if (goal.best.values[i] !== null) rows.push([`${goal.name} so far`, shown(goal.best.values[i])]);
  }
  for (const column of TRIALS.parameters) rows.push([column.title, cellText(column, i)]);
  return rows;
}

// ---- selection

let SELECTED = [];
const SELECTION_LISTENERS = [];

function compare(value, sign, wanted) {
  if (value === null || value === undefined) return false;
  switch (sign) {
    case '<': return value < wanted;
    case '>': return value > wanted;
    case '<=': return value <= wanted;
    case '>=': return value >= wanted;
    case '!=': return value !== wanted;
    default: return value === wanted;
  }
}

// A word of the search: `lr>1e-5` compares a column, anything else is looked for in the row's texts
const COMPARISON = /^(.+?)(<=|>=|!=|==|=|<|>)(.+)$/;

function wordFilter(word) {
  const match = COMPARISON.exec(word);
  const column = match && TRIALS.byKey.get(match[1]);
  if (column) {
    const wanted = column.kind === 'number' ? Number(match[3]) : match[3].toLowerCase();
    return (i) => compare(column.kind === 'number' ? column.values[i] : cellText(column, i).toLowerCase(), match[2], wanted);
  }
  const low = word.toLowerCase();
  const texts = TRIALS.columns.filter((each) => each.kind !== 'number' || each.key === 'trial' || each.group === 'param');
  return (i) => texts.some((each) => cellText(each, i).toLowerCase().includes(low));
}

// Names that the search compares and that no column has: a text with an operator in it that is found nowhere either
function unknownColumns() {
  return choice('q', '').split(/\s+/).filter((word) => {
    const match = COMPARISON.exec(word);
    if (!match || TRIALS.byKey.has(match[1])) return false;
    const found = wordFilter(word);
    return !TRIALS.state.some((_, i) => found(i));
  }).map((word) => COMPARISON.exec(word)[1]);
}

function brushFilter({ key, low, high }) {
  const column = TRIALS.byKey.get(key);
  if (!column) return () => true;
  if (low === null) return (i) => column.values[i] === null;
  return (i) => column.values[i] !== null && column.values[i] >= low && column.values[i] <= high;
}

function select() {
  const filters = choice('q', '').split(/\s+/).filter(Boolean).map(wordFilter);
  filters.push(...brushes().map(brushFilter));
  const state = choice('state', '');
  if (state) filters.push((i) => TRIALS.state[i] === state);
  SELECTED = [];
  for (let i = 0; i < TRIALS.count; i += 1) if (filters.every((keeps) => keeps(i))) SELECTED.push(i);
  for (const react of SELECTION_LISTENERS) react();
}

onChoice(['q', 'brush.', 'state'], select);
