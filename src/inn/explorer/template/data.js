// What the page was given, and the packed parts of a passage as numbers (inn/explorer/passage.py says what they mean).

const LARGE = 256; // neurons from which groups are shown first
const PARTIAL = /^(\\x[89a-f][0-9a-f])+$|^\\u200[cd]$/; // as the vocabulary names what cannot be shown by itself
const segmenter = Intl.Segmenter && new Intl.Segmenter();
const graphemes = (text) => (segmenter ? Array.from(segmenter.segment(text), (part) => part.segment) : [...text]);

/** The beginning of a symbol's name, for little room: at most two characters, one where it is wide. */
function brief(label) {
  if (label === "\\n") return "⏎";
  const hex = label.match(/^\\x([0-9a-f]{2})$/), parts = graphemes(label);
  return hex ? hex[1] : parts.slice(0, wide(parts[0] ?? "") ? 1 : 2).join("");
}

/** Whether a character takes the room of two: Chinese, Japanese, Korean, pictures. */
const wide = (character) => /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60]|\p{Emoji_Presentation}|\p{Extended_Pictographic}\ufe0f|[\u{20000}-\u{3fffd}]/u.test(character);

/** How much room a text takes, in characters of ordinary width. */
const breadth = (text) => graphemes(text).reduce((sum, part) => sum + (wide(part) ? 2 : 1), 0);

/** What a loss is counted by: the symbols of a text, the targets of a task. */
const onTask = () => app.looks.some((look) => look.passage?.facts.due || look.survey?.task);
const each = () => (onTask() ? "target" : "symbol");

/** Undo `packed`: base64, then deflate; bytes stay as they are. */
async function unpacked(text) {
  if (text instanceof Uint8Array) return text;
  const bytes = Uint8Array.fromBase64 ? Uint8Array.fromBase64(text) : Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Neurons in the place of places in the rows of a list, [T * R * N * kept]. */
function unlisted(places, list, neurons, kept) {
  const found = new Uint16Array(places.length), row = list.length / neurons;
  for (let i = 0; i < places.length; i++) found[i] = list[(Math.floor(i / kept) % neurons) * row + places[i]];
  return found;
}

/** A passage: what the model did at each symbol. Rounds, neurons and symbols count from 0. */
class Passage {
  static async from(facts) {
    const passage = Object.assign(new Passage(), { facts, silenced: new Set(facts.silenced), neurons: facts.neurons, rounds: facts.rounds, symbols: facts.symbols });
    passage.loudness = await unpacked(facts.activity.data);
    passage.gates = facts.gate && (await unpacked(facts.gate.data));
    const routing = facts.routing;
    if (routing) {
      passage.weights = await unpacked(routing.data);
      passage.steps = routing.steps;
      if (routing.form === "strongest") {
        const bytes = await unpacked(routing.sources);
        passage.sources = routing.source_bytes === 1 ? bytes : new Uint16Array(bytes.buffer);
        if (routing.listed) passage.sources = unlisted(passage.sources, new Uint16Array((await unpacked(routing.listed)).buffer), facts.neurons, routing.kept);
      }
    }
    if (routing) Object.assign(passage, passage.spread());
    return passage;
  }

  /** The colours of shares, one scale for all rounds, from 40 symbols: {even, full, low}; see `scaleOf`. */
  spread() {
    const N = this.neurons, each = Math.max(1, Math.floor(this.symbols / 40)), thin = Math.max(1, Math.floor(N ** 2 / 512));
    if (this.sources && N > LARGE) return this.spreadOfFew(each);
    const shares = [], heard = new Uint8Array(this.rounds * N * N);
    for (let t = 0; t < this.symbols; t += each) for (let r = 0; r < this.rounds; r++) {
      this.matrix(t, r).forEach((share, i) => {
        if (share <= 0 || this.silenced.has(Math.floor(i / N))) return;
        heard[r * N * N + i] = 1;
        if ((i + t / each) % thin === 0) shares.push(share);
      });
    }
    const listeners = this.rounds * (N - this.silenced.size), sources = this.sources ? N : heard.reduce((a, b) => a + b, 0) / Math.max(1, listeners);
    return scaleOf(shares, sources);
  }

  /** The same of a large graph: of what was kept, thinned out. */
  spreadOfFew(each) {
    const { kept } = this.facts.routing, shares = [], all = this.rounds * this.neurons * kept;
    for (let t = 0; t < this.symbols; t += each) for (let i = 0; i < all; i += 7) {
      const share = (this.weights[t * all + i] * this.largest(Math.floor(i / (this.neurons * kept)))) / this.steps;
      if (share > 0) shares.push(share);
    }
    return scaleOf(shares, kept);
  }

  /** How strong a share is, 0 to 1: in proportion to it, or from the lowest to the highest there is. */
  strength(share, stretched = false) {
    return strengthOf(this, share, stretched);
  }

  get routes() {
    return Boolean(this.facts.routing);
  }

  /** What a row of the graph is called. */
  name(n) {
    return String(n);
  }

  /** The largest share of any edge in round r. */
  largest(r) {
    return this.facts.routing.scale[r];
  }

  /** Activity of neuron n in round r at symbol t; 1 is the mean of the round over the passage. */
  activity(t, r, n) {
    const { scale } = this.facts.activity;
    return (this.loudness[(t * this.rounds + r) * this.neurons + n] / 255) * scale[r];
  }

  /** The gate of neuron n, 0 to 1; null where there are none. */
  gate(t, r, n) {
    return this.gates && this.gates[(t * this.rounds + r) * this.neurons + n] / 255;
  }

  /** Shares of round r at symbol t, row by row of listeners: [N * N]; what was not kept is 0. */
  matrix(t, r) {
    const N = this.neurons, step = this.largest(r) / this.steps;
    const found = new Float32Array(N * N);
    if (this.sources) {
      const kept = this.facts.routing.kept, at = (t * this.rounds + r) * N * kept;
      for (let i = 0; i < N * kept; i++) found[Math.floor(i / kept) * N + this.sources[at + i]] = this.weights[at + i] * step;
    } else {
      const at = (t * this.rounds + r) * N * N;
      for (let i = 0; i < N * N; i++) found[i] = this.weights[at + i] * step;
    }
    return found;
  }

  /** The same from what was kept, which stands strongest first. */
  strongest(t, r, count) {
    const { kept } = this.facts.routing, at = (t * this.rounds + r) * this.neurons * kept, step = this.largest(r) / this.steps, found = [];
    for (let to = 0; to < this.neurons; to++) for (let k = 0; k < Math.min(count, kept); k++) {
      const i = at + to * kept + k;
      if (this.weights[i] > 0) found.push([to, this.sources[i], this.weights[i] * step]);
    }
    return found;
  }

  /** The `count` strongest sources of each listener: [[to, from, share], ...]. */
  edges(t, r, count) {
    if (this.sources && this.neurons > LARGE) return this.strongest(t, r, count);
    const N = this.neurons, matrix = this.matrix(t, r), found = [];
    for (let to = 0; to < N; to++) {
      const row = matrix.subarray(to * N, to * N + N);
      if (count >= N) {
        for (let from = 0; from < N; from++) if (row[from] > 0) found.push([to, from, row[from]]);
        continue;
      }
      for (let k = 0; k < count; k++) {
        let best = 0;
        for (let from = 1; from < N; from++) if (row[from] > row[best]) best = from;
        if (row[best] <= 0) break;
        found.push([to, best, row[best]]);
        row[best] = 0;
      }
    }
    return found;
  }

  label(t) {
    return this.facts.labels[this.facts.ids[t]];
  }

  /** What stands in the text for symbol t: bytes that are but a part of a character, and joiners, are a dot. */
  piece(t) {
    const piece = this.facts.text[t];
    return piece === this.label(t) && PARTIAL.test(piece) ? "·" : piece;
  }

  /** Symbol t where there is room for a character or two: the text that it ends, where its name is that of a byte. */
  brief(t) {
    if (this.facts.signal) return String(this.facts.steps[t]);
    this.briefs ??= [];
    return (this.briefs[t] ??= brief(PARTIAL.test(this.label(t)) ? this.piece(t) : this.label(t)));
  }

  /** Of sequences of a task: what is to be told at step t, null where nothing counts; undefined of a text. */
  due(t) {
    return this.facts.due?.[t];
  }

  bits(t) {
    return t < this.symbols ? this.facts.bits[t] : null;
  }

  /** The likeliest next symbols after t: [{label, share, came}], likeliest first. */
  expected(t) {
    const { each, ids, shares } = this.facts.top;
    const { said, due, labels } = this.facts;
    if (said) return [{ label: said[t], share: null, came: false }];
    const next = due ? labels.indexOf(due[t]) : t + 1 < this.symbols ? this.facts.ids[t + 1] : null;
    return Array.from({ length: each }, (_, k) => ({
      label: this.facts.labels[ids[t * each + k]], share: shares[t * each + k], came: ids[t * each + k] === next,
    }));
  }
}

/**
 * The scale of shares: `even`, what each of `sources` sources has where all are heard alike, and `full`, the end of the
 * colours, which begin at zero and have `even` at their middle or before it. `low` and `high`: where nearly all shares lie; `most`: the largest.
 */
function scaleOf(shares, sources) {
  const sorted = Float32Array.from(shares).sort(), even = 1 / Math.max(1, sources);
  const low = sorted[Math.floor(0.005 * sorted.length)] ?? 0, high = sorted[Math.floor(0.995 * (sorted.length - 1))] ?? 0;
  return { even, low, high, most: sorted[sorted.length - 1] ?? 0, full: Math.min(1, Math.max(2 * even, high)) };
}

function strengthOf({ full, low, high }, share, stretched) {
  const from = stretched ? low : 0, to = stretched ? high : full;
  return to > from ? Math.max(0, Math.min(1, (share - from) / (to - from))) : 0.5;
}

const format = {
  whole: (x) => Math.round(x).toLocaleString("en"),
  share: (x) => (x >= 0.0995 ? `${Math.round(100 * x)}\u202f%` : `${(100 * x).toFixed(1)}\u202f%`),
  /** A share to a tenth of a percent. */
  exact: (x) => `${Number((100 * x).toFixed(1))}\u202f%`,
  /** Three digits, without the noise of more. */
  number: (x) => (x === null || x === undefined ? "–" : x !== 0 && Math.abs(x) < 5e-5 ? "≈ 0" : Math.abs(x) >= 1000 ? format.whole(x) : String(Number(x.toPrecision(3))).replace("-", "−")),
  bits: (x) => (x === null || x === undefined ? "–" : x !== 0 && Math.abs(x) < 5e-4 ? "≈ 0" : x.toFixed(Math.abs(x) < 0.0995 ? 3 : 2)),
  signed: (x) => (x === null || x === undefined ? "–" : `${Math.abs(x) < 5e-4 ? "" : x > 0 ? "+" : "−"}${format.bits(Math.abs(x))}`),
};

/** A missing number, or a missing part of the survey, is null or absent. */
const known = (x) => x !== null && x !== undefined && !(Array.isArray(x) && x.length === 0);

/** A count with its unit, as in "1 byte" and "2,000 characters". */
const counted = (n, unit) => `${format.whole(n)} ${unit}${n === 1 ? "" : "s"}`;

const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;

/** The indices of the largest values, largest first. */
const ranked = (values) => values.map((v, i) => [v, i]).sort((a, b) => b[0] - a[0]).map(([, i]) => i);

/** Of more than forty the twenty at either end. */
const bothEnds = (items) => (items.length > 40 ? [...items.slice(0, 20), ...items.slice(-20)] : items);
