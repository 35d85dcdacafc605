// What `inn explain` has found: the rules of a neuron, its gate and its edges, and the automaton of a run that counts.

/** The rules of neuron n: when it is active, then its gate, then what it hears from whom. */
function rulesOf(look, n) {
  const own = (look.rules?.rules ?? []).filter((rule) => rule.neuron === n);
  if (!own.length) return null;
  const [edges, first] = [own.filter((rule) => rule.kind === "edge"), own.filter((rule) => rule.kind !== "edge")];
  const instead = look.rules.instead?.neurons[n];
  const cost = instead ? ` With what it says on average in such a case in place of what it says, the model needs ${format.signed(instead.rules)} bits per ${each()} more; with its mean ${format.signed(instead.mean)}.` : "";
  return el("section.block", {}, el("div.caption", {}, el("h3", {}, "When it is active")),
    el("p.note", {}, `A rule fitted by “inn explain”, and tested on other text. Percent: at how many of such steps it is in its top fifth. Fidelity: the area under the ROC curve (0.5 is chance); shuffled: that of a rule for shuffled activity.${cost}`),
    el("div.pair", {}, first.map((rule) => ruleBlock(rule, `${rule.kind === "gate" ? "its gate, " : ""}round ${rule.round + 1}`))),
    edges.length ? el("details", {}, el("summary", {}, "When it hears the others"), el("div.pair", {}, edges.map((rule) => ruleBlock(rule, `from neuron ${rule.source}, round ${rule.round + 1}`)))) : null);
}

function ruleBlock(rule, title) {
  const said = known(rule.fidelity) ? `fidelity ${format.number(rule.fidelity)} (shuffled ${format.number(rule.shuffled)}), coverage ${format.share(rule.coverage)}` : "always alike";
  const lines = rule.lines.map(([depth, words, share]) => {
    const line = el("li", {}, words, known(share) ? el("strong", {}, `: ${format.share(Math.max(0, share))}`) : null);
    line.style.marginLeft = `${1.2 * depth}em`;
    return line;
  });
  return el("div.rule", {}, el("h4", {}, title), el("p.note", {}, said), el("ul", { lang: "" }, lines));
}

/** The automaton that a population has become, as a drawing and a table. */
function automatonFigure(found) {
  const size = 420, shapes = found.drawn.map((one) => (one.path
    ? [svg("path", { d: one.path, class: "way", "marker-end": "url(#to)" }), svg("text", { x: one.x, y: one.y, class: "read" }, one.text)]
    : [svg("circle", { cx: one.x, cy: one.y, r: 16, class: one.text === "0" ? "state first" : "state" }), svg("text", { x: one.x, y: one.y, dy: 4 }, one.text)]));
  const arrow = svg("marker", { id: "to", orient: "auto", markerWidth: 8, markerHeight: 8, refX: 6, refY: 3 }, svg("path", { d: "M0 0L7 3L0 6z", class: "head" }));
  const rows = found.following.map((to, s) => [{ value: s, shown: String(s) }, ...to.map((t, a) => ({ value: t, shown: `${t} / ${found.answers[found.answer[s][a]]}` }))]);
  return el("section.block", {}, el("div.caption", {}, el("h3", {}, "The automaton that it has become")),
    el("p.note", {}, `${found.states} states, the fewest that tell what the run tells; it begins in state 0. On ${found.strings} random strings of length ${found.length} it tells what the run does at ${format.share(found.agreement)} of the steps. A line is read as: symbol / what is told.`),
    svg("svg", { viewBox: `0 0 ${size} ${size}`, class: "automaton", role: "img", "aria-label": `Automaton of ${found.states} states; the table has them.` }, svg("defs", {}, arrow), shapes.flat()),
    dataTable("The next state / what is told", ["state", ...found.symbols], rows, null, []));
}

/** An element of a drawing. */
function svg(name, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children.flat());
  return node;
}
