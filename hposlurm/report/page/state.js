// What the reader has chosen: sort, filter, brushes, axes, theme. It lives in the URL's fragment, so that a link shows the
// same view.

const STATE = new Map();
const LISTENERS = [];

function readFragment() {
  STATE.clear();
  for (const part of location.hash.slice(1).split('&')) {
    const cut = part.indexOf('=');
    if (cut <= 0) continue;
    try {
      STATE.set(decodeURIComponent(part.slice(0, cut)), decodeURIComponent(part.slice(cut + 1)));
    } catch (error) { /* a link that was cut off in the middle */ }
  }
}

function writeFragment() {
  const escape = (text) => encodeURIComponent(text).replace(/%2C/g, ',').replace(/%3A/g, ':');
  const text = [...STATE].map(([key, value]) => `${escape(key)}=${escape(value)}`).join('&');
  history.replaceState(null, '', text ? `#${text}` : location.href.split('#')[0]);
}

function choice(key, fallback) {
  return STATE.has(key) ? STATE.get(key) : fallback;
}

// Remembers a choice; what is the default anyway does not lengthen the link
function choose(key, value, fallback = '') {
  if (value === fallback) STATE.delete(key);
  else STATE.set(key, String(value));
  writeFragment();
  for (const [keys, react] of LISTENERS) if (keys.some((prefix) => key.startsWith(prefix))) react(key);
}

function onChoice(keys, react) {
  LISTENERS.push([keys, react]);
}

function brushes() {
  const found = [];
  for (const [key, value] of STATE) {
    if (!key.startsWith('brush.')) continue;
    const [low, high] = value.split(':').map((text) => (text === '' ? null : Number(text)));
    found.push({ key: key.slice(6), low, high });
  }
  return found;
}

readFragment();
window.addEventListener('hashchange', () => {
  readFragment();
  applyTheme();
  for (const [, react] of LISTENERS) react('');
});

// ---- controls

function selectOf(label, key, options, fallback) {
  const now = choice(key, fallback);
  const select = el('select', { onchange: (event) => choose(key, event.target.value, fallback) },
    options.map(([value, text]) => el('option', { value, selected: value === now }, text)));
  onChoice([key], () => { select.value = choice(key, fallback); });
  return el('label', { class: 'control' }, `${label} `, select);
}

function checkbox(label, key) {
  const box = el('input', {
    type: 'checkbox', checked: choice(key, '') === '1',
    onchange: (event) => choose(key, event.target.checked ? '1' : ''),
  });
  onChoice([key], () => { box.checked = choice(key, '') === '1'; });
  return el('label', { class: 'control' }, box, ` ${label}`);
}

// ---- theme

const COLOURS = new Map();

function isDark() {
  const chosen = choice('theme', 'system');
  return chosen === 'dark' || (chosen === 'system' && matchMedia('(prefers-color-scheme: dark)').matches);
}

function applyTheme() {
  COLOURS.clear();
  document.documentElement.dataset.theme = isDark() ? 'dark' : 'light';
}

applyTheme();
onChoice(['theme'], () => { applyTheme(); redrawAll(); });
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { applyTheme(); redrawAll(); });

function colour(name) {
  if (!COLOURS.has(name)) COLOURS.set(name, getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim());
  return COLOURS.get(name);
}

// From the best (0) to the worst (1): cividis-like, so that it can be told apart with every kind of colour vision; the
// best is what stands out from the background
const RAMP = [[0, 34, 78], [35, 62, 108], [87, 93, 109], [124, 123, 120], [165, 156, 116], [211, 193, 100], [254, 232, 56]];
function ramp(share) {
  const place = Math.min(Math.max(share, 0), 1) * (isDark() ? 0.68 : 0.82); // the rest is lost in the background
  const x = (isDark() ? 1 - place : place) * (RAMP.length - 1);
  const low = Math.min(Math.floor(x), RAMP.length - 2);
  const mixed = RAMP[low].map((value, i) => Math.round(value + (RAMP[low + 1][i] - value) * (x - low)));
  return `rgb(${mixed.join(',')})`;
}

const STUDY_COLOURS = ['series-0', 'series-1', 'series-2', 'series-3', 'series-4', 'series-5'];
function studyColour(s) {
  return colour(STUDY_COLOURS[s % STUDY_COLOURS.length]);
}

function stateColour(state) {
  return colour(`state-${state.toLowerCase()}`);
}
