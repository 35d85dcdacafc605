// What the page was given, and the packed parts of a passage as numbers (inn/explorer/passage.py says what they mean).

/** Undo `packed`: base64, then deflate. */
async function unpacked(text) {
  const bytes = Uint8Array.fromBase64 ? Uint8Array.fromBase64(text) : Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** A passage: what the model did at each symbol. Rounds, neurons and symbols count from 0. */
class Passage {
  static async from(facts) {
    const passage = Object.assign(new Passage(), { facts, neurons: facts.neurons, rounds: facts.rounds, symbols: facts.symbols });
    passage.loudness = await unpacked(facts.activity.data);
    passage.gates = facts.gate && (await unpacked(facts.gate.data));
    const routing = facts.routing;
    if (routing) {
      passage.weights = await unpacked(routing.data);
      passage.steps = routing.steps;
      if (routing.form === "strongest") {
        const bytes = await unpacked(routing.sources);
        passage.sources = routing.source_bytes === 1 ? bytes : new Uint16Array(bytes.buffer);
      }
    }
    if (routing) passage.ranges = Array.from({ length: facts.rounds }, (_, r) => passage.spread(r));
    return passage;
  }

  /** Where nearly all shares of a round lie, from 40 symbols of the passage: [low, high], the ends of its colours. */
  spread(r) {
    const seen = [], each = Math.max(1, Math.floor(this.symbols / 40)), thin = Math.max(1, Math.floor(this.neurons ** 2 / 512));
    for (let t = 0; t < this.symbols; t += each) {
      const shares = this.sources ? this.matrix(t, r).filter((share) => share > 0) : this.matrix(t, r);
      for (let i = (t / each) % thin; i < shares.length; i += thin) seen.push(shares[i]);
    }
    const sorted = Float32Array.from(seen).sort();
    const low = this.sources ? 0 : sorted[Math.floor(0.02 * sorted.length)], high = sorted[Math.floor(0.995 * (sorted.length - 1))] ?? 0;
    return [low < 0.3 * high ? 0 : low, high];
  }

  /** How strong a share is within its round, 0 to 1. */
  strength(r, share) {
    const [low, high] = this.ranges[r];
    return high > low ? Math.max(0, Math.min(1, (share - low) / (high - low))) : 0.5;
  }

  get routes() {
    return Boolean(this.facts.routing);
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

  /** The `count` strongest sources of each listener: [[to, from, share], ...]. */
  edges(t, r, count) {
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

  bits(t) {
    return t < this.symbols ? this.facts.bits[t] : null;
  }

  /** The likeliest next symbols after t: [{label, share, came}], likeliest first. */
  expected(t) {
    const { each, ids, shares } = this.facts.top;
    const next = t + 1 < this.symbols ? this.facts.ids[t + 1] : null;
    return Array.from({ length: each }, (_, k) => ({
      label: this.facts.labels[ids[t * each + k]], share: shares[t * each + k], came: ids[t * each + k] === next,
    }));
  }
}

const format = {
  whole: (x) => Math.round(x).toLocaleString("en"),
  share: (x) => (x >= 0.0995 ? `${Math.round(100 * x)}\u202f%` : `${(100 * x).toFixed(1)}\u202f%`),
  /** Three digits, without the noise of more. */
  number: (x) => (x === null || x === undefined ? "–" : x !== 0 && Math.abs(x) < 5e-5 ? "≈ 0" : Math.abs(x) >= 1000 ? format.whole(x) : String(Number(x.toPrecision(3))).replace("-", "−")),
  bits: (x) => (x === null || x === undefined ? "–" : x !== 0 && Math.abs(x) < 5e-4 ? "≈ 0" : x.toFixed(Math.abs(x) < 0.0995 ? 3 : 2)),
  signed: (x) => (x === null || x === undefined ? "–" : `${Math.abs(x) < 5e-4 ? "" : x > 0 ? "+" : "−"}${format.bits(Math.abs(x))}`),
};

/** A missing number, or a missing part of the survey, is null or absent. */
const known = (x) => x !== null && x !== undefined && !(Array.isArray(x) && x.length === 0);

const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;

/** The indices of the largest values, largest first. */
const ranked = (values) => values.map((v, i) => [v, i]).sort((a, b) => b[0] - a[0]).map(([, i]) => i);
