// Drawing: one set of calls for the screen (canvas) and for files (SVG), colours that follow light and dark.

/** Make an element: `el("p.muted", {title: "..."}, "text", child)`. Strings become text, never markup. */
function el(what, attributes = {}, ...children) {
  const [tag, ...classes] = what.split(".");
  const node = document.createElement(tag || "div");
  if (classes.length) node.className = classes.join(" ");
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

const paper = matchMedia("print"); // what is printed is light

const dark = () => {
  if (paper.matches) return false;
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
};

const NAMES = ["ink", "muted", "line", "panel", "accent", "fill", "warm"];
let colours = null;

/** The style sheet's colours as values that a canvas takes. */
function palette() {
  if (!colours) {
    const probe = document.body.appendChild(el("span"));
    colours = {};
    for (const name of NAMES) {
      probe.style.color = `var(--${name})`;
      colours[name] = getComputedStyle(probe).color;
    }
    probe.remove();
    colours.heat = ramp(dark() ? DARK_HEAT : LIGHT_HEAT);
    colours.none = dark() ? [72, 76, 80] : [205, 203, 199];
  }
  return colours;
}

const LIGHT_HEAT = [[244, 242, 238], [168, 205, 210], [63, 132, 155], [17, 66, 95], [9, 30, 52]];
const DARK_HEAT = [[33, 38, 44], [28, 76, 96], [47, 133, 155], [132, 201, 205], [240, 250, 245]];

/** 256 colours through the given ones, evenly spaced. */
function ramp(stops) {
  return Array.from({ length: 256 }, (_, i) => {
    const at = (i / 255) * (stops.length - 1), low = Math.min(Math.floor(at), stops.length - 2), part = at - low;
    return stops[low].map((c, k) => Math.round(c + (stops[low + 1][k] - c) * part));
  });
}

const heat = (share) => palette().heat[Math.max(0, Math.min(255, Math.round(255 * share)))];
const heatColour = (share) => `rgb(${heat(share).join(" ")})`;

const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";
const MONO = "ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace";

/** Write text: `anchor` left, center or right; `at` is the middle of the line. */
function write(ctx, text, x, y, { colour = palette().muted, size = 11, anchor = "left", mono = false, bold = false } = {}) {
  ctx.font = `${bold ? "600 " : ""}${size}px ${mono ? MONO : FONT}`;
  ctx.fillStyle = colour;
  ctx.textAlign = anchor;
  ctx.textBaseline = "middle";
  ctx.fillText(text, x, y);
}

/** A heat map of `rows` x `columns` values in 0..1, as one picture scaled without smoothing. */
function drawHeat(ctx, x, y, width, height, rows, columns, value) {
  const image = new ImageData(columns, rows);
  for (let i = 0, at = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++, at += 4) {
      const share = value(i, j), [red, green, blue] = share === null ? palette().none : heat(share); // null: nothing to show
      image.data[at] = red;
      image.data[at + 1] = green;
      image.data[at + 2] = blue;
      image.data[at + 3] = 255;
    }
  }
  const small = document.createElement("canvas");
  small.width = columns;
  small.height = rows;
  small.getContext("2d").putImageData(image, 0, 0);
  ctx.imageSmoothingEnabled = false;
  ctx.drawImage(small, x, y, width, height);
}

/** How many columns of pictures, each `least` wide, fit: no more than needed for as many rows, and equal ones. */
function columnsFor(count, width, least) {
  const most = Math.max(1, Math.min(count, Math.floor(width / least)));
  return Math.ceil(count / Math.ceil(count / most));
}

/** A key to the colours of a heat map; `at` (0 to 1) has a mark, and a `name` under it. */
function drawKey(ctx, x, y, width, low, high, { at = null, name = "" } = {}) {
  drawHeat(ctx, x, y - 4, width, 8, 1, 64, (_, j) => j / 63);
  write(ctx, low, x - 6, y, { anchor: "right" });
  write(ctx, high, x + width + 6, y);
  if (at === null || at < 0 || at > 1) return;
  stroke(ctx, palette().warm, 2, [[x + at * width, y - 6], [x + at * width, y + 6]]);
  if (name) write(ctx, name, x + at * width, y + 14, { anchor: "center" });
}

/** The key to shares (`scaleOf`): from zero, or stretched over what there is; where all are heard alike is marked. */
function drawShareKey(ctx, x, y, room, scale, stretched) {
  const [from, to] = stretched ? [scale.low, scale.high] : [0, scale.full];
  const more = scale.most > to + 5e-4 ? "+" : "";
  drawKey(ctx, x + 46, y, Math.min(160, room - 110), stretched ? format.exact(from) : "0", `${stretched ? format.exact(to) : format.share(to)}${more}`,
    { at: to > from ? (scale.even - from) / (to - from) : null, name: `equal shares, ${format.exact(scale.even)}` });
}

const evenly = (scale) => `Were all heard alike, each share would be ${format.exact(scale.even)} (mark in the key).`;

/** A switch for colours stretched from the lowest to the highest share: [checkbox, label]. */
function stretchBox(act) {
  const box = el("input", { type: "checkbox", "aria-label": "exaggerate differences", onchange: act });
  return [box, el("label.choice", { title: "Colours from the lowest to the highest share in place of from zero: shows small differences, exaggerated" }, box, " exaggerate differences")];
}

/** Horizontal bars: items {label, value, low, high, mark, note}; a mark is a tick (that of all a dashed line), low to high an interval. */
function drawBars(ctx, width, items, { labels = 110, unit = "", colour = "fill", row = 22, mark = null } = {}) {
  const { ink, muted, line, warm, [colour]: fill } = palette();
  const ends = items.flatMap((i) => [i.value, i.low, i.high, i.mark, mark]).filter(known);
  const low = Math.min(0, ...ends), high = Math.max(0, ...ends, 1e-9), room = width - labels - 92;
  const x = (v) => labels + ((v - low) / (high - low)) * room;
  items.forEach((item, i) => {
    const y = i * row + row / 2;
    write(ctx, item.label, labels - 10, y, { colour: ink, size: 12, anchor: "right", mono: item.mono });
    ctx.fillStyle = fill;
    ctx.fillRect(Math.min(x(0), x(item.value)), y - 6, Math.max(1, Math.abs(x(item.value) - x(0))), 12);
    if (known(item.low) && known(item.high)) stroke(ctx, ink, 1.5, [[x(item.low), y], [x(item.high), y]]);
    if (known(item.mark)) stroke(ctx, ink, 1.5, [[x(item.mark), y - 9], [x(item.mark), y + 9]]);
    write(ctx, item.note ?? `${format.number(item.value)}${unit}`, labels + room + 10, y, { colour: muted, size: 12 });
  });
  stroke(ctx, line, 1, [[x(0), 0], [x(0), items.length * row]]);
  if (mark !== null) stroke(ctx, warm, 1.5, [[x(mark), 0], [x(mark), items.length * row]], [4, 3]);
}

function stroke(ctx, colour, width, points, dash = []) {
  ctx.strokeStyle = colour;
  ctx.lineWidth = width;
  ctx.setLineDash(dash);
  ctx.beginPath();
  points.forEach(([x, y], i) => (i ? ctx.lineTo(x, y) : ctx.moveTo(x, y)));
  ctx.stroke();
  ctx.setLineDash([]);
}

/** Round numbers between two ends, about `count` of them. */
function ticks(low, high, count = 4) {
  const rough = (high - low) / count || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * power).find((s) => s >= rough);
  const found = [];
  for (let v = Math.ceil(low / step) * step; v <= high + step / 1e6; v += step) found.push(Number(v.toPrecision(6)));
  return found;
}

/** Curves: series {name, points: [[x, y]], colour, dash}; names stand at the right end, kept apart. */
function drawLines(ctx, width, height, series, { x: xName, y: yName, xFormat = format.number }) {
  const { muted, line } = palette();
  const all = series.flatMap((s) => s.points), left = 44, right = 14 + 6.5 * Math.max(...series.map((s) => s.name.length)), top = 22, bottom = height - 34;
  const ys = all.map((p) => p[1]), span = Math.max(...ys) - Math.min(...ys) || 1;
  const low = [Math.min(...all.map((p) => p[0])), Math.max(0, Math.min(...ys) - 0.06 * span)];
  const high = [Math.max(...all.map((p) => p[0])), Math.max(...ys) + 0.06 * span];
  const X = (v) => left + ((v - low[0]) / (high[0] - low[0] || 1)) * (width - left - right);
  const Y = (v) => bottom - ((v - low[1]) / (high[1] - low[1] || 1)) * (bottom - top);
  for (const v of ticks(low[1], high[1])) {
    stroke(ctx, line, 1, [[left, Y(v)], [width - right, Y(v)]]);
    write(ctx, format.number(v), left - 8, Y(v), { anchor: "right" });
  }
  for (const v of ticks(low[0], high[0], Math.max(2, Math.floor((width - left - right) / 90)))) write(ctx, xFormat(v), X(v), bottom + 14, { anchor: "center" });
  write(ctx, yName, 0, 7);
  write(ctx, xName, width - right, bottom + 28, { anchor: "right" });
  let above = -Infinity;
  const named = series.map((s) => ({ s, y: Y(s.points[s.points.length - 1][1]) })).sort((a, b) => a.y - b.y);
  for (const { s, y } of named) {
    const colour = palette()[s.colour] ?? muted;
    stroke(ctx, colour, s.dash ? 1 : 1.75, s.points.map(([a, b]) => [X(a), Y(b)]), s.dash ?? []);
    above = Math.max(above + 14, y);
    write(ctx, s.name, width - right + 8, above, { colour });
  }
}

/** The calls above, written as SVG; knows what this page uses of a canvas, and no more. */
class SvgContext {
  constructor(width, height) {
    Object.assign(this, { width, height, parts: [], path: "", dash: [], globalAlpha: 1, lineWidth: 1, fillStyle: "", strokeStyle: "", font: "", textAlign: "left" });
  }
  add(tag, attributes, text) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, typeof value === "number" ? Number(value.toFixed(3)) : value);
    if (text !== undefined) node.textContent = text;
    this.parts.push(node);
  }
  get look() {
    return this.globalAlpha < 1 ? { opacity: this.globalAlpha } : {};
  }
  beginPath() { this.path = ""; }
  moveTo(x, y) { this.path += `M${x.toFixed(2)} ${y.toFixed(2)}`; }
  lineTo(x, y) { this.path += `L${x.toFixed(2)} ${y.toFixed(2)}`; }
  bezierCurveTo(...p) { this.path += `C${p.map((v) => v.toFixed(2)).join(" ")}`; }
  arc(x, y, r) { this.path += `M${(x - r).toFixed(2)} ${y.toFixed(2)}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`; }
  setLineDash(dash) { this.dash = dash; }
  stroke() {
    const dash = this.dash.length ? { "stroke-dasharray": this.dash.join(" ") } : {};
    this.add("path", { d: this.path, fill: "none", stroke: this.strokeStyle, "stroke-width": this.lineWidth, ...dash, ...this.look });
  }
  fill() { this.add("path", { d: this.path, fill: this.fillStyle, ...this.look }); }
  fillRect(x, y, width, height) { this.add("rect", { x, y, width, height, fill: this.fillStyle, ...this.look }); }
  strokeRect(x, y, width, height) { this.add("rect", { x, y, width, height, fill: "none", stroke: this.strokeStyle, "stroke-width": this.lineWidth }); }
  fillText(text, x, y) {
    const [, weight, size, family] = this.font.match(/^(?:(\d+) )?([\d.]+)px (.*)$/);
    const anchor = { left: "start", center: "middle", right: "end" }[this.textAlign];
    this.add("text", { x, y, fill: this.fillStyle, "font-size": size, "font-family": family, "text-anchor": anchor, "dominant-baseline": "central", ...(weight ? { "font-weight": weight } : {}) }, text);
  }
  drawImage(image, x, y, width, height) {
    this.add("image", { x, y, width, height, href: image.toDataURL(), preserveAspectRatio: "none", "image-rendering": "pixelated" });
  }
  text() {
    const root = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    for (const [name, value] of Object.entries({ width: this.width, height: this.height, viewBox: `0 0 ${this.width} ${this.height}` })) root.setAttribute(name, value);
    root.append(...this.parts);
    return new XMLSerializer().serializeToString(root);
  }
}
