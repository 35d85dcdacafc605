// The board: neurons and those whose steps are read; a neuron lights up when it takes a step.

const BOARD = 64; // neurons, and actors, up to which there is a board
const CELL = 34, BETWEEN = 46; // heights: of a cell, and of the room between neurons and actors

/** Which neurons take which steps, [T * N] of 0 and 1: those whose gate opens where gates close, else the one that is most above its own average. */
function takers(passage) {
  const { symbols: T, rounds: R, neurons: N } = passage, lit = new Uint8Array(T * N), gated = passage.gates?.some((v) => v < 128) ?? false;
  const usual = Array.from({ length: N }, (_, n) => Math.max(meanActivity(passage, n), 1e-9));
  for (let t = 0; t < T; t++) {
    if (gated) for (let n = 0; n < N; n++) for (let r = 0; r < R; r++) lit[t * N + n] |= passage.gate(t, r, n) >= 0.5 ? 1 : 0;
    else lit[t * N + ranked(usual.map((own, n) => { let sum = 0; for (let r = 0; r < R; r++) sum += passage.activity(t, r, n); return sum / own; }))[0]] = 1;
  }
  return { lit, gated };
}

/** How often neurons take the steps of actors: `share` [N][A] of an actor's steps, and the same with the neurons shuffled in every sequence. */
function boardOf(passage) {
  const { symbols: T, neurons: N } = passage, { names, of } = passage.facts.cast, A = names.length, { lit, gated } = takers(passage), blocks = [];
  const steps = new Float64Array(A);
  for (let t = 0; t < T; t++) {
    if (t === 0 || passage.facts.steps[t] === 1) blocks.push(new Float64Array(N * A));
    if (of[t] === null) continue;
    steps[of[t]] += 1;
    for (let n = 0; n < N; n++) blocks.at(-1)[n * A + of[t]] += lit[t * N + n];
  }
  const random = randomFrom(1), plain = Array.from({ length: N }, (_, n) => n);
  const summed = (order) => {
    const sum = new Float64Array(N * A);
    for (const block of blocks) order().forEach((from, n) => { for (let a = 0; a < A; a++) sum[n * A + a] += block[from * A + a]; });
    return sum;
  };
  const named = (sum) => { // how often the actor is named rightly by the neuron that takes its step
    let right = 0;
    for (let n = 0; n < N; n++) right += Math.max(...sum.subarray(n * A, n * A + A));
    return right / Math.max(1, sum.reduce((a, b) => a + b, 0));
  };
  const shared = (sum) => plain.map((n) => Array.from({ length: A }, (_, a) => (steps[a] ? sum[n * A + a] / steps[a] : 0)));
  const now = summed(() => plain), draws = Array.from({ length: SHUFFLES }, () => summed(() => shuffle([...plain], random)));
  const share = shared(now), order = [], left = new Set(plain);
  for (let a = 0; a < A && left.size; a++) { // each actor's neuron stands where it does
    const best = [...left].reduce((x, y) => (share[y][a] > share[x][a] ? y : x));
    order.push(best);
    left.delete(best);
  }
  return { names, of, lit, gated, share, shuffled: shared(draws[0]), order: [...order, ...left], test: nullOf(named(now), draws.map(named)) };
}

/** Whether neurons have steps of their own, in a sentence. */
const boardInWords = ({ observed, mean: middle, high, p }) => `From the neuron that takes a step alone one names whose it is in ${format.share(observed)} of the steps. Control: with the neurons shuffled in every sequence (right) in ${format.share(middle)}, at most ${format.share(high)} in 95 % of the shuffles; p = ${chance(p)}.`;

/** A row of cells; `lit(i)` are bright. */
function drawCells(ctx, y, width, names, lit) {
  const { ink, muted, line, warm, panel } = palette(), each = width / names.length, side = Math.min(64, each - 6);
  names.forEach((name, i) => {
    const x = i * each + (each - side) / 2, on = lit(i);
    ctx.fillStyle = on ? warm : line;
    ctx.fillRect(x, y, side, CELL);
    const shown = 7 * name.length < side ? name : name.slice(-Math.max(1, Math.floor(side / 7)));
    write(ctx, shown, x + side / 2, y + CELL / 2, { anchor: "center", size: 12, colour: on ? panel : ink, bold: on });
  });
  return (i) => i * each + each / 2;
}

/** Neurons by actors, as shares from 0 to 1, with the numbers where there is room. */
function drawShares(ctx, x, y, width, tall, { order, names }, share, title) {
  const { muted, ink, panel } = palette(), [wide, high] = [width / names.length, tall / order.length];
  write(ctx, title, x, y - 26, { size: 12, colour: ink });
  names.forEach((name, a) => { if (wide >= 7 * name.length || a % Math.ceil((7 * name.length) / wide) === 0) write(ctx, name, x + (a + 0.5) * wide, y - 9, { anchor: "center", size: 10 }); });
  drawHeat(ctx, x, y, width, tall, order.length, names.length, (i, a) => share[order[i]][a]);
  order.forEach((n, i) => {
    if (high >= 11 || i % Math.ceil(11 / high) === 0) write(ctx, String(n), x - 6, y + (i + 0.5) * high, { anchor: "right", size: 10 });
    if (wide >= 26 && high >= 14) names.forEach((_, a) => { const value = share[n][a]; if (value >= 0.005) write(ctx, String(Math.round(100 * value)), x + (a + 0.5) * wide, y + (i + 0.5) * high, { anchor: "center", size: 10, colour: (value > 0.45) === dark() ? "#0b1a26" : value > 0.45 ? panel : ink }); });
  });
}

/** The board of one run, following the place in the text; null where its symbols are nobody's steps. */
function boardFigure(look) {
  const { passage } = look, N = passage.neurons;
  if (!passage.facts.cast || N > BOARD || passage.facts.cast.names.length > BOARD) return null;
  const board = boardOf(passage), { names, of, lit, gated, order, share, shuffled, test } = board, A = names.length, top = 22, under = top + CELL + BETWEEN;
  const tall = Math.max(60, Math.min(260, 22 * N));
  const node = figure({
    title: "Who takes whose step",
    note: `Above: neurons; ${gated ? "one whose gate is open" : "the one that is most above its own average activity"} lights up. Below: whose step it is. The lines and the table, row by neuron, say how often a neuron takes whose steps.`,
    height: under + CELL + 62 + tall + 8,
    draw: (ctx, width) => {
      const { line, muted, warm, fill } = palette(), t = app.place(look), takes = (i) => lit[t * N + order[i]] === 1;
      const [from, to] = [(i) => (i + 0.5) * (width / N), (a) => (a + 0.5) * (width / A)];
      order.forEach((n, i) => names.forEach((_, a) => {
        const now = takes(i) && of[t] === a;
        if (share[n][a] < 0.02 && !now) return;
        ctx.globalAlpha = now ? 1 : 0.15 + 0.5 * share[n][a];
        stroke(ctx, now ? warm : fill, now ? 4 : 0.5 + 3 * share[n][a], [[from(i), top + CELL], [to(a), under]]);
      }));
      ctx.globalAlpha = 1;
      write(ctx, "neurons", 0, 9);
      drawCells(ctx, top, width, order.map(String), takes);
      drawCells(ctx, under, width, names, (a) => of[t] === a);
      const y = under + CELL + 54, left = 18, room = (width - 2 * left - 14) / 2, wide = Math.min(room, 44 * A);
      drawShares(ctx, left, y, wide, tall, board, share, "of its steps, in %");
      drawShares(ctx, left + room + 14 + left, y, wide, tall, board, shuffled, "neurons shuffled");
    },
    rows: () => [["neuron", "whose steps", "share", "neurons shuffled"], ...order.flatMap((n) => names.map((name, a) => [n, name, share[n][a], shuffled[n][a]]))],
    label: () => { const t = app.place(look), on = order.filter((n) => lit[t * N + n]); return `${of[t] === null ? "Nobody’s step" : `A step of ${names[of[t]]}`}, taken by ${on.length ? `neuron ${on.join(", ")}` : "no neuron"}.`; },
  });
  node.append(el("div.control", {}, el("p.note", {}, boardInWords(test))));
  onMove(node.redraw, node);
  return node;
}
