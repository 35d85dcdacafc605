// The neurons of a run: all of them in one table, and a page for each.

function neuronLink(n, text = `neuron ${n}`) {
  return el("a", { href: `#neuron-${n}` }, text);
}

const roleOf = (survey, n) => (survey?.hubs?.includes(n) ? "hub" : survey?.specialists?.includes(n) ? "specialist" : "");

/** What a neuron has to do with the outside. */
function partOf({ sensors, read }, n) {
  const found = [!sensors.length || sensors.includes(n) ? "takes in" : null, !read.length || read.includes(n) ? "read out" : null].filter(Boolean);
  return found.join(", ") || "inner";
}

/** The class a card knows most about beyond chance: [class, {bits, null}], or null. */
function bestClass(card) {
  const above = Object.entries(card?.information ?? {}).filter(([, i]) => i && i.bits > (i.null ?? 0));
  return above.sort((a, b) => b[1].bits - a[1].bits)[0] ?? null;
}

function neuronsView(look) {
  const { survey, passage } = look, cards = survey?.cards ?? [];
  const count = passage?.neurons ?? survey.neurons;
  const activity = (n) => survey?.activity?.mean ? mean(survey.activity.mean.map((round) => round[n])) : passage ? meanActivity(passage, n) : null;
  const silenced = passage?.silenced ?? new Set();
  const columns = [ // head, cell, whether there is something to show, what it means
    ["neuron", (n) => ({ value: n, shown: neuronLink(n) }), () => true, null],
    ["role", (n) => (silenced.has(n) ? "silenced" : roleOf(survey, n)) || { value: null, shown: "" }, () => known(survey?.hubs) || known(survey?.specialists) || silenced.size,
      "A hub is heard more than 1.5 times as much as the average neuron, a specialist less than 0.6 times."],
    ["part", (n) => partOf(look.wiring, n), () => look.wiring?.sensors.length || look.wiring?.read.length, "Whether it takes the input in, and whether it is read out; an inner neuron does neither."],
    ["heard by others", (n) => times(survey.received[n]), () => known(survey?.received), "How much the others hear of it, in multiples of the average neuron (×)."],
    ["group", (n) => ({ value: groupOf(passage, n), shown: `G${groupOf(passage, n)}` }), () => passage?.neurons > LARGE, "Neurons that hear one another."],
    ["community", (n) => 1 + communitiesOf(look).findIndex((group) => group.includes(n)), () => communitiesOf(look).length > 1, "Its place among the communities of the view Connections: neurons that hear one another more than others."],
    ["acts", (n) => ({ value: density(passage, n), shown: format.share(density(passage, n)) }), () => passage?.gates, "Share of the steps, over rounds, at which its gate is open."],
    ["activity", (n) => times(activity(n)), () => true, "The size of what it sends, in multiples of the average of a round (×)."],
    ["knows most about", (n) => { const best = bestClass(cards[n]); return best ? { value: best[1].bits, shown: `${best[0]}, ${format.bits(best[1].bits)} bits` } : null; }, () => cards.some((c) => c.information),
      `${onTask() ? "The symbol read, or (→) the next target that counts," : "The class of the character just read"} that its activity tells the most about, and how much: mutual information in bits, where it is above chance.`],
    ["half-life", (n) => cards[n]?.timescale?.half_life, () => cards.some((c) => known(c.timescale?.half_life)), "Symbols after which a perturbation of its state has shrunk to half."],
    ["cost when silenced", (n) => cards[n]?.lesion?.bits, () => cards.some((c) => known(c.lesion?.bits)), "Ablation: how many more bits per " + each() + " the model needs when this neuron alone is silenced."],
    ["fair share", (n) => cards[n]?.importance, () => cards.some((c) => known(c.importance)), "Shapley value: its part of what all neurons together save, in bits per " + each() + ". It credits a neuron whose work others can take over."],
  ].filter(([, , there]) => there());
  const rows = Array.from({ length: count }, (_, n) => columns.map(([, cell]) => cell(n) ?? null));
  const meanings = columns.filter(([, , , meaning]) => meaning).map(([name, , , meaning]) => [name, meaning]);
  const parts = [dataTable("Neurons", columns.map(([name]) => name), rows, null, meanings)];
  const lesions = cards.filter((c) => known(c.lesion?.bits));
  if (lesions.length) {
    const shown = lesions.length > 40 ? bothEnds(ranked(lesions.map((c) => c.lesion.bits)).map((i) => lesions[i])) : lesions;
    parts.unshift(figure({
      title: "Cost of silencing each neuron",
      note: "Ablation: how many more bits per " + each() + " the model needs when this neuron alone is silenced. Thin lines: 95 % intervals over blocks of text." + (shown === lesions ? "" : " The twenty that cost most and least."),
      height: 22 * shown.length + 4,
      draw: (ctx, width) => drawBars(ctx, width, shown.map((c) => ({ label: `neuron ${c.neuron}`, value: c.lesion.bits, low: c.lesion.low, high: c.lesion.high })), { labels: 84 }),
      rows: () => [["neuron", "bits", "low", "high"], ...lesions.map((c) => [c.neuron, c.lesion.bits, c.lesion.low, c.lesion.high])],
      label: () => `Most: neuron ${lesions[ranked(lesions.map((c) => c.lesion.bits))[0]].neuron}.`,
    }));
  }
  if (look.rules?.automaton) parts.push(automatonFigure(look.rules.automaton));
  return el("div.flow", {}, parts);
}

const times = (x) => (known(x) ? { value: x, shown: `${format.number(x)} ×` } : null);

/** The share of steps and rounds at which the gate of a neuron is open. */
function density(passage, n) {
  let open = 0;
  for (let t = 0; t < passage.symbols; t++) for (let r = 0; r < passage.rounds; r++) open += passage.gate(t, r, n) >= 0.5 ? 1 : 0;
  return open / (passage.symbols * passage.rounds);
}

function meanActivity(passage, n) {
  let sum = 0;
  for (let t = 0; t < passage.symbols; t++) for (let r = 0; r < passage.rounds; r++) sum += passage.activity(t, r, n);
  return sum / (passage.symbols * passage.rounds);
}

function neuronView(look, n) {
  const { survey, passage } = look, count = passage?.neurons ?? survey?.neurons ?? 0;
  const nav = el("p.turn", {}, n > 0 ? neuronLink(n - 1, "← previous") : el("span.muted", {}, "← previous"), el("a", { href: "#neurons" }, "all neurons"), n < count - 1 ? neuronLink(n + 1, "next →") : el("span.muted", {}, "next →"));
  if (n >= count) return el("div.flow", {}, nav, el("p", {}, `This run has ${count} neurons; the last one is ${count - 1}.`));
  const card = survey?.cards?.[n];
  const sections = [
    card?.contexts?.length ? contexts(card) : null,
    card?.lesion ? lesionFigure(card) : null,
    card?.information ? informationFigure(card) : null,
    card?.hears || card?.heard_by ? hearingFigure(card, survey) : null,
    card?.lens?.top ? lensFigure(card) : null,
    card?.timescale?.spectrum?.length ? timescaleFigure(card) : null,
    card?.recall?.length ? recall(card) : null,
  ];
  return el("div.flow", {}, el("div.title", {}, el("h2", {}, card?.name ?? `neuron ${n}`), roleOf(survey, n) ? el("span.tag", {}, roleOf(survey, n)) : null, nav),
    card ? el("p.lead", {}, inWords(card, survey)) : null,
    passage ? neuronActivity(look, n) : null, rulesOf(look, n), el("div.pair", {}, sections));
}

/** What a card says, as two or three sentences. */
function inWords(card, survey) {
  const said = [];
  const best = bestClass(card);
  if (best) said.push(`It knows most about ${best[0]}: ${format.bits(best[1].bits)} bits (by chance at most ${format.bits(best[1].null ?? 0)}).`);
  else if (card.information) said.push("What it tells about the classes of symbols is within chance.");
  if (card.hears?.length) said.push(`It listens most to neuron ${card.hears[0][0]} (${format.share(card.hears[0][1])} of what it hears).`);
  if (known(card.timescale?.half_life)) said.push(`A perturbation of its state halves in ${format.number(card.timescale.half_life)} symbols.`);
  if (known(card.lesion?.bits)) {
    const range = known(card.lesion.low) ? ` (95 %: ${format.signed(card.lesion.low)} to ${format.signed(card.lesion.high)})` : "";
    said.push(`Silencing it costs the model ${format.signed(card.lesion.bits)} bits per ${each()}${range}.`);
  }
  return said.join(" ");
}

function contexts(card) {
  const show = (text) => text.replaceAll("\n", "⏎");
  return el("section.block", {}, el("div.caption", {}, el("h3", {}, "Where it is most active")),
    el("p.note", {}, "The places where its activity is highest, with what stands around them; number: its activity, in multiples of the average."),
    el("ol.contexts", { lang: "" }, card.contexts.map((c) => el("li", {}, el("span.before", {}, show(c.before ?? "")), el("mark", {}, show(c.symbol ?? "")), el("span.after", {}, show(c.after ?? "")), el("span.number", { title: "activity" }, format.number(c.activity))))));
}

function lesionFigure(card) {
  const { lesion } = card;
  const items = [{ label: onTask() ? "all targets" : "whole text", value: lesion.bits, low: lesion.low, high: lesion.high }];
  if (known(lesion.mean_replaced)) items.push({ label: "held at its mean", value: lesion.mean_replaced });
  const classes = Object.entries(lesion.by_class ?? {}).filter(([, bits]) => known(bits)).sort((a, b) => b[1] - a[1]);
  items.push(...classes.map(([label, value]) => ({ label, value })));
  return barFigure("Cost of silencing it", "How many more bits per " + each() + " the model needs without it; “held at its mean”: when it always sends its average instead; below, by the " + (onTask() ? "target" : "class of the symbol to be predicted") + ".", items, ["what", "bits"]);
}

function informationFigure(card) {
  const items = Object.entries(card.information).filter(([, i]) => i).sort((a, b) => b[1].bits - a[1].bits).map(([label, i]) => ({ label, value: i.bits, mark: i.null }));
  return barFigure("What it knows about", `Mutual information of its activity with ${onTask() ? "the symbol read, or (→) the next target that counts," : "the class of the symbol just read,"} in bits; upright line: what chance reaches (95 %).`, items, ["class", "bits", "chance"]);
}

function hearingFigure(card, survey) {
  const side = (pairs, word, hearer) => (pairs ?? []).slice(0, 6).map(([n, share]) => ({ label: `${word} ${n}`, value: share, note: format.share(share), mark: evenShare(survey, hearer(n)) }));
  return barFigure("Whom it hears, who hears it", "Mean share of what the listener hears, over rounds; upright line: the control, its share if the listener’s sources were shuffled in every stretch of the text.", [...side(card.hears, "hears", () => card.neuron), ...side(card.heard_by, "heard by", (n) => n)], ["edge", "share", "shuffled"]);
}

/** What each other source of a listener has on average: the share of any, were they shuffled. */
function evenShare(survey, hearer) {
  const row = survey?.connectivity?.[0]?.map((_, from) => mean(survey.connectivity.map((map) => map[hearer][from]))).filter((share, from) => from !== hearer && share > 0);
  return row?.length ? mean(row) : null;
}

function lensFigure(card) {
  const items = [...card.lens.top].sort((a, b) => b[1] - a[1]).slice(0, 10).map(([label, value]) => ({ label: visible(label), value, mono: true }));
  const bits = known(card.lens.bits) ? ` Predicting from this neuron alone, the model would need ${format.bits(card.lens.bits)} bits per ${each()}.` : "";
  return barFigure("What it predicts by itself", `Logit lens: the symbols whose score it raises the most, through the model's own readout (below 0: lowers the least).${bits}`, items, ["symbol", "score"]);
}

const visible = (text) => (text === " " ? "␣" : text === "\n" ? "⏎" : text === "\t" ? "⇥" : text);

function timescaleFigure(card) {
  const spectrum = card.timescale.spectrum.filter(known);
  return barFigure("How long it remembers", "Time constants of its memory, in symbols, by quantile: from its fastest part (0 %) to its slowest (100 %).", spectrum.map((value, i) => ({ label: `${Math.round((100 * i) / Math.max(1, spectrum.length - 1))} %`, value })), ["quantile", "symbols"]);
}

function recall(card) {
  const contexts = card.recall.length.join(", "), cost = `costs the model ${format.signed(card.recall.bits)} bits per ${each()}`;
  const [title, text] = card.recall.votes
    ? ["Its counts", `It counts which symbols followed in its contexts (${contexts}; a number is so many last symbols) and votes on the next one. Losing these counts ${cost}.`]
    : ["Its n-gram cache", `It looks up which symbol followed the last time after the same ${contexts} symbols. Losing this cache ${cost}.`];
  return el("section.block", {}, el("div.caption", {}, el("h3", {}, title)), el("p", {}, text));
}

function barFigure(title, note, items, head) {
  return figure({
    title, note, height: 22 * items.length + 4,
    draw: (ctx, width) => drawBars(ctx, width, items, { labels: Math.min(150, 20 + 7 * Math.max(6, ...items.map((i) => breadth(i.label)))) }),
    rows: () => [head, ...items.map((i) => [i.label, i.value, i.mark].slice(0, head.length))],
    label: () => items.slice(0, 4).map((i) => `${i.label} ${format.number(i.value)}`).join(", "),
  });
}

/** Its activity over the whole passage, round by round; a click goes to that place in the text. */
function neuronActivity(look, n) {
  const passage = look.passage, R = passage.rounds, left = 60, right = 78, band = 30;
  let full = 2;
  for (let t = 0; t < passage.symbols; t++) for (let r = 0; r < R; r++) full = Math.max(full, passage.activity(t, r, n));
  const node = figure({
    title: "Its activity over the passage",
    note: "One line per round, all to one scale, in multiples of the round’s average (dashed: 1 ×). Of neighbouring symbols that share a place the highest is drawn. Click to go there.",
    height: R * band + 8,
    draw: (ctx, width) => {
      const { accent, line, muted, warm } = palette(), room = width - left - right, columns = Math.min(passage.symbols, room);
      for (let r = 0; r < R; r++) {
        const base = (r + 1) * band, values = [], points = [];
        for (let i = 0; i < columns; i++) {
          let high = 0;
          const [a, b] = [Math.floor((i * passage.symbols) / columns), Math.max(Math.floor(((i + 1) * passage.symbols) / columns), Math.floor((i * passage.symbols) / columns) + 1)];
          for (let t = a; t < b; t++) high = Math.max(high, passage.activity(t, r, n));
          values.push(high);
        }
        values.forEach((v, i) => points.push([left + ((i + 0.5) / columns) * room, base - (band - 6) * (v / full)]));
        stroke(ctx, line, 1, [[left, base], [left + room, base]]);
        stroke(ctx, muted, 1, [[left, base - (band - 6) / full], [left + room, base - (band - 6) / full]], [2, 4]);
        stroke(ctx, accent, 1, points);
        write(ctx, `round ${r + 1}`, 0, base - 9);
        write(ctx, `max ${format.number(Math.max(...values))} ×`, width, base - 9, { anchor: "right" });
      }
      const x = left + ((app.place(look) + 0.5) / passage.symbols) * room;
      stroke(ctx, warm, 2, [[x, 0], [x, R * band]]);
    },
    click: (x, y, canvas) => move(Math.floor(((x - left) / (canvas.clientWidth - left - right)) * passage.symbols)),
    rows: () => [["symbol", "text", ...Array.from({ length: R }, (_, r) => `round ${r + 1}`)], ...Array.from({ length: passage.symbols }, (_, t) => [t, passage.label(t), ...Array.from({ length: R }, (_, r) => Number(passage.activity(t, r, n).toPrecision(3)))])],
    label: () => Array.from({ length: R }, (_, r) => `round ${r + 1}: ${format.number(passage.activity(app.place(look), r, n))} here`).join(", "),
  });
  onMove(node.redraw, node);
  return node;
}
