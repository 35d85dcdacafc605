// Playing: a person types, the page asks the model on this machine to read it, silences neurons, lets it go on.

// Serials grow from page to page too: the one that was opened last is listened to.
const playing = { serial: Date.now(), silenced: new Set(), reading: null, writing: null };

/** Ask the server; a newer question of the same kind ends an older one. */
function ask(name, more, signal) {
  const body = { serial: ++playing.serial, text: playing.text.value, silenced: [...playing.silenced], ...more };
  return fetch(name, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal });
}

const mistake = async (answer) => new Error((await answer.json().catch(() => ({}))).error ?? `the server answered ${answer.status}`);
const quiet = (error) => error.name === "AbortError";

/** Read the text as it is now, and draw. */
async function readText() {
  playing.reading?.abort();
  const { signal } = (playing.reading = new AbortController());
  try {
    const answer = await ask("read", {}, signal);
    if (answer.status === 409) return; // something newer was asked for
    if (!answer.ok) throw await mistake(answer);
    const { passage, whole_bits, said } = await answer.json();
    playing.said.textContent = said.join("; ");
    if (!passage) {
      playing.bits.textContent = "two symbols at least";
      return;
    }
    const cost = passage.mean_bits - whole_bits;
    playing.bits.textContent = `${format.bits(passage.mean_bits)} bits per symbol` + (playing.silenced.size ? `, ${cost < 0 ? "−" : "+"}${format.bits(Math.abs(cost))} by silence` : "");
    if (signal.aborted) return;
    app.at = passage.symbols - 1;
    await render(passage);
    playing.text.dataset.drawn = playing.text.value; // for whoever waits for it
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
    const answer = await ask("write", { tokens: 200, temperature: Number(playing.temperature.value) }, signal);
    if (!answer.ok) throw await mistake(answer);
    const pieces = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let piece = await pieces.read(); !piece.done; piece = await pieces.read()) {
      playing.text.value += piece.value;
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

function playPanel({ neurons, text }) {
  playing.text = el("textarea", { rows: 3, spellcheck: false, maxlength: 200_000, "aria-label": "Your text", oninput: () => { playing.writing?.abort(); readText(); } });
  playing.text.value = text;
  playing.bits = el("output.number", { "aria-live": "polite" });
  playing.said = el("span.note", { role: "status" });
  playing.temperature = el("input", { type: "range", min: 0.1, max: 1.5, step: 0.1, value: 0.7, title: "Temperature" });
  playing.write = el("button", { type: "button", onclick: letWrite }, "Let it write");
  const toggle = (n) => {
    const node = el("button", { type: "button", "aria-pressed": "false", title: `Silence neuron ${n}`, "aria-label": `Silence neuron ${n}`, onclick: () => silence(n, node) }, String(n));
    return node;
  };
  return el("section.play", { "aria-label": "Play" }, playing.text,
    el("div.controls", {}, playing.write, el("label.choice", {}, "temperature ", playing.temperature), playing.bits),
    el("div.controls", { role: "group", "aria-label": "Neurons to silence" }, el("span.note", {}, "Silence"), Array.from({ length: neurons }, (_, n) => toggle(n))),
    playing.said);
}

started.then(() => {
  $("main").before(playPanel(JSON.parse($("data").textContent).play));
  playing.text.focus();
  readText();
});
