// The model on this page: it reads, writes and loses neurons here, and asks nobody.
// The script before this one has `built(given)`, which makes `model` (inn/export/web): `first()`, the state at the beginning, and
// `step(symbol)`, with the arrays `state`, `logits`, `spoken`, `open`, `activity`, `routing`, `gate`; the last two may be null.

let model = null, vocabulary = null, numberOf = null; // vocabulary: {kind, unit, symbols, labels}; of bytes no symbols

const BREATH = 24; // milliseconds of reading between two looks at what else the page has to do
const READ = 2000, HOP = 500; // symbols that are read at most; a longer text loses its beginning in pieces of HOP
const KEPT = 3; // readings that are kept, each of other silenced neurons
const BEST = 5; // symbols that are told with their probability
const breathe = () => new Promise((done) => { const { port1, port2 } = new MessageChannel(); port1.onmessage = done; port2.postMessage(0); });

/** What has been read so far without some neurons and edges: numbers by symbol, and where the model stands. */
class Reading {
  constructor(without, closed) {
    Object.assign(this, { without, closed, symbols: [], bits: [], top: [], shares: [], activity: [], routing: [], gate: [], state: model.first(), expected: null });
  }

  /** Read one more symbol. The model is this reading's when it is called. */
  add(symbol) {
    this.bits.push(this.expected ? -this.expected[symbol] / Math.LN2 : null);
    model.step(symbol);
    this.expected = logSoftmax(model.logits);
    const best = ranked([...this.expected]).slice(0, BEST);
    this.symbols.push(symbol);
    this.top.push(...best);
    this.shares.push(...best.map((i) => Math.exp(this.expected[i])));
    this.activity.push(Float32Array.from(model.activity));
    if (model.routing) this.routing.push(sharesOf(model.routing, model));
    if (model.gate) this.gate.push(Float32Array.from(model.gate));
  }

  /** Bits per symbol. */
  get mean() {
    const counted = this.bits.filter((b) => b !== null);
    return counted.reduce((a, b) => a + b, 0) / counted.length;
  }

  /** What the page shows of it, as `read_passage` in inn/explorer/passage.py tells it, numbers not yet packed. */
  facts() {
    const { neurons, rounds } = model, T = this.symbols.length, used = [...new Set([...this.symbols, ...this.top])].sort((a, b) => a - b);
    const place = new Map(used.map((symbol, i) => [symbol, i]));
    const means = new Float64Array(rounds);
    for (const at of this.activity) at.forEach((value, i) => { means[Math.floor(i / neurons)] += value / (T * neurons); });
    const relative = (value, i) => value / Math.max(means[Math.floor(i / neurons)], 1e-30);
    return {
      title: "What you type", before: 0, ...(this.without.length ? { silenced: this.without } : {}), ...(this.closed.length ? { closed: this.closed } : {}),
      symbols: T, asked: T, unit: vocabulary.unit, text: pieces(this.symbols), labels: used.map(labelOf), ids: this.symbols.map((s) => place.get(s)),
      bits: this.bits, mean_bits: this.mean,
      top: { each: Math.min(BEST, model.logits.length), ids: this.top.map((s) => place.get(s)), shares: this.shares },
      neurons, rounds, activity: inSteps(this.activity.map((at) => at.map(relative)), rounds),
      gate: model.gate ? { data: inSteps(this.gate, 0).data } : null,
      routing: model.routing ? { form: "dense", steps: 255, ...inSteps(this.routing, rounds) } : null,
    };
  }
}

/** Numbers by symbol in 255 steps from zero to the largest of each round; 0 rounds: from 0 to 1. */
function inSteps(rows, rounds) {
  const each = rows[0].length / (rounds || 1), scale = new Array(rounds || 1).fill(rounds ? 0 : 1), data = new Uint8Array(rows.length * rows[0].length);
  if (rounds) for (const row of rows) row.forEach((value, i) => { const r = Math.floor(i / each); if (value > scale[r]) scale[r] = value; });
  rows.forEach((row, t) => row.forEach((value, i) => { data[t * row.length + i] = Math.min(255, Math.round((value * 255) / Math.max(scale[Math.floor(i / each)], 1e-30))); }));
  return { scale, data };
}

/** Routing weights [R, H, N, N] as shares of what each neuron hears: heads averaged, sizes, rows that sum to 1. */
function sharesOf(routing, { rounds, heads, neurons }) {
  const found = new Float32Array(rounds * neurons * neurons), matrix = neurons * neurons;
  for (let r = 0; r < rounds; r++) for (let i = 0; i < neurons; i++) {
    let sum = 0;
    for (let j = 0; j < neurons; j++) {
      let mean = 0;
      for (let h = 0; h < heads; h++) mean += routing[(r * heads + h) * matrix + i * neurons + j] / heads;
      sum += found[r * matrix + i * neurons + j] = Math.abs(mean);
    }
    if (sum > 0) for (let j = 0; j < neurons; j++) found[r * matrix + i * neurons + j] /= sum;
  }
  return found;
}

function logSoftmax(logits) {
  const found = Float64Array.from(logits), most = found.reduce((a, b) => Math.max(a, b), -Infinity);
  const sum = most + Math.log(found.reduce((a, b) => a + Math.exp(b - most), 0));
  return found.map((value) => value - sum);
}

// -- symbols and text

const encoder = new TextEncoder();
const labelOf = (symbol) => vocabulary.labels[symbol];

/** The symbols of a text, and the characters that the model does not know. */
function symbolsOf(text) {
  if (!numberOf) return { symbols: [...encoder.encode(text)], unknown: [] };
  const all = [...text], unknown = new Set(all.filter((c) => !numberOf.has(c)));
  return { symbols: all.filter((c) => !unknown.has(c)).map((c) => numberOf.get(c)), unknown: [...unknown].sort() };
}

/** What each symbol adds to the text, or its name where that is nothing, or nothing that can be shown. */
function pieces(symbols) {
  const decoder = numberOf ? null : new TextDecoder();
  return symbols.map((symbol) => {
    const piece = decoder ? decoder.decode(Uint8Array.of(symbol), { stream: true }) : vocabulary.symbols[symbol];
    return piece && /^(\n|[^\p{C}\p{Zl}\p{Zp}])+$/u.test(piece) ? piece : labelOf(symbol);
  });
}

// -- what the page asks

const here = {
  readings: [],

  /** Make the model of what the page was given. */
  async begin(given) {
    vocabulary = given.vocabulary;
    numberOf = vocabulary.kind === "bytes" ? null : new Map(vocabulary.symbols.map((symbol, i) => [symbol, i]));
    model = await built(given);
  },

  /** Hand the model to a reading: the neurons that it does without, and where it stands. */
  take({ without, closed, state }) {
    const { neurons } = model;
    model.spoken.fill(1);
    model.open.fill(1);
    for (const n of without) {
      model.spoken[n] = 0;
      for (let i = 0; i < neurons; i++) if (i !== n) model.open[i * neurons + n] = 0;
    }
    for (const [to, from] of closed) model.open[to * neurons + from] = 0;
    model.state.set(state);
  },

  async passage(symbols, without, closed, signal) {
    const same = (a, b) => JSON.stringify(a) === JSON.stringify(b), found = this.readings.findIndex((r) => same(r.without, without) && same(r.closed, closed));
    let [reading] = found < 0 ? [null] : this.readings.splice(found, 1);
    if (!reading || reading.symbols.length > symbols.length || reading.symbols.some((s, i) => s !== symbols[i])) reading = new Reading(without, closed);
    this.readings.push(reading);
    this.readings.splice(0, this.readings.length - KEPT);
    while (reading.symbols.length < symbols.length) {
      this.take(reading);
      for (const until = performance.now() + BREATH; reading.symbols.length < symbols.length && performance.now() < until;) reading.add(symbols[reading.symbols.length]);
      reading.state = model.state.slice();
      await breathe();
      signal.throwIfAborted();
    }
    return reading;
  },

  async read({ text, silenced, closed }, signal) {
    const { symbols: all, unknown } = symbolsOf(text), said = [];
    if (unknown.length) said.push(`left out, unknown to the model: ${unknown.slice(0, 20).join(" ")}${unknown.length > 20 ? ` and ${unknown.length - 20} more` : ""}`);
    const start = all.length > READ ? Math.ceil((all.length - READ) / HOP) * HOP : 0, symbols = all.slice(start);
    if (start) said.push(`the first ${format.whole(start)} symbols are left out: at most ${format.whole(READ)} are read`);
    if (symbols.length < 2) return { passage: null, whole_bits: null, said };
    const whole = await this.passage(symbols, [], [], signal);
    const reading = silenced.length || closed.length ? await this.passage(symbols, silenced, closed, signal) : whole;
    return { passage: reading.facts(), whole_bits: whole.mean, said };
  },

  async *write({ text, silenced, closed, tokens, temperature }, signal) {
    const { symbols } = symbolsOf(text), decoder = numberOf ? null : new TextDecoder();
    const reading = { ...(await this.passage(symbols.slice(-READ), silenced, closed, signal)) };
    let expected = reading.expected ?? new Float64Array(model.logits.length);
    for (let k = 0; k < tokens; k++) {
      const symbol = drawn(expected, temperature);
      yield decoder ? decoder.decode(Uint8Array.of(symbol), { stream: true }) : vocabulary.symbols[symbol];
      signal.throwIfAborted();
      this.take(reading);
      model.step(symbol);
      expected = logSoftmax(model.logits);
      reading.state = model.state.slice();
      if (k % 4 === 3) await breathe();
    }
  },
};

/** A symbol at random, by log-probabilities at a temperature. */
function drawn(expected, temperature) {
  const most = expected.reduce((a, b) => Math.max(a, b), -Infinity), weights = expected.map((value) => Math.exp((value - most) / temperature));
  let left = Math.random() * weights.reduce((a, b) => a + b, 0);
  const found = weights.findIndex((weight) => (left -= weight) < 0);
  return found < 0 ? weights.length - 1 : found;
}
