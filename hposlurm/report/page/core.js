'use strict';
// The page's data, and what every section uses to build elements and to write numbers. Text from a study reaches the
// page as text nodes only, never as markup.

const PAGE = JSON.parse(document.getElementById('data').textContent);
const STUDIES = PAGE.studies;
const SEVERAL = STUDIES.length > 1;

function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (name === 'value' || name === 'checked' || name === 'selected' || name === 'open') node[name] = value;
    else node.setAttribute(name, value === true ? '' : value);
  }
  append(node, children);
  return node;
}

function append(node, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) append(node, child);
    else node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return node;
}

function clear(node) {
  node.replaceChildren();
  return node;
}

// Four significant digits, as hposlurm writes them on a terminal
function shown(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return '–';
  if (typeof value !== 'number') return String(value);
  if (Number.isInteger(value) && Math.abs(value) < 1e7) return String(value);
  const size = Math.abs(value);
  if (size >= 1000 && size < 1e7) return value.toFixed(0);
  if (size < 1e-4 || size >= 1e7) return tidy(value.toExponential(3));
  return tidy(value.toPrecision(4));
}

function tidy(text) {
  const [digits, exponent] = text.split('e');
  const short = digits.includes('.') ? digits.replace(/\.?0+$/, '') : digits;
  return exponent ? `${short}e${exponent.replace('+', '')}` : short;
}

function duration(seconds) {
  if (seconds === null || seconds === undefined) return '–';
  const whole = Math.round(Math.max(0, seconds));
  const two = (n) => String(n).padStart(2, '0');
  if (whole < 60) return `${whole}s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m${two(whole % 60)}s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)}h${two(Math.floor((whole % 3600) / 60))}m`;
  return `${Math.floor(whole / 86400)}d${two(Math.floor((whole % 86400) / 3600))}h`;
}

function counted(number, noun) {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}

function percent(share) {
  const value = 100 * share;
  if (value > 0 && value < 0.1) return '< 0.1 %';
  return `${value >= 10 || value === 0 ? value.toFixed(0) : value.toPrecision(2)} %`;
}

function at(column, row) {
  const place = column.rows[row];
  return place === null ? null : column.values[place];
}

// A table of a few rows: `heads` are texts, `rows` are arrays of texts, numbers or elements
function smallTable(caption, heads, rows, options = {}) {
  const isNumber = (cell) => typeof cell === 'number';
  const isNumeric = (k) => rows.length > 0 && !(k === 0 && options.rowHeads) && isNumber(rows[0][k]);
  const cell = (value) => el('td', { class: isNumber(value) ? 'number' : null }, isNumber(value) ? shown(value) : value);
  return el('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': caption },
    el('table', { class: options.class || null },
      el('caption', { class: options.showCaption ? null : 'unseen' }, caption),
      el('thead', {}, el('tr', {}, heads.map((head, k) => el('th', { scope: 'col', class: isNumeric(k) ? 'number' : null }, head)))),
      el('tbody', {}, rows.map((row) => el('tr', {},
        row.map((value, i) => (i === 0 && options.rowHeads
          ? el('th', { scope: 'row' }, isNumber(value) ? shown(value) : value) : cell(value))))))));
}

const SECTIONS = [];
// `build` returns the content of a section, null if there is nothing to show; `short` is for the list of sections
function section(id, title, build, short = title) {
  SECTIONS.push({ id, title, build, short });
}

// One part for each study that has something to show; with a heading where there are several studies
function perStudy(build) {
  const parts = STUDIES.map((study, s) => ({ study, content: build(study, s) })).filter((part) => part.content);
  if (!parts.length) return null;
  return parts.map(({ study, content }) => el('div', { class: 'part' },
    SEVERAL ? el('h3', {}, study.head.study) : null, content));
}

function announce(text) {
  document.getElementById('live').textContent = text;
}
