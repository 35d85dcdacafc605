// Playing: a person types, the page asks the model on this machine to read it, silences neurons, lets it go on.

// Serials grow with the clock: of several pages, the one in which something was done last is listened to.
const playing = { serial: 0, silenced: new Set(), closed: new Map(), reading: null, writing: null };
const MEMORY = `inn ${location.pathname}`; // of this server, in this tab

/** What a person typed and chose, kept over a reload; `saved()` gives {} where there is nothing, or no storage. */
function keep() {
  try {
    sessionStorage.setItem(MEMORY, JSON.stringify({ ...asking(), temperature: playing.temperature.value }));
  } catch { /* storage may be switched off, or full */ }
}

function saved() {
  try {
    return JSON.parse(sessionStorage.getItem(MEMORY)) ?? {};
  } catch {
    return {};
  }
}

/** The model on this machine that the page came from; a newer question of a kind ends an older one. */
const server = {
  async ask(name, question, signal) {
    playing.serial = Math.max(playing.serial + 1, Date.now());
    const body = JSON.stringify({ serial: playing.serial, ...question });
    const answer = await fetch(name, { method: "POST", headers: { "Content-Type": "application/json" }, body, signal });
    if (!answer.ok && answer.status !== 409) throw new Error((await answer.json().catch(() => ({}))).error ?? `the server answered ${answer.status}`);
    return answer;
  },

  /** What there is to show of the text; null where something newer was asked for. */
  async read(question, signal) {
    const answer = await this.ask("read", question, signal);
    return answer.ok ? answer.json() : null;
  },

  /** Pieces of text that follow it. */
  async *write(question, signal) {
    const answer = await this.ask("write", question, signal);
    if (!answer.ok) return;
    const pieces = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let piece = await pieces.read(); !piece.done; piece = await pieces.read()) yield piece.value;
  },
};

const engine = typeof here === "undefined" ? server : here;
const byNumber = (a, b) => a - b;
const asking = (more) => ({ text: playing.text.value, silenced: [...playing.silenced].sort(byNumber), closed: [...playing.closed.values()].sort((a, b) => a[0] - b[0] || a[1] - b[1]), ...more });
const quiet = (error) => error.name === "AbortError";

/** Read the text as it is now, and draw. */
async function readText() {
  playing.reading?.abort();
  keep();
  const { signal } = (playing.reading = new AbortController()), text = playing.text.value;
  try {
    const found = await engine.read(asking(), signal);
    if (!found || signal.aborted) return;
    const { passage, whole_bits, said } = found;
    playing.said.textContent = said.join("; ");
    if (!passage) {
      playing.bits.textContent = `Type at least 2 ${playing.unit}s`;
      app.looks[0].passage = null;
      show();
      return;
    }
    const cost = passage.mean_bits - whole_bits;
    playing.bits.replaceChildren(`${format.bits(passage.mean_bits)} bits per ${playing.unit}`, passage.silenced || passage.closed ? el("span", {}, `, ${format.signed(cost)} bits from ${passage.silenced ? "silenced neurons" : "closed edges"}`) : "");
    playing.dares.note(passage, whole_bits);
    app.at = passage.symbols - 1;
    if (await render(passage, 0, signal)) playing.text.dataset.drawn = text; // for whoever waits for it
  } catch (error) {
    if (!quiet(error)) playing.said.textContent = error.message;
  }
}

/** Let the model go on from the text, until it has written enough or is stopped. */
async function letWrite() {
  if (playing.writing) return playing.writing.abort();
  const { signal } = (playing.writing = new AbortController());
  playing.write.textContent = "Stop";
  try {
    for await (const piece of engine.write(asking({ tokens: 200, temperature: Number(playing.temperature.value) }), signal)) {
      playing.text.value += piece;
      playing.text.scrollTop = playing.text.scrollHeight;
    }
  } catch (error) {
    if (!quiet(error)) playing.said.textContent = error.message;
  }
  playing.writing = null;
  playing.write.textContent = "Let it write";
  readText();
}

function silence(n, node) {
  if (!playing.silenced.delete(n)) playing.silenced.add(n);
  node.setAttribute("aria-pressed", playing.silenced.has(n));
  readText();
}

/** Close an edge, or open it again. */
function closeEdge(to, from) {
  const key = `${to}-${from}`;
  if (!playing.closed.delete(key)) playing.closed.set(key, [to, from]);
  readText();
}

async function copyLink() {
  const link = linkTo(asking());
  try {
    await navigator.clipboard.writeText(link);
    playing.said.textContent = "The link is copied: it has the text and what is silenced, and leads to this page.";
  } catch { // no leave to write there, as on a page from disk
    location.hash = link.split("#")[1];
    playing.said.textContent = "The address of this page has the text and what is silenced now: copy it from there.";
  }
}

function playPanel({ neurons, text, unit = "character" }) {
  const before = linked(neurons) ?? saved(), there = (n) => n < neurons;
  const closed = (before.closed ?? []).filter((edge) => edge.every(there)).map((edge) => [edge.join("-"), edge]);
  Object.assign(playing, { unit, silenced: new Set((before.silenced ?? []).filter(there)), closed: new Map(closed), dares: dares(unit) });
  playing.text = el("textarea", { rows: 3, spellcheck: false, lang: "", dir: "auto", maxlength: 200_000, "aria-label": "Your text", oninput: () => { playing.writing?.abort(); readText(); } });
  playing.text.value = before.text ?? text;
  playing.bits = el("output.number", { "aria-live": "polite" });
  playing.said = el("span.note", { role: "status" });
  const heat = el("span.number");
  playing.temperature = el("input", { type: "range", min: 0.1, max: 1.5, step: 0.1, title: "Temperature: low repeats what is likeliest, high surprises", oninput: () => { heat.textContent = Number(playing.temperature.value).toFixed(1); keep(); } });
  playing.temperature.value = before.temperature ?? 0.7;
  heat.textContent = Number(playing.temperature.value).toFixed(1);
  playing.write = el("button", { type: "button", onclick: letWrite }, "Let it write");
  const toggle = (n) => {
    const node = el("button", { type: "button", "aria-pressed": playing.silenced.has(n) ? "true" : "false", title: `Silence neuron ${n}`, "aria-label": `Silence neuron ${n}`, onclick: () => silence(n, node) }, String(n));
    return node;
  };
  return el("section.play", { "aria-label": "Play" },
    el("p.seen", {}, el("strong", {}, "Type here: "), `the model reads as you type. The number is how many bits per ${unit} it needs: the fewer, the better it predicts. Then silence one neuron after the other, and see what each costs.`),
    playing.text,
    el("div.controls", {}, playing.write, el("label.choice", {}, "temperature ", playing.temperature, heat),
      el("button.plain", { type: "button", onclick: copyLink }, "Copy a link"),
      el("button.plain", { type: "button", onclick: () => app.looks[0].passage && pictureOf(app.looks[0]).toBlob((blob) => save("what-it-read.png", blob)) }, "Save a picture"), playing.bits),
    el("div.controls", { role: "group", "aria-label": "Neurons to silence" }, el("span.note", {}, "Silence neurons"), Array.from({ length: neurons }, (_, n) => toggle(n))),
    playing.said, playing.dares.node);
}

started.then(async () => {
  const play = JSON.parse($("data").textContent).play;
  await engine.begin?.(play.model);
  app.nothing = `Type at least 2 ${play.unit ?? "character"}s to see what the model does with them.`;
  $("main").before(playPanel(play));
  app.onEdge = closeEdge;
  playing.text.focus();
  readText();
});
