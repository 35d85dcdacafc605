// The passage: the text coloured by surprise, what happens at one symbol, and activity over the stretch around it.

const FULL = 8; // bits at which the colour of surprise is full
const LEVELS = 9;
const surprise = (bits) => (bits === null ? 0 : Math.min(LEVELS - 1, Math.round((bits / FULL) * (LEVELS - 1))));

function passageView(look) {
  const parts = [textPanel(look), momentPanel(look)];
  const right = [boardFigure(look), graphFigure(look), look.passage.routes && look.passage.neurons <= 64 ? matricesFigure(look) : null];
  return el("div.passage", {}, el("div.left", {}, parts), el("div.right", {}, right), el("div.wide", {}, populationFigure(look)));
}

/** The text, a span per symbol; a click goes there. */
function textPanel(look) {
  const { facts, symbols } = look.passage;
  const box = el("div.text", { tabindex: 0, role: "region", lang: "", dir: "auto", "aria-label": `Text: ${facts.title}. Arrow keys move through it.` });
  const spans = facts.text.map((_, t) => {
    const piece = look.passage.piece(t), span = el("span", { class: `s${surprise(facts.bits[t])}` }, piece === "\n" ? "⏎\n" : piece);
    if (piece === "\n" || piece !== facts.text[t]) span.classList.add("end");
    span.dataset.at = t;
    return span;
  });
  box.append(...spans);
  box.addEventListener("click", (e) => {
    if (e.target.dataset.at !== undefined && !String(getSelection())) move(Number(e.target.dataset.at));
  });
  let current = null;
  onMove(() => {
    current?.classList.remove("now");
    current = spans[app.place(look)];
    current.classList.add("now");
    if (current.offsetTop < box.scrollTop + 8) box.scrollTop = current.offsetTop - 40;
    else if (current.offsetTop + 28 > box.scrollTop + box.clientHeight) box.scrollTop = current.offsetTop - box.clientHeight + 60;
  }, box);
  const key = el("span.key", { "aria-hidden": "true" }, "0", Array.from({ length: LEVELS }, (_, i) => el(`i.s${i}`)), `${FULL}+ bits`);
  const cut = facts.symbols < facts.asked ? ` Of ${format.whole(facts.asked)} symbols the first ${format.whole(symbols)} are shown: more would not fit in 10 MB.` : "";
  const after = facts.before ? ` The model had read ${counted(facts.before, facts.unit)} before.` : "";
  return el("section.block", {}, el("div.caption", {}, el("h3", {}, facts.due ? "Sequences and loss" : "Text and surprise"), key),
    el("p.note", {}, `${facts.title}: ${counted(symbols, facts.unit)}, ${format.bits(facts.mean_bits)} bits ${facts.due ? "at each target" : "each"} on average.${after}${cut}`), box);
}

/** What was just read, and what the model expects next. */
function momentPanel(look) {
  const passage = look.passage;
  const read = el("strong.symbol", { lang: "" }), cost = el("span"), head = el("h3"), rows = [];
  const list = el("ol.expected", { lang: "" });
  for (let k = 0; k <= Math.max(1, passage.facts.top.each); k++) {
    const row = { name: el("span.symbol"), bar: el("span.fill"), share: el("span.number"), came: el("span.came") };
    row.node = el("li", {}, row.name, el("span.bar", { "aria-hidden": "true" }, row.bar), row.share, row.came);
    rows.push(row);
    list.append(row.node);
  }
  const panel = el("section.block.moment", {}, el("div.caption", {}, head),
    el("p.read", {}, "It has just read ", read, cost), el("p.note", {}, passage.facts.said ? "Told at this step" : passage.facts.due ? "Told at this step, with probability" : "Predicted next, with probability"), list);
  const fill = (row, { label, share, came }) => {
    row.node.hidden = false;
    row.node.classList.toggle("true", came);
    row.name.textContent = label;
    row.bar.style.width = `${(100 * (share ?? 0)).toFixed(1)}%`;
    row.share.textContent = share === null ? "" : format.share(share);
    row.came.textContent = came ? (passage.facts.due ? "target" : "actual") : "";
  };
  onMove(() => {
    const t = app.place(look), bits = passage.bits(t), due = passage.due(t), expected = passage.expected(t);
    const next = passage.facts.said ? null : due === undefined ? passage.bits(t + 1) : bits;
    const piece = passage.piece(t), label = passage.label(t);
    read.textContent = PARTIAL.test(label) && piece !== "·" ? `${label} ${piece}` : label;
    const place = due === undefined ? "" : `, step ${format.whole(passage.facts.steps[t])} of its sequence`;
    head.textContent = `At ${passage.facts.unit} ${format.whole(t + 1)} of ${format.whole(passage.symbols)}${place}`;
    read.className = `symbol s${surprise(bits)}`;
    cost.textContent = due === undefined ? (bits === null ? ", the first symbol" : `, a surprise of ${format.bits(bits)} bits`)
      : due === null ? "; nothing is to be told here" : `; to be told: ${due}, at a loss of ${format.bits(bits)} bits`;
    expected.forEach((item, k) => fill(rows[k], item));
    const last = rows[expected.length];
    last.node.hidden = next === null || expected.some((e) => e.came);
    if (!last.node.hidden) fill(last, { label: due ?? passage.label(t + 1), share: 2 ** -next, came: true });
  }, panel);
  return panel;
}

/** The routing matrices of all rounds at this symbol. */
function matricesFigure(look) {
  const passage = look.passage, N = passage.neurons, R = passage.rounds;
  const layout = (width) => {
    const columns = columnsFor(R, width - 20, N > 64 ? 220 : 104);
    return { columns, side: Math.min(200, (width - 22 - 14 * (columns - 1)) / columns) };
  };
  const kept = passage.facts.routing.kept;
  const [stretch, control] = stretchBox(() => node.redraw());
  const cellAt = (px, py, width) => {
    const { columns, side } = layout(width), r = Math.floor((py - 18) / (side + 26)) * columns + Math.floor((px - 20) / (side + 14));
    const i = Math.floor((((py - 18) % (side + 26)) / side) * N), j = Math.floor((((px - 20) % (side + 14)) / side) * N);
    return px > 20 && py > 18 && r < R && i < N && j < N ? [i, j] : null;
  };
  const node = figure({
    title: "Routing at this symbol",
    note: `Row: the listener; column: whom it hears; colour: the share, from zero. ${evenly(passage)}` + (passage.silenced.size ? " Grey: silenced." : "") + (app.onEdge ? " Click on a cell to close that edge in all rounds, again to open it." : "") + (kept ? ` The ${kept === 1 ? "strongest source" : `${kept} strongest sources`} of each neuron.` : ""),
    controls: [control],
    height: (width) => { const { columns, side } = layout(width); return Math.ceil(R / columns) * (side + 26) + 48; },
    draw: (ctx, width) => {
      const { columns, side } = layout(width), t = app.place(look);
      for (let r = 0; r < R; r++) {
        const x = 20 + (r % columns) * (side + 14), y = 18 + Math.floor(r / columns) * (side + 26), matrix = passage.matrix(t, r);
        write(ctx, `round ${r + 1}`, x, y - 9);
        const { silenced } = passage, strength = (i, j) => strengthOf(passage, matrix[i * N + j], stretch.checked);
        drawHeat(ctx, x, y, side, side, N, N, silenced.size ? (i, j) => (silenced.has(i) || silenced.has(j) ? null : strength(i, j)) : strength);
        for (const [i, j] of passage.facts.closed ?? []) write(ctx, "×", x + ((j + 0.5) * side) / N, y + ((i + 0.5) * side) / N, { anchor: "center", size: Math.max(8, (0.8 * side) / N), colour: palette().warm, bold: true });
        if (r % columns === 0 && N <= 16) for (let n = 0; n < N; n++) write(ctx, String(n), x - 5, y + ((n + 0.5) * side) / N, { anchor: "right", size: 9 });
        if (N <= 16) for (let n = 0; n < N; n++) write(ctx, String(n), x + ((n + 0.5) * side) / N, y + side + 8, { anchor: "center", size: 9 });
      }
      drawShareKey(ctx, 20, Math.ceil(R / columns) * (side + 26) + 26, width - 24, passage, stretch.checked);
    },
    rows: () => {
      const rows = [["round", "neuron", "hears", "share"]];
      for (let r = 0; r < R; r++) passage.matrix(app.place(look), r).forEach((share, i) => share > 0 && rows.push([r + 1, Math.floor(i / N), i % N, share]));
      return rows;
    },
    label: () => graphInWords(passage, app.place(look)),
    click: app.onEdge && ((px, py, canvas) => { const edge = cellAt(px, py, canvas.clientWidth); if (edge) app.onEdge(...edge); }),
  });
  node.append(symbolControl(look, passage));
  onMove(node.redraw, node);
  return node;
}

/** Figure 4: activity of every neuron over the symbols around this one, in one round. */
function populationFigure(look) {
  const passage = levelOf(look), N = passage.neurons, groups = passage.group === null;
  let r = passage.rounds - 1;
  const select = el("select", { onchange: () => { r = Number(select.value); node.redraw(); } },
    Array.from({ length: passage.rounds }, (_, k) => el("option", { value: k, selected: k === r }, `${k + 1}`)));
  const stretch = (width) => {
    const span = Math.min(passage.symbols, Math.max(20, Math.floor((width - 40) / 12))), t = app.place(look);
    const from = Math.max(0, Math.min(passage.symbols - span, t - Math.floor(span / 2)));
    return { from, span, t };
  };
  const tall = N <= 16 ? 16 * N : N <= 64 ? 6 * N : 1.5 * N;
  const node = figure({
    title: "Activity around this symbol",
    note: `Row: ${groups ? "a group, the mean of its neurons" : "a neuron"}; column: a symbol of the text; colour: how active the neuron is, from zero; the mark at 1 is the average of the round.${passage.silenced.size ? " Grey: silenced." : ""}`,
    height: tall + 40,
    controls: passage.rounds > 1 ? [el("label.choice", {}, "round ", select)] : [],
    draw: (ctx, width) => {
      const { from, span, t } = stretch(width), x = 34, room = width - x, cell = room / span;
      const full = Math.min(passage.facts.activity.scale[r], 3) || 1;
      drawHeat(ctx, x, 18, room, tall, N, span, (n, i) => (passage.silenced.has(n) ? null : passage.activity(from + i, r, n) / full));
      for (let n = 0; n < N; n += Math.ceil(12 / (tall / N))) write(ctx, passage.name(n), x - 6, 18 + ((n + 0.5) * tall) / N, { anchor: "right" });
      for (let i = 0; i < span; i++) {
        const here = from + i === t;
        write(ctx, passage.brief(from + i), x + (i + 0.5) * cell, 18 + tall + 12, { anchor: "center", mono: true, size: 12, colour: here ? palette().warm : palette().muted, bold: here });
      }
      ctx.strokeStyle = palette().warm;
      ctx.lineWidth = 2;
      ctx.strokeRect(x + (t - from) * cell, 17, cell, tall + 2);
      drawKey(ctx, width - 98, 8, 66, "0", format.number(full) + (passage.facts.activity.scale[r] > 3 ? "+" : ""), { at: 1 / full });
    },
    click: (px, py, canvas) => {
      const { from, span } = stretch(canvas.clientWidth);
      move(from + Math.floor(((px - 34) / (canvas.clientWidth - 34)) * span));
    },
    rows: () => [["symbol", "text", ...Array.from({ length: N }, (_, n) => groups ? `group ${passage.name(n)}` : `neuron ${passage.name(n)}`)],
      ...Array.from({ length: passage.symbols }, (_, t) => [t, passage.label(t), ...Array.from({ length: N }, (_, n) => Number(passage.activity(t, r, n).toPrecision(3)))])],
    label: () => `Round ${r + 1}, at symbol ${app.place(look)}: the most active ${groups ? "groups" : "neurons"} are ${ranked(Array.from({ length: N }, (_, n) => passage.activity(app.place(look), r, n))).slice(0, 3).map((n) => passage.name(n)).join(", ")}.`,
  });
  onMove(node.redraw, node);
  return node;
}
