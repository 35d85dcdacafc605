// The wiring of a graph: neurons on a ring, communities side by side, edges across; and what changed since the start.

const STRAND = 0.62; // how far edges bend to the middle of the ring
const HUES = [205, 28, 150, 275, 0, 55, 320, 100, 180, 240];

/** The colour of community g. */
const HUE = { light: (g) => `hsl(${HUES[g % HUES.length]}, 60%, 40%)`, dark: (g) => `hsl(${HUES[g % HUES.length]}, 55%, 62%)` };
const groupColour = (g) => (dark() ? HUE.dark : HUE.light)(g);

/** Communities of more than one neuron that are more than chance; none where they are not known of all neurons. */
function communitiesOf(look) {
  const found = look.survey?.communities, groups = found?.groups ?? [];
  return groups.flat().length === look.survey?.neurons && (found.null?.p ?? 1) <= 0.05 ? groups : [];
}

/** What edges can be coloured by: [name, shown, rule] where rule(edge) gives [colour, kind, dash]. */
function waysToColour(wiring, groups) {
  const { accent, warm, muted } = palette(), owner = new Map(groups.flatMap((group, g) => group.map((n) => [n, g])));
  const inside = (e) => owner.has(e.to) && owner.get(e.to) === owner.get(e.from);
  return [
    [groups.length > 1, "groups", (e) => (inside(e) ? [groupColour(owner.get(e.to)), "within a community, in its colour", []] : [muted, "between communities", []])],
    [known(wiring.new), "what changed", (e) => (e.gone ? [warm, "gone since the start", [2, 4]] : e.isNew ? [accent, "new since the start", []] : [muted, "there from the start", []])],
    [known(wiring.lags), "lags", (e) => [e.lag ? warm : accent, e.lag ? `takes ${counted(e.lag, "step")}` : "takes no time", e.lag ? [1 + 3 * e.lag, 3] : []]],
    [known(wiring.signs), "signs", (e) => (e.sign < 0 ? [warm, "inhibits (−)", []] : [accent, "excites (+)", []])],
    [true, "strength", () => [accent, "an edge", []]],
  ].filter(([there]) => there).map(([, ...way]) => way);
}

/** Edges {to, from, isNew, gone, lag, sign, share}, the weakest first. */
function edgesOf(wiring, maps) {
  const share = (to, from) => (maps ? mean(maps.map((map) => map[to][from])) : null);
  const found = wiring.edges.map(([to, from], k) => ({ to, from, isNew: Boolean(wiring.new?.[k]), lag: wiring.lags?.[k] ?? 0, sign: wiring.signs?.[k] ?? 1, share: share(to, from) }));
  const lost = (wiring.gone ?? []).map(([to, from]) => ({ to, from, gone: true, share: 0 }));
  return [...lost, ...found.sort((a, b) => (a.share ?? 0) - (b.share ?? 0))];
}

/** In sentences: how many edges, what changed, who takes part in what. */
function wiringInWords(look) {
  const w = look.wiring, all = w.neurons ** 2, itself = w.edges ? w.number - w.edges.length : 0, said = [];
  said.push(`Topology ${w.kind}: ${format.whole(w.number)} of ${format.whole(all)} edges (${format.share(w.number / all)})${itself ? `, ${format.whole(itself)} of them from a neuron to itself, which are not drawn` : ""}.`);
  if (w.new) said.push(`Since the start ${format.whole(w.gone.length)} edges went and ${format.whole(w.new.filter(Boolean).length)} others came.`);
  if (w.sensors.length) said.push(`${counted(w.sensors.length, "neuron")} (▲) take${w.sensors.length > 1 ? "" : "s"} the input in.`);
  if (w.read.length) said.push(`${counted(w.read.length, "neuron")} (■) ${w.read.length > 1 ? "are" : "is"} read out.`);
  return said.join(" ");
}

/** Neurons on a ring of this size: `order`, and `at(n, r)`, the place of neuron n at radius r. */
function ringOf(order, gaps, side) {
  const places = new Map(), total = order.length + gaps.size;
  let at = 0;
  order.forEach((n, i) => {
    at += gaps.has(i) ? 1 : 0;
    places.set(n, ((at + 0.5) / total) * 2 * Math.PI - Math.PI / 2);
    at += 1;
  });
  const radius = side / 2 - 26;
  return { radius, turn: (n) => places.get(n), at: (n, r = radius) => [side / 2 + r * Math.cos(places.get(n)), side / 2 + r * Math.sin(places.get(n))] };
}

function drawWiring(ctx, width, side, { wiring, edges, ring, owner, way, focus }) {
  const { ink, muted, accent, warm, panel } = palette(), N = wiring.neurons;
  const shift = (width - side) / 2, at = (n, r) => { const [x, y] = ring.at(n, r); return [x + shift, y]; };
  const most = Math.max(...edges.map((e) => e.share ?? 0), 1e-9), shown = new Map();
  const near = (e) => focus === null || e.to === focus || e.from === focus;
  for (const e of [...edges.filter((e) => !near(e)), ...edges.filter(near)]) {
    const [colour, kind, dash] = way(e);
    if (e.gone && !kind.startsWith("gone")) continue; // drawn only where colours tell what changed
    shown.set(kind, [colour, dash, (shown.get(kind)?.[2] ?? 0) + 1]);
    const strength = e.gone || !known(e.share) ? 0.5 : Math.sqrt(e.share / most), [x0, y0] = at(e.from), [x1, y1] = at(e.to);
    const [a, b] = [at(e.from, ring.radius * (1 - STRAND)), at(e.to, ring.radius * (1 - STRAND))];
    ctx.strokeStyle = focus === null || !near(e) ? colour : e.from === focus ? warm : accent;
    ctx.globalAlpha = near(e) ? Math.min(1, (focus !== null ? 0.45 : colour === muted ? 0.08 : 0.2) + 0.6 * strength) : 0.05;
    ctx.lineWidth = (0.5 + (N > 64 ? 1.2 : 2.6) * strength) * Math.min(1, 0.3 + side / 880);
    ctx.setLineDash(dash);
    ctx.beginPath();
    ctx.moveTo(x0, y0);
    ctx.bezierCurveTo(a[0], a[1], b[0], b[1], x1, y1);
    ctx.stroke();
  }
  ctx.setLineDash([]);
  ctx.globalAlpha = 1;
  const size = Math.max(1.5, Math.min(7, (Math.PI * ring.radius) / N / 1.3)), sensors = new Set(wiring.sensors), read = new Set(wiring.read), each = Math.ceil((N * 13) / (2 * Math.PI * (ring.radius + 14)));
  for (let n = 0; n < N; n++) {
    const [x, y] = at(n), colour = n === focus ? warm : owner.has(n) ? groupColour(owner.get(n)) : ink;
    disc(ctx, x, y, size + 1.5, panel);
    if (sensors.has(n)) triangle(ctx, x, y, 1.35 * size, colour);
    else if (!read.has(n)) disc(ctx, x, y, size, colour);
    if (read.has(n)) square(ctx, x, y, sensors.has(n) ? 0.5 * size : size, sensors.has(n) ? panel : colour);
    if (n % each === 0 || n === focus) write(ctx, String(n), ...at(n, ring.radius + 16), { anchor: "center", size: 10, colour: n === focus ? ink : muted, bold: n === focus });
  }
  return shown;
}

function triangle(ctx, x, y, r, colour) {
  ctx.fillStyle = colour;
  ctx.beginPath();
  for (let k = 0; k < 3; k++) (k ? ctx.lineTo : ctx.moveTo).call(ctx, x + r * Math.sin((k * 2 * Math.PI) / 3), y - r * Math.cos((k * 2 * Math.PI) / 3));
  ctx.fill();
}

function square(ctx, x, y, r, colour) {
  ctx.fillStyle = colour;
  ctx.fillRect(x - r, y - r, 2 * r, 2 * r);
}

/** What lines and marks stand for, in rows under the ring; returns nothing. */
function drawWiringKey(ctx, y, width, shown, wiring, focus) {
  const { ink, accent, warm } = palette(), items = focus === null
    ? [...shown].map(([kind, [colour, dash, count]]) => ({ text: `${kind} (${format.whole(count)})`, line: [colour, dash] }))
    : [{ text: `what neuron ${focus} hears`, line: [accent, []] }, { text: "what it sends", line: [warm, []] }];
  if (wiring.sensors.length) items.push({ text: "takes the input in", mark: triangle });
  if (wiring.read.length) items.push({ text: "is read out", mark: square });
  if (wiring.sensors.length || wiring.read.length) items.push({ text: "neither", mark: disc });
  let x = 4;
  for (const { text, line, mark } of items) {
    const room = 46 + 6.4 * text.length;
    if (x > 4 && x + room > width) [x, y] = [4, y + 18];
    if (line) stroke(ctx, line[0], 2.5, [[x, y], [x + 24, y]], line[1]);
    else mark(ctx, x + 12, y, 5, ink);
    write(ctx, text, x + 31, y);
    x += room;
  }
}

/** The wiring of one run; a neuron under the pointer is singled out. */
function wiringFigure(look, maps) {
  const { wiring } = look, N = wiring.neurons, groups = communitiesOf(look), order = groups.length > 1 ? groups.flat() : Array.from({ length: N }, (_, n) => n);
  const gaps = new Set(groups.length > 1 && groups.length <= N / 3 ? groups.map((_, g) => groups.slice(0, g).flat().length) : []);
  const owner = new Map(groups.length > 1 ? groups.flatMap((group, g) => group.map((n) => [n, g])) : []), edges = edgesOf(wiring, maps?.length && maps[0].length === N ? maps : null);
  const names = waysToColour(wiring, groups).map(([name]) => name);
  let chosen = names[0], focus = null;
  const select = el("select", { onchange: () => { chosen = select.value; node.redraw(); } }, names.map((name) => el("option", { value: name }, name)));
  const sideOf = (width) => Math.min(width, 620), keyRows = (width) => (width < 460 ? 3 : 2) + Math.ceil((wiring.sensors.length || wiring.read.length ? 3 : 0) * (width < 460 ? 0.7 : 0.34));
  const under = (x, y, canvas) => {
    const width = canvas.clientWidth, side = sideOf(width), ring = ringOf(order, gaps, side), at = order.map((n) => { const [a, b] = ring.at(n); return [n, Math.hypot(a + (width - side) / 2 - x, b - y)]; }).sort((a, b) => a[1] - b[1])[0];
    return at[1] < 18 ? at[0] : null;
  };
  const node = figure({
    title: "The wiring",
    note: `${wiringInWords(look)} ${edges.some((e) => e.share) ? "The thicker a line, the larger the share of what the listener hears, over rounds. " : ""}${groups.length > 1 ? "Neurons of one community stand side by side. " : ""}Point at a neuron to see whom it hears and to whom it sends; click to open its page.`,
    controls: names.length > 1 ? [el("label.choice", {}, "colours: ", select)] : [],
    height: (width) => sideOf(width) + 12 + 18 * keyRows(width),
    draw: (ctx, width) => {
      const side = sideOf(width), way = waysToColour(wiring, groups).find(([name]) => name === chosen)[1], ring = ringOf(order, gaps, side);
      const shown = drawWiring(ctx, width, side, { wiring, edges, ring, owner, way, focus });
      drawWiringKey(ctx, side + 14, width, shown, wiring, focus);
    },
    rows: () => [["hears", "from", "share", "since the start", "lag", "sign"], ...edges.map((e) => [e.to, e.from, e.share, e.gone ? "gone" : wiring.new ? (e.isNew ? "new" : "stayed") : "", e.lag ?? 0, e.sign ?? 1])],
    label: () => wiringInWords(look),
    click: (x, y, canvas) => { const n = under(x, y, canvas); if (n !== null) location.hash = `neuron-${n}`; },
    hover: (x, y, canvas) => {
      const n = under(x, y, canvas);
      canvas.style.cursor = n === null ? "" : "pointer";
      if (n !== focus) { focus = n; node.redraw(); }
    },
  });
  node.append(meanControl(look) ?? "");
  return node;
}

/** The wiring where there are too many neurons to draw: what there is to say of it. */
const wiringBlock = (look) => el("section.block", {}, el("div.caption", {}, el("h3", {}, "The wiring")), el("p.note", {}, wiringInWords(look)));

/** What most neurons of a community know most about, in words; empty where that is not known. */
function knownTo(look, group) {
  const best = group.map((n) => bestClass(look.survey?.cards?.[n])?.[0]).filter(known), count = (name) => best.filter((other) => other === name).length;
  const most = [...new Set(best)].sort((a, b) => count(b) - count(a))[0];
  return most === undefined ? "" : `${count(most)} of ${group.length} know most about ${most}`;
}
