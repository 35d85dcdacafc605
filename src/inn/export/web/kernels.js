// The operations that a model's step is written with, as in inn/export/c/kernels.c: arrays come with the place where they begin.

const sigmoid = (x) => 1 / (1 + Math.exp(-x));
const silu = (x) => x / (1 + Math.exp(-x));
const softplus = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
const remainder = (a, b) => a - b * Math.floor(a / b);
const roundEven = (x) => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));
const at = (place, size) => (place < 0 ? place + size : place);

/** The error function, to 1e-7 (Abramowitz and Stegun 7.1.26 is coarser; this is a series and a continued fraction). */
function erf(x) {
  const a = Math.abs(x);
  if (a < 2.5) {
    let term = a, sum = a;
    for (let n = 1; n < 40; n++) sum += (term *= (-a * a) / n) / (2 * n + 1);
    return Math.sign(x) * sum * 1.1283791670955126;
  }
  let fraction = a;
  for (let n = 30; n > 0; n--) fraction = a + n / 2 / fraction;
  return Math.sign(x) * (1 - Math.exp(-a * a) / (fraction * 1.772453850905516));
}

/** y[n] = W[n] x[n] + bias[n]; a matrix has a row for each output. */
function linear(y, yo, x, xo, xStep, w, wStep, bias, bo, biasStep, neurons, out, inputs) {
  for (let n = 0; n < neurons; n++, yo += out, xo += xStep) {
    let row = n * wStep;
    for (let o = 0; o < out; o++) {
      let a = bias ? bias[bo + n * biasStep + o] : 0, b = 0, c = 0, d = 0, i = 0;
      for (; i + 4 <= inputs; i += 4, row += 4) {
        a += w[row] * x[xo + i];
        b += w[row + 1] * x[xo + i + 1];
        c += w[row + 2] * x[xo + i + 2];
        d += w[row + 3] * x[xo + i + 3];
      }
      for (; i < inputs; i++) a += w[row++] * x[xo + i];
      y[yo + o] = a + b + (c + d);
    }
  }
}

/** Each row to mean 0 and deviation 1, then a gain and a bias. */
function norm(y, yo, x, xo, xStep, gain, go, gainStep, bias, bo, biasStep, rows, width, epsilon) {
  for (let n = 0; n < rows; n++, yo += width, xo += xStep, go += gainStep, bo += biasStep) {
    let mean = 0, square = 0;
    for (let i = 0; i < width; i++) mean += x[xo + i];
    mean /= width;
    for (let i = 0; i < width; i++) square += (x[xo + i] - mean) ** 2;
    const scale = 1 / Math.sqrt(square / width + epsilon);
    for (let i = 0; i < width; i++) y[yo + i] = (x[xo + i] - mean) * scale * gain[go + i] + bias[bo + i];
  }
}

/** Each channel's `taps` last inputs, weighed (oldest first), then SiLU; `past` [neurons, taps - 1, width]. */
function conv(y, yo, x, xo, xStep, w, wo, wStep, bias, bo, biasStep, past, po, neurons, width, taps) {
  for (let n = 0; n < neurons; n++, yo += width, xo += xStep, wo += wStep, bo += biasStep, po += (taps - 1) * width) for (let e = 0; e < width; e++) {
    let sum = bias[bo + e] + x[xo + e] * w[wo + (taps - 1) * width + e];
    for (let k = 0; k < taps - 1; k++) {
      const place = po + k * width + e;
      sum += past[place] * w[wo + k * width + e];
      past[place] = k + 2 < taps ? past[place + width] : x[xo + e];
    }
    y[yo + e] = silu(sum);
  }
}

/** h = exp(step A) h + step x B, y = (h C + D x) silu(z), step = softplus(dt); h and A are [neurons, states, wide]. */
function scan(y, yo, x, xo, xStep, dt, to, dtStep, B, Bo, BStep, C, Co, CStep, z, zo, zStep, A, Ao, AStep, D, Do, DStep, h, ho, neurons, width, wide, states) {
  for (let n = 0; n < neurons; n++) {
    for (let e = 0; e < width; e++) {
      const step = softplus(dt[to + e]), given = step * x[xo + e];
      let sum = D[Do + e] * x[xo + e];
      for (let s = 0; s < states; s++) {
        const place = s * wide + e;
        sum += (h[ho + place] = Math.exp(step * A[Ao + place]) * h[ho + place] + given * B[Bo + s]) * C[Co + s];
      }
      y[yo + e] = sum * silu(z[zo + e]);
    }
    yo += width; xo += xStep; to += dtStep; Bo += BStep; Co += CStep; zo += zStep; Ao += AStep; Do += DStep; ho += states * wide;
  }
}

/** Shares of `count` numbers, `xStep` and `yStep` apart; or their logarithms. */
function softmax(y, yo, yStep, x, xo, xStep, count, log = false) {
  let most = -Infinity, total = 0;
  for (let i = 0; i < count; i++) most = Math.max(most, x[xo + i * xStep]);
  for (let i = 0; i < count; i++) total += Math.exp(x[xo + i * xStep] - most);
  for (let i = 0; i < count; i++) y[yo + i * yStep] = log ? x[xo + i * xStep] - most - Math.log(total) : Math.exp(x[xo + i * xStep] - most) / total;
}

/** `count` numbers sorted, and where they were; of equal ones the first comes first. */
function sort(y, yo, yStep, places, po, pStep, x, xo, xStep, size, count, descending) {
  const order = Array.from({ length: size }, (_, i) => i).sort((a, b) => (descending ? x[xo + b * xStep] - x[xo + a * xStep] : x[xo + a * xStep] - x[xo + b * xStep]) || a - b);
  for (let i = 0; i < count; i++) {
    y[yo + i * yStep] = x[xo + order[i] * xStep];
    places[po + i * pStep] = order[i];
  }
}

function contextHash(symbols, from, length) {
  let h = 0;
  for (let i = 0; i < length; i++) h = (Math.imul(h, 0x9e3779b1) + symbols[from + i] + 1) >>> 0;
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d) >>> 0;
  h = Math.imul(h ^ (h >>> 12), 0x297a2d39) >>> 0;
  return (h ^ (h >>> 15)) >>> 0;
}

/** The symbol that last followed each context of the last `orders[i]` symbols. */
function recall(found, fo, symbol, table, to, recent, ro, orders, slots, length) {
  orders.forEach((order, i) => {
    const h = contextHash(recent, ro + length - order, order), place = to + i * slots + (h % slots), entry = table[place];
    const known = ((h >>> 25) << 21) | symbol, run = entry & 7, right = entry >= 0 && entry >> 3 === known;
    table[place] = (known << 3) | (right ? Math.min(run + 1, 7) : 0);
  });
  recent.copyWithin(ro, ro + 1, ro + length);
  recent[ro + length - 1] = symbol;
  orders.forEach((order, i) => {
    const h = contextHash(recent, ro + length - order, order), entry = table[to + i * slots + (h % slots)];
    found[fo + i] = entry >= 0 && entry >>> 24 === h >>> 25 ? entry & 0xffffff : -1;
  });
}

const U64 = (n) => BigInt.asUintN(64, n);

function fold(h, number) {
  h = U64((h ^ U64(BigInt(number) + 0x9e3779b97f4a7c16n + (h << 6n) + (h >> 2n))) * 0xd6e8feb86659fd93n);
  return h ^ (h >> 32n);
}

/** The 64-bit hash of what was read last, `back(0)` the newest, seen in one way: last symbols, words, or columns. */
function keyOf([kind, first, second], back, count, letters) {
  let h = fold(fold(fold(0n, kind), first), second);
  if (kind === 0) {
    for (let i = first; i < first + second; i++) h = fold(h, back(i));
  } else if (kind === 1) {
    let inside = true, words = first;
    for (let i = 0; i < count; i++) {
      const symbol = back(i);
      if (!(letters && symbol >= 0 && letters[symbol])) {
        inside = false;
        continue;
      }
      if (!inside) {
        if (words-- === 0) break;
        inside = true;
        h = fold(h, -1);
      }
      h = fold(h, symbol);
    }
  } else {
    let last = -1, older = -1;
    for (let i = 0; i < count && first >= 0 && older < 0; i++) if (back(i) === first) last < 0 ? (last = i) : (older = i);
    const above = older - 1 - last;
    h = fold(fold(h, last), older >= 0 && above >= last ? back(above) : -1);
  }
  return h;
}

function keys(before, bo, after, ao, now, no, symbol, recent, ro, letters, specs, length) {
  for (let i = 0; i < length; i++) now[no + i] = i + 1 < length ? recent[ro + i + 1] : symbol;
  const behind = (symbols, from) => (i) => (i >= 0 && i < length ? symbols[from + length - 1 - i] : -1);
  specs.forEach((spec, i) => {
    before[bo + i] = keyOf(spec, behind(recent, ro), length, letters);
    after[ao + i] = keyOf(spec, behind(now, no), length, letters);
  });
}

/** What followed each context, and how often; the layout of a slot is that of inn/export/c/kernels.c. */
function counts(found, fo, last, lo, symbol, before, bo, after, ao, table, to, contexts, slots, words, narrow) {
  const room = (words - 1) * (narrow ? 2 : 1);
  const get = (slot, i) => (narrow ? (table[slot + 1 + (i >> 1)] >>> ((i & 1) * 16)) & 0xffff : table[slot + 1 + i] >>> 0);
  const set = (slot, i, value) => {
    if (!narrow) table[slot + 1 + i] = value;
    else table[slot + 1 + (i >> 1)] = (table[slot + 1 + (i >> 1)] & (i & 1 ? 0x0000ffff : 0xffff0000)) | (value << ((i & 1) * 16));
  };
  const slotOf = (k, key, make) => {
    const check = Number(key >> 56n), first = Number(key & 0xffffffffffn) % slots, other = first % 2 ? first - 1 : first + 1;
    const places = [first, other < slots ? other : first].map((place) => to + (k * slots + place) * words);
    for (const slot of places) if (table[slot] >>> 24 === check && get(slot, 0) & 255) return slot;
    if (!make) return -1;
    const sums = places.map((slot) => { let sum = 0; for (let i = 0; i < room; i++) sum += get(slot, i) & 255; return sum; });
    const slot = places[sums[1] < sums[0] ? 1 : 0];
    table.fill(0, slot, slot + words);
    return slot;
  };
  const count = (slot) => {
    let least = 256, weakest = 0;
    for (let i = 0; i < room; i++) {
      const one = get(slot, i), times = one & 255;
      if (!times) return set(slot, i, (symbol << 8) | 1);
      if (one >>> 8 === symbol) {
        for (let j = 0; times === 255 && j < room; j++) { const other = get(slot, j); set(slot, j, (other & ~255) | (((other & 255) + 1) >> 1)); }
        return set(slot, i, get(slot, i) + 1);
      }
      if (times <= least) [least, weakest] = [times, i];
    }
    set(slot, weakest, least <= 1 ? (symbol << 8) | 1 : get(slot, weakest) - Math.max(1, least >> 2));
  };
  for (let k = 0; k < contexts; k++) {
    let slot = slotOf(k, before[bo + k], true);
    const again = get(slot, 0) & 255 && ((table[slot] >>> 3) & 0x1fffff) === symbol, run = table[slot] & 7;
    table[slot] = (Number(before[bo + k] >> 56n) << 24) | (symbol << 3) | (again ? Math.min(run + 1, 7) : 0);
    count(slot);
    slot = slotOf(k, after[ao + k], false);
    for (let i = 0; i < room; i++) {
      const one = slot < 0 ? 0 : get(slot, i);
      found[fo + k * room + i] = one & 255 ? one : -1;
    }
    last[lo + k] = slot < 0 ? -1 : table[slot] & 0xffffff;
  }
}

const STARTS = [0, 1, 2, 3, 4, 5, 6, 7, 9, 12, 16, 24, 36, 60, 100, 180], SURE = [1, 2, 2, 3, 3, 3, 3, 3];

function levelOf16(count) {
  let level = 0;
  while (level < 15 && count >= STARTS[level + 1]) level++;
  return level;
}

/** For each follower of a context: its symbol, and the number of its bucket in `table`. */
function followers(found, fo, last, table, to, room, act) {
  let total = 0;
  for (let i = 0; i < room; i++) total += found[fo + i] < 0 ? 0 : found[fo + i] & 255;
  for (let i = 0; i < room; i++) {
    const one = found[fo + i], count = one & 255;
    if (one < 0) continue;
    const sure = one >> 8 === last >> 3 ? SURE[last & 7] : 0;
    act(one >> 8, table[to + (levelOf16(count) * 16 + levelOf16(total - count)) * 4 + sure]);
  }
}

function expected(y, yo, found, fo, last, lo, table, to, symbols, so, contexts, room, width) {
  y.fill(0, yo, yo + contexts * width);
  for (let k = 0; k < contexts; k++) followers(found, fo + k * room, last[lo + k], table, to + k * 1024, room, (symbol, number) => {
    for (let e = 0; e < width; e++) y[yo + k * width + e] += number * symbols[so + symbol * width + e];
  });
}

function votes(y, yo, found, fo, last, lo, table, to, weights, wo, contexts, room, vocab) {
  y.fill(0, yo, yo + vocab);
  for (let k = 0; k < contexts; k++) followers(found, fo + k * room, last[lo + k], table, to + k * 1024, room, (symbol, number) => { y[yo + symbol] += weights[wo + k] * number; });
}
