// Controls: what a picture of edges would show if a listener's sources were shuffled in every stretch of the text.

const STRETCHES = 16, LOOKED = 12, SHUFFLES = 99; // of a passage; symbols of each that are looked at, at most; draws
const REST = 250; // milliseconds that a place in the text is rested at before its control is worked out
const tested = new WeakMap(); // passage -> what was worked out of it, by symbol

/** Numbers from 0 to 1 at random, the same from the same seed (mulberry32). */
function randomFrom(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let x = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Put a list into an order at random, in place. */
function shuffle(list, random) {
  for (let i = list.length - 1; i > 0; i--) {
    const k = Math.floor(random() * (i + 1));
    [list[i], list[k]] = [list[k], list[i]];
  }
  return list;
}

/** A statistic, and what it is when shuffled (inn.analysis.Null). */
function nullOf(observed, drawn) {
  const sorted = Float64Array.from(drawn).sort(), at = 0.95 * (sorted.length - 1), low = Math.floor(at);
  const high = sorted[low] + (at - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
  return { observed, mean: mean(drawn), high, p: (1 + drawn.filter((v) => v >= observed - 1e-12).length) / (1 + drawn.length) };
}

/** Places, stretch by stretch of the passage: of each stretch some, evenly spread. */
function stretchesOf(passage, places) {
  const found = Array.from({ length: STRETCHES }, () => []);
  for (const t of places) found[Math.floor((t * STRETCHES) / passage.symbols)].push(t);
  return found.filter((part) => part.length).map((part) => part.filter((_, i) => i % Math.ceil(part.length / LOOKED) === 0));
}

/**
 * How far the sources of a listener differ in their mean share over some places, against sources shuffled in every
 * stretch (inn.analysis.shuffled_sources), and the mean over rounds, `now` and of one shuffle, [N * N]; null where it is one stretch.
 */
function edgeControl(passage, places) {
  const { neurons: N, rounds: R, silenced } = passage, parts = stretchesOf(passage, places), total = parts.flat().length;
  if (parts.length < 2) return null;
  const maps = parts.map((part) => {
    const sum = new Float32Array(R * N * N);
    for (const t of part) for (let r = 0; r < R; r++) passage.matrix(t, r).forEach((share, i) => { sum[r * N * N + i] += share / total; });
    return sum;
  });
  const heard = (i) => maps.some((map) => { for (let r = 0; r < R; r++) if (map[r * N * N + i] > 0) return true; return false; });
  const rows = Array.from({ length: N }, (_, to) => (silenced.has(to) ? [] : Array.from({ length: N }, (_, from) => from).filter((from) => from !== to && !silenced.has(from) && heard(to * N + from))));
  const edges = R * rows.flat().length;
  if (!edges) return null;
  const random = randomFrom(1), flat = (row) => row.map((_, i) => i);
  const add = (order) => { // the maps summed, each with its own order of every row
    const sum = new Float64Array(R * N * N);
    for (const map of maps) rows.forEach((row, to) => {
      const chosen = order(row);
      for (let r = 0; r < R; r++) for (let k = 0, at = (r * N + to) * N; k < row.length; k++) sum[at + row[k]] += map[at + row[chosen[k]]];
    });
    return sum;
  };
  const spread = (sum) => {
    let square = 0, all = 0;
    for (let r = 0; r < R; r++) rows.forEach((row, to) => {
      const shares = row.map((from) => sum[(r * N + to) * N + from]), middle = shares.reduce((a, b) => a + b, 0) / row.length;
      for (const share of shares) [square, all] = [square + (share - middle) ** 2, all + share];
    });
    return Math.sqrt(square / edges) / Math.max(all / edges, 1e-30);
  };
  const over = (sum) => Float32Array.from({ length: N * N }, (_, i) => { let all = 0; for (let r = 0; r < R; r++) all += sum[r * N * N + i] / R; return all; });
  const now = add(flat), draws = Array.from({ length: N > 64 ? 19 : SHUFFLES }, () => add((row) => shuffle(flat(row), random)));
  return { ...nullOf(spread(now), draws.map(spread)), now: over(now), map: over(draws[0]), parts: parts.length };
}

/** The control of the symbol at a place: of all places with that symbol, of the whole passage where it is not read in two stretches. */
function symbolTest(passage, t) {
  if (!tested.has(passage)) tested.set(passage, new Map());
  const known = tested.get(passage), { ids, unit } = passage.facts, all = Array.from({ length: passage.symbols }, (_, i) => i), symbol = t === null ? null : ids[t];
  if (!known.has(symbol)) {
    const places = symbol === null ? all : all.filter((i) => ids[i] === symbol), found = symbol === null ? null : edgeControl(passage, places);
    known.set(symbol, found ? { ...found, over: `over the ${counted(places.length, unit)} “${visible(passage.label(t))}” of the passage` }
      : symbol === null ? { ...edgeControl(passage, all), over: "over the passage" } : symbolTest(passage, null));
  }
  return known.get(symbol);
}

/** What a test of edges says, in a sentence. */
const controlInWords = ({ observed, mean: middle, high, p, over }) => `Control: ${over}, the mean shares of a listener’s sources differ by ${format.exact(observed)} (left); with its sources shuffled in every stretch of the text they differ by ${format.exact(middle)} (right), at most ${format.exact(high)} in 95 % of the shuffles, p = ${chance(p)}.`;

/** A share of shuffles, and what it means where it is large. */
const chance = (p) => `${Number(p.toFixed(3))}${p > 0.05 ? ": no more than chance" : ""}`;

/** A small picture of the edges as they are and shuffled, and the test in words; `show(test, N)` fills it. */
function controlStrip() {
  const [side, gap] = [60, 10], scale = devicePixelRatio || 1;
  const label = "Mean shares as they are, and with the sources of every listener shuffled";
  const canvas = el("canvas", { role: "img", "aria-label": label, width: (2 * side + gap) * scale, height: side * scale, style: null }), words = el("p.note");
  const node = el("div.control", { hidden: true }, canvas, words);
  Object.assign(canvas.style, { width: `${2 * side + gap}px`, height: `${side}px` });
  let shown = null;
  node.redraw = () => {
    if (!shown?.test.now || !shown.test.map) return;
    const { test, N } = shown, ctx = canvas.getContext("2d");
    let [low, high] = [Infinity, 0];
    for (const map of [test.now, test.map]) for (const share of map) if (share > 0) [low, high] = [Math.min(low, share), Math.max(high, share)];
    ctx.setTransform(scale, 0, 0, scale, 0, 0);
    [test.now, test.map].forEach((map, k) => drawHeat(ctx, k * (side + gap), 0, side, side, N, N, (i, j) => { const share = map[i * N + j]; return share > 0 ? strengthOf({ low, high }, share, true) : null; }));
  };
  node.show = (test, N) => {
    shown = { test, N };
    node.hidden = !known(test?.observed);
    if (node.hidden) return;
    canvas.hidden = !test.map;
    words.textContent = controlInWords(test);
    node.classList.remove("late");
    node.redraw();
  };
  figures.add(node);
  return node;
}

/** The control of a picture that follows the place in the text; worked out where one rests. */
function symbolControl(look, passage) {
  const strip = controlStrip();
  let waiting = 0;
  onMove(() => {
    clearTimeout(waiting);
    strip.classList.add("late");
    if (!app.playing) waiting = setTimeout(() => { if (strip.isConnected) strip.show(symbolTest(passage, app.place(look)), passage.neurons); }, REST);
  }, strip);
  return strip;
}

/** The control of a picture of means: of the survey over its text, else of the passage; null of neither. */
function meanControl(look) {
  const strip = controlStrip(), { survey, passage } = look, edges = survey?.roles?.edges;
  if (!edges && !(passage?.routes && !survey)) return null;
  if (edges) {
    const N = survey.neurons, maps = survey.connectivity, now = maps && Float32Array.from({ length: N * N }, (_, i) => (i % (N + 1) ? mean(maps.map((map) => map[Math.floor(i / N)][i % N])) : 0));
    strip.show({ ...edges, now, map: edges.map?.flat(), over: "over the text" }, N);
  } else setTimeout(() => { const level = passage.neurons <= LARGE ? passage : levelOf({ ...look, group: null }); if (strip.isConnected) strip.show(symbolTest(level, null), level.neurons); }, REST);
  return strip;
}
