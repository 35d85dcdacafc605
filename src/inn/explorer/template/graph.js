// The graph at one symbol: a column of neurons per round, and who hears whom from one column to the next.

const CURVED = 16; // up to so many neurons edges are curves; straight lines are drawn several times faster
const LINES = 600; // of more than 64 neurons, the strongest edges that are drawn
const LAYERS = ["other", "heard", "said"];

/** Where neurons stand: column c is the state before round c + 1, the last one the state after all rounds. */
function placesOf(passage, width, height) {
  const top = 34, left = passage.left ?? 34, columns = passage.rounds + 1;
  const gap = (height - top - 12) / Math.max(1, passage.neurons);
  return {
    gap,
    x: (c) => left + (c / (columns - 1)) * (width - left - 26),
    y: (n) => top + (n + 0.5) * gap,
    /** The neuron under a point, or null. */
    under: (x, y) => {
      const n = Math.floor((y - top) / gap);
      const near = Array.from({ length: columns }, (_, c) => Math.abs(left + (c / (columns - 1)) * (width - left - 26) - x)).some((d) => d < 16);
      return near && n >= 0 && n < passage.neurons ? n : null;
    },
  };
}

function drawGraph(ctx, width, height, passage, t, { count, focus }) {
  const { ink, muted, accent, warm, panel, line } = palette(), silenced = passage.silenced;
  const at = placesOf(passage, width, height);
  const radius = Math.max(1, Math.min(10, at.gap * 0.42));
  write(ctx, "input", at.x(0), 14, { anchor: "center" });
  for (let r = 0; r < passage.rounds; r++) write(ctx, `round ${r + 1}`, Math.min(at.x(r + 1), width - 26), 14, { anchor: "center" });

  if (passage.routes) {
    const weakest = passage.neurons > 64 ? faintest(passage, t, count) : 0;
    for (let r = 0; r < passage.rounds; r++) {
      const [from, to] = [at.x(r), at.x(r + 1)], bend = passage.neurons > CURVED ? 0 : (to - from) * 0.45;
      const all = passage.edges(t, r, count), said = silenced.size ? all.filter((e) => !silenced.has(e[0]) && !silenced.has(e[1])) : all;
      const edges = said.filter((e) => e[2] >= weakest || e[0] === focus || e[1] === focus).map(([hearer, source, share]) => ({
        hearer, source, strength: passage.strength(share), kind: focus === null ? "all" : source === focus ? "said" : hearer === focus ? "heard" : "other",
      }));
      if (focus !== null) edges.sort((a, b) => LAYERS.indexOf(a.kind) - LAYERS.indexOf(b.kind));
      for (const { hearer, source, strength, kind } of edges) { // one by one: a path of many crossing lines is slow to fill
        ctx.strokeStyle = { all: accent, other: muted, said: warm, heard: accent }[kind];
        ctx.globalAlpha = kind === "other" ? 0.06 + 0.1 * strength : kind === "all" ? 0.08 + 0.82 * strength ** 1.5 : 0.3 + 0.7 * strength;
        ctx.lineWidth = 0.6 + (passage.neurons > 64 ? 1.2 : 3.4) * strength ** 1.5;
        const [y0, y1] = [at.y(source), at.y(hearer)];
        ctx.beginPath();
        ctx.moveTo(from, y0);
        if (bend) ctx.bezierCurveTo(from + bend, y0, to - bend, y1, to, y1);
        else ctx.lineTo(to, y1);
        ctx.stroke();
      }
      ctx.globalAlpha = 1;
    }
  }

  for (let n = 0; n < passage.neurons; n++) {
    if (at.gap >= 10 || n % Math.ceil(12 / at.gap) === 0) {
      const chosen = n === focus, silent = silenced.has(n);
      write(ctx, passage.name(n), at.x(0) - radius - 6, at.y(n), { anchor: "right", colour: chosen ? ink : muted, bold: chosen });
      if (silent) stroke(ctx, muted, 1.5, [[at.x(0) - radius - 8 - 7 * passage.name(n).length, at.y(n)], [at.x(0) - radius - 4, at.y(n)]]);
    }
    disc(ctx, at.x(0), at.y(n), Math.min(3, radius), silenced.has(n) ? line : muted);
    for (let r = 0; r < passage.rounds; r++) {
      const size = radius * Math.min(1, 0.3 + 0.4 * Math.sqrt(passage.activity(t, r, n)));
      const gate = passage.gate(t, r, n), [x, y] = [at.x(r + 1), at.y(n)];
      if (silenced.has(n)) {
        cross(ctx, x, y, Math.max(1.5, radius * 0.6), n === focus ? warm : muted);
        continue;
      }
      if (at.gap >= 6) disc(ctx, x, y, size + 1.5, panel);
      disc(ctx, x, y, size, n === focus ? warm : ink);
      if (gate !== null && gate < 0.5) disc(ctx, x, y, Math.max(0.5, size - 1.75), panel); // hollow: it says nothing
    }
  }
}

/** The share that the last of the drawn edges has. */
function faintest(passage, t, count) {
  const shares = [];
  for (let r = 0; r < passage.rounds; r++) for (const [, , share] of passage.edges(t, r, count)) shares.push(share);
  const sorted = Float32Array.from(shares).sort();
  return sorted[Math.max(0, sorted.length - LINES)] ?? 0;
}

function disc(ctx, x, y, r, colour) {
  ctx.fillStyle = colour;
  ctx.beginPath();
  ctx.arc(x, y, r, 0, 2 * Math.PI);
  ctx.fill();
}

function cross(ctx, x, y, r, colour) {
  for (const d of [r, -r]) stroke(ctx, colour, 1.5, [[x - r, y - d], [x + r, y + d]]);
}

/**
 * The neurons of a graph for the keyboard: a link for each, of which Tab reaches one and the arrow keys the others.
 * `chosen(n)`: neuron n has the focus, or none for null. They lie over the discs of the last round and let clicks through.
 */
function neuronSpots(look, chosen) {
  const passage = levelOf(look), N = passage.neurons, groups = passage.group === null;
  const called = (n) => (groups ? `Group ${passage.name(n)}` : `Neuron ${passage.name(n)}`), opens = groups ? "show its neurons" : "open its page";
  const spots = Array.from({ length: N }, (_, n) => el("a.spot", { href: groups ? "#passage" : `#neuron-${passage.name(n)}`, tabindex: n ? -1 : 0, "aria-label": `${called(n)}: ${opens}`,
    onclick: groups ? (e) => { e.preventDefault(); enter(look, n); } : () => {} }));
  const reach = (n) => {
    spots.forEach((spot, k) => { spot.tabIndex = k === n ? 0 : -1; });
    spots[n].focus({ preventScroll: true });
  };
  const node = el("div.spots", { role: "group", "aria-label": "Neurons of the graph; the arrow keys up and down move among them",
    onfocusin: (e) => {
      const n = spots.indexOf(e.target), t = app.place(look);
      const active = Array.from({ length: passage.rounds }, (_, r) => format.number(passage.activity(t, r, n))).join(", ");
      spots[n].setAttribute("aria-label", `${called(n)}: ${passage.silenced.has(n) ? "silenced" : `activity by round ${active}`}; ${opens}`);
      chosen(n);
    },
    onfocusout: () => chosen(null),
    onkeydown: (e) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[e.key];
      if (!step || e.ctrlKey || e.metaKey || e.altKey) return;
      e.preventDefault();
      reach((spots.indexOf(e.target) + step + N) % N);
    } }, spots);
  let placed = "";
  node.place = (width, height) => {
    if (placed === (placed = `${width} ${height}`)) return;
    const at = placesOf(passage, width, height);
    spots.forEach((spot, n) => Object.assign(spot.style, { left: `${at.x(passage.rounds)}px`, top: `${at.y(n)}px` }));
  };
  return node;
}

/** The graph of one run, following the place in the text; a neuron under the pointer is singled out. */
function graphFigure(look) {
  const passage = levelOf(look), N = passage.neurons, groups = passage.group === null;
  let focus = null;
  const single = (n) => {
    if (n !== focus) { focus = n; node.redraw(); }
  };
  const spots = neuronSpots(look, single);
  const most = passage.routes ? Math.min(N, passage.facts.routing.kept ?? N) : 0;
  const choices = [1, 2, 4, 8, 16].filter((k) => k < most).concat(most ? [most] : []);
  let count = choices.filter((k) => k <= (N > CURVED ? 2 : Math.max(2, Math.min(4, N / 2)))).pop() ?? most;
  const select = el("select", { onchange: () => { count = Number(select.value); node.redraw(); } },
    choices.map((k) => el("option", { value: k, selected: k === count }, k === N ? `all ${N}` : k === 1 ? "strongest" : `strongest ${k}`)));
  const hushed = passage.silenced.size ? ` Crossed out: silenced, ${[...passage.silenced].map((n) => passage.name(n)).join(", ")}.` : "";
  const node = figure({
    title: "Who hears whom",
    note: (passage.routes
      ? "From left to right, round by round. Lines: messages, the thicker the larger the share of what the listener hears. Discs: how active a neuron is. Point at one (or Tab to it) to see what it sends (orange) and hears; click (or Enter) " + (groups ? "shows the neurons of the group. A disc is a group of neurons that hear one another; lines lead from one group to another, what it hears of itself is left out." : "opens its page.") + (N > 64 ? ` The ${LINES} strongest edges.` : "")
      : "Discs: how active each neuron is, round by round. In this run neurons exchange no messages.") + hushed,
    height: (width) => Math.max(width < 500 ? 240 : 300, Math.min(720, 46 + N * (N <= 16 ? 34 : N <= 40 ? 15 : groups ? 9 : N <= 64 ? 8 : 2.7))),
    controls: [...groupChoice(look), ...(most > 1 ? [el("label.choice", {}, "sources ", select)] : [])],
    draw: (ctx, width, height) => {
      drawGraph(ctx, width, height, passage, app.place(look), { count, focus });
      spots.place(width, height);
    },
    rows: () => {
      const rows = [["round", groups ? "group" : "neuron", "hears", "share"]];
      for (let r = 0; passage.routes && r < passage.rounds; r++) for (const [to, from, share] of passage.edges(app.place(look), r, most)) rows.push([r + 1, groups ? passage.name(to) : Number(passage.name(to)), groups ? passage.name(from) : Number(passage.name(from)), share]);
      return rows;
    },
    label: () => graphInWords(passage, app.place(look)),
    click: (x, y, canvas) => {
      const n = placesOf(passage, canvas.clientWidth, canvas.clientHeight).under(x, y);
      if (n !== null && groups) enter(look, n);
      else if (n !== null) location.hash = `neuron-${passage.name(n)}`;
    },
    hover: (x, y, canvas) => {
      const n = placesOf(passage, canvas.clientWidth, canvas.clientHeight).under(x, y);
      canvas.style.cursor = n === null ? "" : "pointer";
      single(n);
    },
  });
  node.querySelector(".canvas").append(spots);
  if (passage.routes) node.append(symbolControl(look, passage));
  onMove(node.redraw, node);
  return node;
}

function graphInWords(passage, t) {
  const parts = [];
  for (let r = 0; r < passage.rounds; r++) {
    const loud = ranked(Array.from({ length: passage.neurons }, (_, n) => passage.activity(t, r, n)))[0];
    let text = `Round ${r + 1}: ${passage.group === null ? "group" : "neuron"} ${passage.name(loud)} is the most active`;
    if (passage.routes) {
      const [to, from, share] = passage.edges(t, r, 1).reduce((a, b) => (b[2] > a[2] ? b : a), [0, 0, 0]);
      text += `, the strongest edge leads from ${passage.name(from)} to ${passage.name(to)} (${format.share(share)})`;
    }
    parts.push(`${text}.`);
  }
  return parts.join(" ");
}
