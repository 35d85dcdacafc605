// The page as a whole: views by the address's hash, one place in the text for all pictures, the keyboard, light and dark.

const app = {
  looks: [],
  at: 0,
  playing: false,
  nothing: "There is nothing to show of this run.",
  onEdge: null, // where a person plays: closes an edge (to, from), or opens it
  /** The place in the text of one run: where all are, or its own last symbol. */
  place: (look) => Math.min(app.at, look.passage.symbols - 1),
};

let watchers = []; // functions that follow the place in the text, of the view that is open
const onMove = (act, node) => watchers.push({ act, node });
const $ = (id) => document.getElementById(id);

const unitOf = (look) => look.passage?.facts.unit ?? { BPC: "character", BPB: "byte" }[look.survey?.metric] ?? "symbol";

// `says`: what a person sees there, in a sentence or two.
const VIEWS = {
  passage: { name: "Passage", there: (look) => look.passage, make: passageView, follows: true,
    says: (look) => [look.passage.facts.due ? "sequences that the model reads step by step, each from a fresh state: the deeper the orange, the more the target cost it. Click into them (or press ← →) to see what it tells at that step, and what the neurons do." : `a text that the model reads one ${unitOf(look)} at a time: the deeper the orange, the less it expected that ${unitOf(look)}. Click into the text (or press ← →) to see what it predicted there, and which neurons exchanged messages.`,
      look.play ? [" To type a text of your own and silence neurons: ", el("code", {}, look.play)] : null] },
  neurons: { name: "Neurons", there: (look) => look.passage || look.survey?.cards?.length, make: neuronsView,
    says: (look) => [look.survey?.cards ? "a row for each neuron: what it is active for, and how much worse the model predicts when it is silenced." : "a row for each neuron, and how active it is.", " Click on a neuron for a page of its own."] },
  connections: { name: "Connections", there: (look) => (look.survey && (known(look.survey.connectivity) || known(look.survey.received))) || look.passage?.routes, make: connectionsView,
    says: () => "which neuron hears which, averaged over the text; and, where it was measured, what the model loses without a connection." },
  training: { name: "Training", there: (look) => look.history && (look.history.train?.length || look.history.validation?.length), make: trainingView,
    says: () => "how well the model predicted while it was trained: the fewer bits per " + each() + ", the better." },
  samples: { name: "Samples", there: (look) => look.history?.samples?.length, make: samplesView,
    says: () => "what the model wrote by itself in the course of its training, the latest first." },
};

/** The line on top of a view: what is to be seen. */
function seenHere(view, neuron, look) {
  const says = neuron === null ? VIEWS[view].says(look) : `what neuron ${neuron} alone does: when it is active, what it knows about, whom it hears, and what silencing it costs.`;
  return el("p.seen", {}, el("strong", {}, "What you see here: "), says);
}

/** What the address asks for: {view, neuron}. */
function asked() {
  const hash = location.hash.slice(1), neuron = hash.match(/^neuron-(\d{1,5})$/);
  if (neuron) return { view: "neurons", neuron: Number(neuron[1]) };
  return { view: VIEWS[hash] && app.looks.some(VIEWS[hash].there) ? hash : Object.keys(VIEWS).find((v) => app.looks.some(VIEWS[v].there)), neuron: null };
}

/** Draw the view that is asked for, from what the runs are now. */
function show() {
  const { view, neuron } = asked();
  watchers = [];
  figures.clear();
  const one = (look) => {
    const content = !VIEWS[view].there(look) ? el("p.muted", {}, "Nothing of this was recorded for this run.") : neuron === null ? VIEWS[view].make(look) : neuronView(look, neuron);
    return el("section.run", { "aria-label": look.name }, app.looks.length > 1 ? el("div.name", {}, el("h2", {}, look.name), el("p.note", {}, summaryOf(look))) : neuron === null ? el("h2.sr", {}, VIEWS[view].name) : null, content);
  };
  const main = $("main"), any = view && app.looks.some((look) => Object.values(VIEWS).some((v) => v.there(look)));
  const apart = app.looks.length > 1 && neuron !== null ? el("p.note", {}, "Neurons of two runs have their number in common, and no more.") : "";
  if (any) main.replaceChildren(seenHere(view, neuron, app.looks[0]), apart, el("div", { class: `looks of-${app.looks.length}` }, app.looks.map(one)));
  else main.replaceChildren(el("p.muted", {}, app.nothing));
  $("views").replaceChildren(...Object.entries(VIEWS).filter(([, v]) => app.looks.some(v.there)).map(([key, v]) => el("a", { href: `#${key}`, "aria-current": key === view ? "page" : null }, v.name)));
  $("transport").hidden = !app.looks.some((look) => look.passage) || !(VIEWS[view]?.follows || neuron !== null);
  if ($("transport").hidden) play(false);
  document.body.classList.toggle("with-transport", !$("transport").hidden);
  follow();
}

const lastPlace = () => Math.max(0, ...app.looks.filter((l) => l.passage).map((l) => l.passage.symbols)) - 1;

let asleep = true, telling = 0;

/** Go to a symbol; pictures follow with the next frame. */
function move(to) {
  const at = Math.max(0, Math.min(lastPlace(), to));
  if (at === app.at) return;
  app.at = at;
  if (asleep) requestAnimationFrame(follow);
  asleep = false;
}

function follow() {
  asleep = true;
  for (const { act } of watchers) act();
  clearTimeout(telling);
  const look = app.looks.find((l) => l.passage);
  if (!look) return;
  const t = app.place(look), bits = look.passage.bits(t);
  const said = `Symbol ${t + 1} of ${look.passage.symbols}: ${look.passage.label(t)}${bits === null ? "" : `, ${format.bits(bits)} bits`}`;
  slider.value = app.at;
  slider.setAttribute("aria-valuetext", said);
  counter.textContent = `${format.whole(app.at + 1)} / ${format.whole(lastPlace() + 1)}`;
  if (!app.playing) telling = setTimeout(() => { $("said").textContent = `${said}; ${look.passage.facts.due ? "tells" : "expects"} ${look.passage.expected(t).slice(0, 2).map((e) => `${e.label} ${e.share === null ? "" : format.share(e.share)}`).join(", ")}`; }, 500);
}

const calm = matchMedia("(prefers-reduced-motion: reduce)");
const slider = el("input", { type: "range", min: 0, max: 0, step: 1, "aria-label": "Symbol of the text", oninput: () => move(Number(slider.value)) });
const counter = el("output.number");
const button = (text, label, act) => el("button", { type: "button", "aria-label": label, title: label, onclick: act }, text);
const player = button("▶", "Play", () => play(!app.playing));
const speed = el("select", { "aria-label": "Symbols per second", title: "Symbols per second" }, [2, 5, 10, 20].map((v) => el("option", { value: v, selected: v === (calm.matches ? 2 : 5) }, `${v} / s`)));
let clock = 0;

function play(on) {
  if (on === app.playing) return;
  app.playing = on;
  player.textContent = on ? "❚❚" : "▶";
  player.title = on ? "Pause" : "Play";
  player.setAttribute("aria-label", player.title);
  clearTimeout(clock);
  const step = () => {
    if (app.at >= lastPlace()) return play(false);
    move(app.at + 1);
    clock = setTimeout(step, 1000 / Number(speed.value));
  };
  if (on) {
    if (app.at >= lastPlace()) move(0);
    step();
  } else follow();
}

const KEYS = { ArrowLeft: () => move(app.at - 1), ArrowRight: () => move(app.at + 1), Home: () => move(0), End: () => move(lastPlace()), PageUp: () => move(app.at - 20), PageDown: () => move(app.at + 20), " ": () => play(!app.playing) };

document.addEventListener("keydown", (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey) return;
  if (e.key === "Escape" && asked().neuron !== null) location.hash = "neurons";
  if ($("transport").hidden || !KEYS[e.key]) return;
  const busy = e.target.closest("input, select, textarea, button, summary, a:not(.spot), .scroll, .numbers");
  if (busy && !(busy === slider && e.key === " ")) return;
  if (["Home", "End", "PageUp", "PageDown"].includes(e.key) && !e.target.closest(".text")) return; // those scroll the page
  e.preventDefault();
  KEYS[e.key]();
});

function recolour() {
  colours = null;
  for (const one of figures) one.redraw();
}

const THEMES = ["auto", "light", "dark"];

function theme(name) {
  if (name === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  $("theme").textContent = { auto: "◐", light: "☀", dark: "☾" }[name];
  $("theme").setAttribute("aria-label", `Colours: ${name}`);
  $("theme").title = `Colours: ${name}`;
  recolour();
}

/** What a run is, in a line under its name. */
function summaryOf(look) {
  const s = look.survey ?? {}, f = look.facts ?? {}, p = look.passage, h = look.history?.facts ?? {};
  const value = s.bits ?? h.best?.bits, bits = known(value) ? `${format.bits(value)} bits per ${(s.task ? "target" : unitOf(look))} (${s.split === "test" ? "test" : "validation"})` : null;
  const count = p?.neurons ?? s.neurons, rounds = p?.rounds ?? s.rounds;
  return [known(count) ? `${count} neurons, ${rounds} ${rounds === 1 ? "round" : "rounds"}` : null, known(s.router ?? f["model.router.kind"]) ? `router ${s.router ?? f["model.router.kind"]}` : null, known(s.parameters ?? h.parameters) ? `${format.whole(s.parameters ?? h.parameters)} parameters` : null, bits].filter(known).join(" · ");
}

/** Why one model has several numbers. */
function numbers() {
  const look = app.looks.find((l) => known(l.survey?.bits)), unit = look && unitOf(look);
  if (look?.survey.task) return `Bits per target: the number on top is over ${format.whole(look.survey.targets)} targets of sequences spread over the validation part, as are all costs; that of a passage is over its own sequences, of the test part.`;
  return look && `Bits per ${unit} depend on what is read, and on how much was read before: the number on top is over ${counted(look.survey.symbols, unit)} spread over the whole validation text, as are all costs; that of a passage is over the passage alone; the training curve's is over many short stretches; inn eval reads the whole text as one, with which its n-gram cache knows the most.`;
}

function about(source) {
  const said = [];
  for (const { passage, name } of app.looks) {
    const r = passage?.facts.routing;
    if (!r) continue;
    const which = app.looks.length > 1 ? ` of ${name}` : "";
    said.push(`Routing${which} is kept in ${r.steps} steps from zero to the largest share of a round${r.form === "dense" ? "" : `, the ${r.kept === 1 ? "strongest source" : `${r.kept} strongest sources`} of each neuron only`}, activity in 255.`);
  }
  return [numbers() ? el("p", {}, numbers()) : null,
    said.length ? el("p", {}, said.join(" "), " Heads are averaged; what a neuron hears is shown as shares that sum to 1; where routing weights may be negative, the shares are of their sizes.") : null,
    el("p", {}, "Keys: ← → one symbol, space plays, Tab and ↑ ↓ reach the neurons of the graph, Enter opens one, Esc leaves it."),
    source.made_with ? el("p", {}, "Made with ", el("code", {}, source.made_with), ".") : null];
}

/** Put another passage in the place of a run's, and draw, unless `signal` was aborted meanwhile; tells whether it did. `facts`: what `read_passage` returns. */
async function render(facts, index = 0, signal = null) {
  const passage = await Passage.from(facts);
  if (signal?.aborted) return false;
  app.looks[index].passage = passage;
  slider.max = lastPlace();
  app.at = Math.min(app.at, lastPlace());
  show();
  return true;
}

async function start() {
  const source = JSON.parse($("data").textContent);
  app.looks = await Promise.all(source.runs.map(async (run) => ({ ...run, passage: run.passage ? await Passage.from(run.passage) : null })));
  $("runs").replaceChildren(...(app.looks.length > 1 ? [el("h1", {}, "Side by side")] : [el("h1", {}, app.looks[0].name), el("p", {}, summaryOf(app.looks[0]))]));
  $("transport").append(button("‹", "Previous symbol", () => move(app.at - 1)), player, button("›", "Next symbol", () => move(app.at + 1)), slider, counter, speed);
  $("foot").append(...about(source).filter(Boolean));
  slider.max = lastPlace();
  let chosen = 0;
  $("theme").addEventListener("click", () => theme(THEMES[(chosen = (chosen + 1) % THEMES.length)]));
  for (const query of [matchMedia("(prefers-color-scheme: dark)"), paper]) query.addEventListener("change", recolour);
  addEventListener("hashchange", () => { show(); $("main").focus({ preventScroll: true }); scrollTo(0, 0); });
  theme("auto");
  show();
  performance.mark("drawn");
  document.documentElement.dataset.drawn = ""; // for whoever waits for the first pictures
}

window.inn = { render };
const started = start();
