// What a run is as a whole: who listens to whom on average, how it was trained, what it wrote.

function connectionsView(look) {
  const survey = look.survey ?? {}, large = look.passage?.neurons > LARGE, maps = survey.connectivity ?? (large ? look.passage.routes && groupShares(look.passage) : meanShares(look.passage));
  return el("div.flow", {},
    look.wiring ? (look.wiring.edges ? wiringFigure(look, maps) : wiringBlock(look)) : null,
    known(maps) ? connectivityFigure(look, maps) : null,
    el("div.pair", {},
      known(survey.received) ? receivedFigure(survey) : null,
      survey.communities ? communities(look) : null,
      survey.change?.length ? changeFigure(survey) : null,
      survey.degree ? degreeTable(survey) : null,
      known(survey.rounds_lesioned) ? lesionTable("Cost of silencing a round", survey.rounds_lesioned, (l) => [l.round + 1, l.what], ["round", "what is silenced"]) : null,
      known(survey.edges) ? lesionTable("Cost of cutting one edge", survey.edges, (l) => [l.from, l.to, known(l.round) ? l.round + 1 : "all"], ["from", "to", "round"]) : null,
      controls(survey)));
}

/** Routing averaged over a passage, [R][N][N]; null where there is none. */
function meanShares(passage) {
  if (!passage?.routes) return null;
  const { rounds, neurons: N, symbols } = passage;
  return Array.from({ length: rounds }, (_, r) => {
    const sum = new Float64Array(N * N);
    for (let t = 0; t < symbols; t++) passage.matrix(t, r).forEach((share, i) => { sum[i] += share / symbols; });
    return Array.from({ length: N }, (_, n) => [...sum.subarray(n * N, n * N + N)]);
  });
}

/** Figure 3: mean routing weights by round. */
function connectivityFigure(look, maps) {
  const R = maps.length, N = maps[0].length, large = look.passage?.neurons > LARGE, silenced = (!large && look.passage?.silenced) || new Set();
  const row = large ? "group" : "neuron";
  const groups = look.survey?.communities?.groups, shares = maps.flatMap((map) => map.filter((_, to) => !silenced.has(to)).flat()).filter((v) => v > 0);
  const scale = scaleOf(shares, shares.length / (R * Math.max(1, N - silenced.size)));
  const plain = Array.from({ length: N }, (_, n) => n), grouped = communitiesOf(look).length > 1 && N > CURVED;
  let order = grouped ? groups.flat() : plain;
  const [stretch, control] = stretchBox(() => node.redraw());
  const box = el("input", { type: "checkbox", "aria-label": "by community", checked: grouped, onchange: () => { order = box.checked ? groups.flat() : plain; node.redraw(); } });
  const layout = (width) => {
    const columns = columnsFor(R, width, N > 64 ? 330 : 200);
    return { columns, side: Math.min(340, (width - 26 - 22 * (columns - 1)) / columns) };
  };
  const node = figure({
    title: "Who listens to whom, on average",
    note: `Row: the listen${large ? "ing group" : "er"}; column: whom it hears; colour: the mean share over the ${look.survey ? "text" : "passage"}, from zero. ${evenly(scale)}${silenced.size ? " Grey: silenced." : ""}`,
    controls: [control, ...(groups?.flat().length === N && groups.length > 1 ? [el("label.choice", {}, box, " by community")] : [])],
    height: (width) => { const { columns, side } = layout(width); return Math.ceil(R / columns) * (side + 44) + 30; },
    draw: (ctx, width) => {
      const { columns, side } = layout(width);
      maps.forEach((map, r) => {
        const x = 26 + (r % columns) * (side + 22), y = 22 + Math.floor(r / columns) * (side + 44), each = Math.ceil(20 / (side / N));
        write(ctx, `round ${r + 1}`, x, y - 11, { size: 12 });
        drawHeat(ctx, x, y, side, side, N, N, (i, j) => (silenced.has(order[i]) || silenced.has(order[j]) ? null : strengthOf(scale, map[order[i]][order[j]], stretch.checked)));
        if (box.checked && groups) groups.reduce((first, group) => { // a frame around each community
          const [a, b] = [(first * side) / N, (group.length * side) / N];
          ctx.strokeStyle = palette().warm;
          ctx.lineWidth = 1;
          ctx.strokeRect(x + a, y + a, b, b);
          return first + group.length;
        }, 0);
        for (let i = 0; i < N; i += each) {
          if (r % columns === 0) write(ctx, String(order[i]), x - 6, y + ((i + 0.5) * side) / N, { anchor: "right", size: 10 });
          write(ctx, String(order[i]), x + ((i + 0.5) * side) / N, y + side + 9, { anchor: "center", size: 10 });
        }
      });
      const rows = Math.ceil(R / columns);
      drawShareKey(ctx, 20, 22 + rows * (side + 44) - 12, width - 24, scale, stretch.checked);
    },
    rows: () => [["round", row, "hears", "share"], ...maps.flatMap((m, r) => m.flatMap((row, i) => row.map((v, j) => [r + 1, i, j, v])))],
    label: () => maps.map((m, r) => { const flat = m.flat(), best = ranked(flat)[0]; return `Round ${r + 1}: ${row} ${Math.floor(best / N)} hears ${row} ${best % N} most (${format.share(flat[best])}).`; }).join(" "),
  });
  node.append(meanControl(look) ?? "");
  return node;
}

function receivedFigure(survey) {
  const items = survey.received.map((value, n) => ({ label: `neuron ${n}${roleOf(survey, n) ? `, ${roleOf(survey, n)}` : ""}`, value }));
  const shown = bothEnds(ranked(survey.received)).map((n) => items[n]);
  const test = survey.roles?.hubs;
  const chance = test ? ` Their spread (standard deviation) is ${format.number(test.observed)}; with the neurons' identities shuffled it is ${format.number(test.mean)} (at most ${format.number(test.high)} in 95 %), p = ${format.number(test.p)}.` : "";
  return figure({
    title: "Who is heard", note: `How much the others hear of each neuron, in multiples of the average (dashed: 1 ×).${items.length > 40 ? " The twenty most and least heard." : ""}${chance}`,
    height: 22 * shown.length + 4,
    draw: (ctx, width) => drawBars(ctx, width, shown, { labels: shown.some((i) => i.label.includes(",")) ? 142 : 84, mark: 1 }),
    rows: () => [["neuron", "received"], ...survey.received.map((v, n) => [n, v])],
    label: () => `Most: ${shown[0].label}, ${format.number(shown[0].value)}.`,
  });
}

function communities(look) {
  const { groups, modularity, null: chance, method } = look.survey.communities;
  return el("section.block", {}, el("div.caption", {}, el("h3", {}, "Communities")),
    el("p.note", {}, `Groups that listen to one another more than to others (${method ?? "Louvain"}). Modularity ${format.number(modularity)}` + (chance ? `; with edges at random ${format.number(chance.mean)} (at most ${format.number(chance.high)} in 95 %), p = ${format.number(chance.p)}${chance.p > 0.05 ? ": no more than chance" : ""}.` : ".")),
    el("ul.groups", {}, groups.map((group, g) => {
      const item = el("li", {}, group.map((n) => [neuronLink(n, String(n)), " "]), group.length > 1 ? el("span.note", {}, knownTo(look, group)) : null);
      if (group.length > 1 && communitiesOf(look).length > 1) item.style.borderColor = `light-dark(${HUE.light(g)}, ${HUE.dark(g)})`;
      return item;
    })));
}

function changeFigure(survey) {
  const items = survey.change.map((value, r) => ({ label: `round ${r + 1} to ${r + 2}`, value }));
  return barFigure("How the connections change", "Mean absolute difference of the shares from one round to the next.", items, ["rounds", "difference"]);
}

function degreeTable(survey) {
  const { effective, in: into, out } = survey.degree, R = effective.length;
  const head = ["neuron", ...Array.from({ length: R }, (_, r) => `effective, round ${r + 1}`), "in", "out"];
  const rows = effective[0].map((_, n) => [{ value: n, shown: neuronLink(n) }, ...effective.map((round) => round[n]), into ? mean(into.map((r) => r[n])) : null, out ? mean(out.map((r) => r[n])) : null]);
  return dataTable("Degrees", head, rows, null, [
    ["effective", "How many sources a neuron in effect listens to: exp of the entropy of its shares."],
    ["in", "Sources above half of the equal share, averaged over rounds."], ["out", "Listeners above it."]]);
}

function lesionTable(title, lesions, cells, head) {
  const rows = lesions.map((l) => [...cells(l), l.bits, l.low, l.high]);
  return dataTable(title, [...head, "bits", "low", "high"], rows, "Ablation: how many more bits per " + each() + " the model needs without it; low and high: 95 % interval over blocks of text.");
}

/** The same model with untrained weights: what is there before anything is learned. */
function controls(survey) {
  const control = survey.control?.untrained;
  if (!control) return null;
  const here = { effective_neurons: survey.effective_neurons, sparsity: survey.activity?.sparsity, modularity: survey.communities?.modularity, received_spread: survey.roles?.hubs?.observed };
  const average = (x) => (Array.isArray(x) ? mean(x) : (x ?? null)); // some come round by round
  const names = { effective_neurons: "effective number of neurons", sparsity: "sparsity (share of activity below 0.1 ×)", modularity: "modularity", received_spread: "spread of who is heard" };
  return dataTable("Trained and untrained", ["measure", "trained", "untrained"], Object.keys(names).filter((k) => known(control[k])).map((k) => [names[k], average(here[k]), average(control[k])]), "The control: the same model with the weights it began with, on the same text.");
}

function trainingView(look) {
  const { train, validation, floors } = look.history, parts = [];
  const line = (points, key) => points.filter((p) => known(p[key]) && known(p.symbols)).map((p) => [p.symbols, p[key]]);
  const series = [{ name: "training", points: line(train, "bits"), colour: "muted" }, { name: "validation", points: line(validation, "bits"), colour: "accent" }].filter((s) => s.points.length);
  if (series.length) {
    const ends = series.flatMap((s) => s.points), xs = ends.map((p) => p[0]), worst = Math.max(...ends.map((p) => p[1]));
    const shown = Object.entries(floors ?? {}).filter(([, bits]) => bits <= worst * 1.15).map(([name, bits]) => ({ name, points: [[Math.min(...xs), bits], [Math.max(...xs), bits]], colour: "warm", dash: [3, 4] }));
    parts.push(curveFigure(`Bits per ${each()}`, onTask() ? "While it trained. Dashed: an answer that is always the same." : "On the corpus of the run, while it trained. Dashed: n-gram baselines on the same validation text.", [...series, ...shown], "bits"));
  }
  const sizes = line(train, "effective_neurons");
  if (sizes.length) parts.push(curveFigure("Effective number of neurons", "The participation ratio of their outputs: how many unrelated neurons the population amounts to. At 1 all send the same.", [{ name: "effective", points: sizes, colour: "accent" }], "neurons"));
  const facts = Object.entries(look.facts ?? {}).filter(([, v]) => known(v));
  if (facts.length) parts.push(dataTable("Settings", ["setting", "value"], facts.map(([k, v]) => [k, String(v)])));
  return el("div.flow", {}, parts);
}

function curveFigure(title, note, series, unit) {
  return figure({
    title, note, height: (width) => Math.max(220, Math.min(340, 0.42 * width)),
    draw: (ctx, width, height) => drawLines(ctx, width, height, series, { x: onTask() ? "steps read" : "symbols read", y: unit, xFormat: (v) => (v >= 1e6 ? `${v / 1e6} M` : v >= 1e3 ? `${v / 1e3} k` : String(v)) }),
    rows: () => [["curve", "symbols", unit], ...series.flatMap((s) => s.points.map(([x, y]) => [s.name, x, y]))],
    label: () => series.map((s) => `${s.name}: ${format.number(s.points[0][1])} to ${format.number(s.points[s.points.length - 1][1])}`).join("; "),
  });
}

function samplesView(look) {
  const latest = [...look.history.samples].reverse();
  const again = (s, i) => (known(s.step) && latest[i + 1]?.step === s.step ? ", when the run had ended" : "");
  return el("div.flow", {}, latest.map((s, i) => el("section.block", {}, el("div.caption", {}, el("h3", {}, known(s.step) ? `After step ${format.whole(s.step)}${again(s, i)}` : "Written for this page")), el("p.written", { lang: "", dir: "auto", class: i ? "written" : "written latest" }, s.text))));
}
