// Hover, keyboard and click of all figures: one trial at a time is highlighted, in every figure.

let HOVERED = null;
const HOVER_LISTENERS = [];

function hover(trial) {
  if (trial === HOVERED) return;
  HOVERED = trial;
  for (const own of CHARTS) if (own.isSeen) own.highlight(trial);
  for (const react of HOVER_LISTENERS) react(trial);
}

function addHover(own) {
  let place = -1;
  const stage = own.stage;
  stage.addEventListener('pointermove', (event) => {
    if (own.isBrushing) return;
    const mark = markAt(own, event);
    hover(mark && mark.trial !== undefined ? mark.trial : null);
    if (mark) showTip(tipOf(mark), event.clientX, event.clientY);
    else hideTip();
  });
  stage.addEventListener('pointerleave', () => { hover(null); hideTip(); });
  stage.addEventListener('click', (event) => {
    const mark = own.isBrushing || own.wasBrushed ? null : markAt(own, event);
    if (mark && mark.trial !== undefined) showDetails(mark.trial);
  });
  stage.addEventListener('keydown', (event) => {
    const marks = own.marks;
    if (event.key === 'Escape') { hover(null); hideTip(); return; }
    if (event.key === 'Enter' && place >= 0 && marks[place] && marks[place].trial !== undefined) {
      event.preventDefault(); // else the same key would press the button that closes the dialog
      showDetails(marks[place].trial);
      return;
    }
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!by || !marks.length) return;
    event.preventDefault();
    place = (place + by + marks.length) % marks.length;
    const mark = marks[place];
    hover(mark.trial === undefined ? null : mark.trial);
    const box = stage.getBoundingClientRect();
    showTip(tipOf(mark), box.left + mark.x, box.top + mark.y);
    announce(tipOf(mark).map((row) => (Array.isArray(row) ? row.join(' ') : row)).join(', '));
  });
  stage.addEventListener('blur', () => { hover(null); hideTip(); });
}

function markAt(own, event) {
  const box = own.stage.getBoundingClientRect();
  const [x, y] = [event.clientX - box.left, event.clientY - box.top];
  if (own.nearest) return own.nearest(x, y, own);
  let best = null;
  let least = 15 * 15;
  for (const mark of own.marks) {
    const inside = mark.width !== undefined && x >= mark.x && x <= mark.x + mark.width && Math.abs(y - mark.y) <= mark.height / 2;
    const away = inside ? 0 : (mark.x - x) ** 2 + (mark.y - y) ** 2;
    if (away < least) { least = away; best = mark; }
  }
  return best;
}

function tipOf(mark) {
  const own = mark.text ? [].concat(mark.text) : [];
  return mark.trial === undefined ? own : [...own, ...describe(mark.trial)];
}

// `rows` are texts, or pairs of a name and a value
function showTip(rows, x, y) {
  const tip = clear(document.getElementById('tip'));
  const list = el('dl', {});
  for (const row of rows) {
    if (Array.isArray(row)) list.append(el('dt', {}, row[0]), el('dd', {}, row[1]));
    else list.append(el('dt', { class: 'whole' }, row));
  }
  tip.append(list);
  tip.hidden = false;
  const { offsetWidth: width, offsetHeight: height } = tip;
  const left = x + 16 + width > innerWidth ? Math.max(4, x - width - 16) : x + 16;
  const top = y + 16 + height > innerHeight ? Math.max(4, y - height - 16) : y + 16;
  tip.style.left = `${left}px`;
  tip.style.top = `${top}px`;
}

function hideTip() {
  document.getElementById('tip').hidden = true;
}

window.addEventListener('scroll', hideTip, { passive: true });
