// Brushes on the axes of the parallel coordinates: by dragging, or by typing a range.

function addBrushing(own) {
  const { stage } = own;
  let begin = null;
  let axis = null;
  const place = (event) => {
    const box = stage.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const axisAt = (x) => (own.axes || []).find((each) => Math.abs(each.x - x) <= 14);
  stage.addEventListener('pointerdown', (event) => {
    const [x, y] = place(event);
    axis = axisAt(x);
    own.wasBrushed = false;
    if (!axis || event.button !== 0) { axis = null; return; }
    begin = y;
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener('pointermove', (event) => {
    const [x, y] = place(event);
    stage.style.cursor = axisAt(x) ? 'row-resize' : 'crosshair';
    if (!axis || Math.abs(y - begin) < 4) return;
    own.isBrushing = true;
    hideTip();
    own.overlay = (ctx) => {
      ctx.globalAlpha = 0.3;
      ctx.fillStyle = colour('accent');
      ctx.fillRect(axis.x - 9, Math.min(begin, y), 18, Math.abs(y - begin));
      ctx.globalAlpha = 1;
    };
    own.highlight(null);
  });
  stage.addEventListener('pointerup', (event) => {
    if (!axis) return;
    const [, y] = place(event);
    const ended = axis;
    own.overlay = null;
    own.wasBrushed = true;
    own.isBrushing = false;
    axis = null;
    if (Math.abs(y - begin) < 4) {
      if (begin > own.box.bottom + 8) setBrush(ended.axis.key, ':');
      else own.wasBrushed = STATE.has(`brush.${ended.axis.key}`);
      if (own.wasBrushed && begin <= own.box.bottom + 8) setBrush(ended.axis.key, '');
      return;
    }
    if (Math.min(begin, y) > own.box.bottom) { setBrush(ended.axis.key, ':'); return; }
    const hold = (value) => Math.min(Math.max(value, own.box.top), own.box.bottom);
    const ends = [ended.scale.invert(hold(begin)), ended.scale.invert(hold(y))].sort((a, b) => a - b);
    const [least, most] = openEnds(ended.axis, ends);
    setBrush(ended.axis.key, `${outward(least, -1)}:${outward(most, 1)}`);
  });
  stage.addEventListener('pointercancel', () => { axis = null; own.isBrushing = false; own.overlay = null; own.highlight(null); });
}

// A brush up to the end of an axis of values takes what lies beyond the figure with it
function openEnds(axis, [low, high]) {
  if (!axis.isGoal) return [low, high];
  const [a, b] = robustExtent(axis.values, axis.isMinimized);
  const all = extent(axis.values);
  return [low <= a ? all[0] : low, high >= b ? all[1] : high];
}

// Four digits, rounded so that what lies at the end stays inside
function outward(value, sign) {
  const rounded = Number(value.toPrecision(4));
  if ((rounded - value) * sign >= 0) return rounded;
  const unit = 10 ** (Math.floor(Math.log10(Math.abs(value))) - 3);
  return Number((rounded + sign * unit).toPrecision(5));
}

function setBrush(key, value) {
  choose(`brush.${key}`, value);
  announce(`${counted(SELECTED.length, 'trial')} of ${TRIALS.count} selected`);
}

function brushText({ key, low, high }) {
  const column = axisColumns().get(key);
  const title = column ? column.title : key;
  if (low === null) return `${title} is inactive`;
  if (column && column.kind === 'choice') {
    return `${title}: ${column.choices.filter((_, c) => c >= low && c <= high).join(', ') || 'none'}`;
  }
  return `${title} from ${shown(low)} to ${shown(high)}`;
}

function brushChips() {
  const holder = el('p', { class: 'chips' });
  const show = () => {
    clear(holder);
    for (const brush of brushes()) {
      holder.append(el('button', { type: 'button', class: 'chip', onclick: () => setBrush(brush.key, '') },
        brushText(brush), el('span', { 'aria-hidden': 'true' }, ' ✕'), el('span', { class: 'unseen' }, ', remove')));
    }
    holder.append(el('span', { class: 'note' }, `${SELECTED.length} of ${counted(TRIALS.count, 'trial')} selected`));
  };
  SELECTION_LISTENERS.push(show);
  show();
  return holder;
}

// The same for the keyboard: an axis, and the ends of the range
function typedBrush(axes) {
  const axis = el('select', { 'aria-label': 'Axis' }, axes.map((each) => el('option', { value: each.key }, each.title)));
  const low = el('input', { type: 'text', inputmode: 'decimal', size: '7', 'aria-label': 'from', placeholder: 'from' });
  const high = el('input', { type: 'text', inputmode: 'decimal', size: '7', 'aria-label': 'to', placeholder: 'to' });
  const submit = (event) => {
    event.preventDefault();
    const column = axisColumns().get(axis.value);
    const read = (input, end) => {
      const text = input.value.trim();
      if (text === '') return extent(column.values)[end];
      return column.kind === 'choice' && column.choices.includes(text) ? column.choices.indexOf(text) : Number(text);
    };
    const ends = [read(low, 0), read(high, 1)];
    if (ends.some(Number.isNaN)) { announce('that is not a range'); return; }
    setBrush(axis.value, ends.join(':'));
  };
  return el('details', { class: 'typed' }, el('summary', {}, 'Type a range'),
    el('form', { onsubmit: submit }, axis, low, high, el('button', {}, 'Filter')));
}
