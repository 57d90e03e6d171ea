// All trials: sorted, searched, and only the rows on screen are in the document, so that ten thousand stay fluid.

const ROW_PX = 30;

section('trials', 'All trials', () => {
  const holder = el('div', { class: 'grid', tabindex: '0', role: 'region', 'aria-label': 'All trials, scrolls' });
  const count = el('span', { class: 'note', role: 'status' });
  const search = el('input', {
    type: 'search', id: 'search', value: choice('q', ''), placeholder: 'lr>1e-5 state=complete n1 …', 'aria-describedby': 'search-help',
    oninput: (event) => choose('q', event.target.value),
  });
  onChoice(['q'], () => { if (document.activeElement !== search) search.value = choice('q', ''); });
  const states = [...new Set(TRIALS.state)].sort();
  const own = { holder, count, order: [], first: -1, columns: [] };
  onChoice(['sort', 'all'], () => refreshTable(own));
  SELECTION_LISTENERS.push(() => refreshTable(own));
  HOVER_LISTENERS.push((trial) => markRow(own, trial));
  holder.addEventListener('scroll', () => showRows(own), { passive: true });
  const observer = new ResizeObserver(() => showRows(own, true));
  observer.observe(holder);
  refreshTable(own);
  return [
    el('div', { class: 'controls' },
      el('label', { class: 'control', for: 'search' }, 'Search '), search,
      selectOf('State', 'state', [['', 'all'], ...states.map((state) => [state, state.toLowerCase()])], ''),
      checkbox('columns that are the same in every trial, too', 'all'), count),
    el('p', { class: 'note', id: 'search-help' }, 'Words are looked for in names, states, nodes and reasons; name<value, name>value and name=value compare a column. A click on a row shows the trial.'),
    holder,
  ];
});

// The columns to show: constant ones only if the reader wants them
function shownColumns() {
  if (choice('all', '') === '1') return TRIALS.columns;
  return TRIALS.columns.filter((column) => ['trial', 'state'].includes(column.key) || new Set(column.values).size > 1);
}

function sortKey() {
  const text = choice('sort', '');
  const key = text.replace(/^-/, '');
  return { key: TRIALS.byKey.has(key) ? key : '', isDown: text.startsWith('-') };
}

function sortedTrials() {
  const { key, isDown } = sortKey();
  if (!key) return [...SELECTED].sort((a, b) => rankOf(a) - rankOf(b) || a - b);
  const column = TRIALS.byKey.get(key);
  const value = column.kind === 'text' || column.kind === 'choice' ? (i) => (column.values[i] === null ? null : cellText(column, i)) : (i) => column.values[i];
  const keys = new Map(SELECTED.map((i) => [i, value(i)]));
  return [...SELECTED].sort((a, b) => {
    const [x, y] = [keys.get(a), keys.get(b)];
    if (x === null || y === null) return (x === null) - (y === null) || a - b;
    const order = typeof x === 'string' ? x.localeCompare(y, 'en', { numeric: true }) : x - y;
    return (isDown ? -order : order) || a - b;
  });
}

function refreshTable(own) {
  own.columns = shownColumns();
  own.order = sortedTrials();
  own.first = -1;
  const unknown = unknownColumns();
  own.count.textContent = `${own.order.length} of ${counted(TRIALS.count, 'trial')}`
    + (unknown.length ? `; there is no column ${unknown.join(', ')}` : '');
  const widths = own.columns.map(columnWidth);
  const { key, isDown } = sortKey();
  own.body = el('tbody', {});
  const table = el('table', { class: 'trials', 'aria-rowcount': own.order.length + 1 },
    el('caption', { class: 'unseen' }, 'All trials, one per row'),
    el('colgroup', {}, widths.map((width) => { const col = el('col', {}); col.style.width = `${width}px`; return col; })),
    el('thead', {}, el('tr', { 'aria-rowindex': 1 }, own.columns.map((column) => el('th', {
      scope: 'col', 'aria-sort': column.key === key ? (isDown ? 'descending' : 'ascending') : null, class: column.kind === 'number' ? 'number' : null,
    }, el('button', { type: 'button', 'data-key': column.key, title: column.title, onclick: () => sortBy(own, column) }, column.title, column.key === key ? el('span', { 'aria-hidden': 'true' }, isDown ? ' ↓' : ' ↑') : null))))),
    own.body);
  table.style.width = `${widths.reduce((a, b) => a + b, 0)}px`;
  own.holder.replaceChildren(table);
  own.holder.style.height = `${Math.min(520, (own.order.length + 1) * ROW_PX + 20)}px`;
  showRows(own, true);
}

// Wide enough for what is in the column, as far as the first rows show
const WIDEST_PX = 220;
function columnWidth(column) {
  const ctx = el('canvas').getContext('2d');
  const family = getComputedStyle(document.body).fontFamily;
  ctx.font = `600 13.5px ${family}`;
  let widest = ctx.measureText(`${column.title} ↓`).width;
  ctx.font = `13.5px ${family}`;
  for (let i = 0; i < Math.min(TRIALS.count, 400); i += 1) widest = Math.max(widest, ctx.measureText(cellText(column, i)).width);
  const badge = column.key === 'state' ? 12 : 0;
  return Math.ceil(Math.min(widest, column.key === 'reason' ? 3 * WIDEST_PX : WIDEST_PX) + badge + 20);
}

function sortBy(own, column) {
  const now = choice('sort', '');
  const next = now === column.key ? `-${column.key}` : now === `-${column.key}` ? '' : column.key;
  choose('sort', next);
  announce(next ? `sorted by ${column.title}, ${next.startsWith('-') ? 'descending' : 'ascending'}` : 'sorted by rank');
  const button = [...own.holder.querySelectorAll('th button')].find((each) => each.dataset.key === column.key);
  if (button) button.focus({ preventScroll: true });
}

function showRows(own, always = false) {
  if (!own.body) return;
  const fits = Math.ceil((own.holder.clientHeight || 520) / ROW_PX) + 12;
  const first = Math.max(0, Math.min(own.order.length - fits, Math.floor(own.holder.scrollTop / ROW_PX) - 6));
  if (!always && Math.abs(first - own.first) < 4) return;
  own.first = first;
  const rows = own.order.slice(first, first + fits);
  const filler = (count) => {
    const row = el('tr', { 'aria-hidden': 'true', class: 'filler' }, el('td', { colspan: own.columns.length }));
    row.firstChild.style.height = `${count * ROW_PX}px`;
    return count > 0 ? row : null;
  };
  const shownRows = [filler(first), ...rows.map((i, k) => tableRow(own, i, first + k)), filler(own.order.length - first - rows.length)];
  own.body.replaceChildren(...shownRows.filter(Boolean));
  markRow(own, HOVERED);
}

function tableRow(own, i, place) {
  return el('tr', {
    'aria-rowindex': place + 2, 'data-trial': i, onclick: () => showDetails(i), onpointerenter: () => hover(i), onpointerleave: () => hover(null),
  }, own.columns.map((column) => {
    const text = cellText(column, i);
    const missing = column.values[i] === null || column.values[i] === undefined;
    const content = column.key === 'state' ? stateBadge(text)
      : column.key === 'trial' ? el('button', { type: 'button', class: 'link', 'aria-label': `Show trial ${text}` }, text) : text;
    return el('td', { class: [column.kind === 'number' ? 'number' : '', missing ? 'muted' : ''].join(' ').trim() || null, title: text.length > 24 ? text : null }, content);
  }));
}

function markRow(own, trial) {
  for (const row of own.body.querySelectorAll('tr[data-trial]')) row.classList.toggle('hovered', Number(row.dataset.trial) === trial);
}
