// Scales from data to pixels, and their ticks.

function scaleOf({ low, high, isLog, from, to }) {
  let a = low;
  let b = high;
  if (!(a < b)) {
    const pad = isLog ? null : Math.abs(a) * 0.05 || 0.5;
    [a, b] = isLog && a > 0 ? [a / 1.5, a * 1.5] : [a - (pad || 0.5), b + (pad || 0.5)];
  }
  const log = isLog && a > 0;
  const f = log ? Math.log : (x) => x;
  const [fa, fb] = [f(a), f(b)];
  const scale = (x) => from + ((f(x) - fa) / (fb - fa)) * (to - from);
  scale.invert = (pixel) => {
    const y = fa + ((pixel - from) / (to - from)) * (fb - fa);
    return log ? Math.exp(y) : y;
  };
  Object.assign(scale, { low: a, high: b, isLog: log, ticks: (count) => (log ? logTicks(a, b, count) : ticksOf(a, b, count)) });
  return scale;
}

function ticksOf(low, high, count) {
  const rough = (high - low) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough) || rough;
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i += 1) {
    found.push(Number((i * step).toPrecision(12)));
  }
  return found;
}

function logTicks(low, high, count) {
  const [first, last] = [Math.ceil(Math.log10(low) - 1e-9), Math.floor(Math.log10(high) + 1e-9)];
  const every = Math.max(1, Math.ceil((last - first + 1) / Math.max(2, count)));
  const decades = [];
  for (let power = first; power <= last; power += every) decades.push(Number(`1e${power}`));
  if (decades.length >= 2) return decades;
  const found = [];
  for (let power = first - 1; power <= last + 1; power += 1) {
    for (const digit of [1, 2, 5]) {
      const value = Number(`${digit}e${power}`);
      if (value >= low * 0.999 && value <= high * 1.001) found.push(value);
    }
  }
  return found.length >= 2 ? found : [low, high];
}

function tickText(value) {
  if (value === 0) return '0';
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-3) return tidy(value.toExponential(2));
  return String(Number(value.toPrecision(5)));
}

function extent(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value === null || value === undefined || Number.isNaN(value)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low <= high ? [low, high] : null;
}

function padded([low, high], share = 0.04) {
  const pad = (high - low) * share || Math.abs(high) * share || 0.5;
  return [low - pad, high + pad];
}

// What most values fit into: a few trials that diverged must not flatten all others. Returns [low, high, cut off]
function robustExtent(values, isMinimized) {
  const known = values.filter((value) => value !== null && value !== undefined).sort((a, b) => a - b);
  if (known.length < 8) return known.length ? [known[0], known[known.length - 1], false] : null;
  const q = (share) => known[Math.round(share * (known.length - 1))];
  const spread = q(0.75) - q(0.25) || q(0.9) - q(0.1);
  if (!spread) return [known[0], known[known.length - 1], false];
  const low = isMinimized ? known[0] : Math.max(known[0], q(0.25) - 4 * spread);
  const high = isMinimized ? Math.min(known[known.length - 1], q(0.75) + 4 * spread) : known[known.length - 1];
  return [low, high, low > known[0] || high < known[known.length - 1]];
}

// ---- axes

const FONT = '12px system-ui, sans-serif';

function drawAxisX(ctx, scale, box, label, options = {}) {
  ctx.font = FONT;
  ctx.fillStyle = colour('muted');
  ctx.textAlign = 'center';
  ctx.textBaseline = 'top';
  const room = options.ticks ? (box.right - box.left) / options.ticks.length - 6 : 0;
  const ticks = options.ticks ? options.ticks.map(([value, text]) => [value, fitted(ctx, text, Math.max(30, room))]) : scale.ticks(Math.max(2, Math.floor((box.right - box.left) / 80))).map((t) => [t, tickText(t)]);
  let end = -Infinity;
  for (const [value, text] of ticks) {
    const x = scale(value);
    line(ctx, x, box.top, x, box.bottom, colour('grid'));
    const half = ctx.measureText(text).width / 2;
    const centre = Math.min(Math.max(x, half), box.width - half);
    if (centre - half < end + 4) continue;
    ctx.fillText(text, centre, box.bottom + 6);
    end = centre + half;
  }
  if (label) {
    ctx.textAlign = 'right';
    ctx.fillStyle = colour('text');
    ctx.fillText(fitted(ctx, label, box.right - box.left), box.right, box.bottom + 22);
  }
}

function drawAxisY(ctx, scale, box, label, choices) {
  ctx.font = FONT;
  ctx.fillStyle = colour('muted');
  ctx.textAlign = 'right';
  ctx.textBaseline = 'middle';
  for (const [value, text] of yTicks(scale, choices, box.bottom - box.top)) {
    const y = scale(value);
    line(ctx, box.left, y, box.right, y, colour('grid'));
    ctx.fillText(fitted(ctx, text, WIDEST_LABEL), box.left - 6, y);
  }
  if (label) {
    ctx.textAlign = 'left';
    ctx.textBaseline = 'top';
    ctx.fillStyle = colour('text');
    ctx.fillText(fitted(ctx, label, box.right), 4, 3);
  }
}

function fitted(ctx, text, width) {
  if (ctx.measureText(text).width <= width) return text;
  let cut = text;
  while (cut.length > 1 && ctx.measureText(`${cut}…`).width > width) cut = cut.slice(0, -1);
  return `${cut}…`;
}

// A name cut in its middle: names of parameters often differ in their ends only
function fittedName(ctx, text, width) {
  if (ctx.measureText(text).width <= width) return text;
  for (let kept = text.length - 1; kept > 3; kept -= 1) {
    const head = Math.ceil(kept / 3);
    const cut = `${text.slice(0, head)}…${text.slice(head - kept)}`;
    if (ctx.measureText(cut).width <= width) return cut;
  }
  return `…${text.slice(-2)}`;
}

function line(ctx, x0, y0, x1, y1, style, width = 1) {
  ctx.strokeStyle = style;
  ctx.lineWidth = width;
  ctx.beginPath();
  ctx.moveTo(x0, y0);
  ctx.lineTo(x1, y1);
  ctx.stroke();
}

function dot(ctx, x, y, radius, style) {
  ctx.fillStyle = style;
  ctx.beginPath();
  ctx.arc(x, y, radius, 0, 2 * Math.PI);
  ctx.fill();
}

const WIDEST_LABEL = 110;

function yTicks(scale, choices, height) {
  return choices || scale.ticks(Math.max(2, Math.floor(height / 45))).map((value) => [value, tickText(value)]);
}

// How much room the labels of a vertical axis need
function leftMargin(ctx, scale, choices, height) {
  ctx.font = FONT;
  const widths = yTicks(scale, choices, height).map(([, text]) => Math.min(WIDEST_LABEL, ctx.measureText(text).width));
  return Math.max(28, 12 + Math.max(0, ...widths));
}
