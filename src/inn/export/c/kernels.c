/* The operations that a model's step is written with. Sections are written out where they are used. */
#include <math.h>
#include <stdint.h>
#include <string.h>

/*== exp ==*/
/* exp(x) without a branch, so that loops over it become vector instructions; relative error below 2e-7. */
static inline float fast_exp(float x) {
  const float low = -87.33654f, high = 88.72283f;
  float t = x < low ? low : x;
  t = t > high ? high : t;
  const float shifted = t * 1.44269504f + 12582912.0f; /* its last bits are the nearest whole number */
  const float n = shifted - 12582912.0f;
  const float r = (t - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.98412698e-4f;
  p = p * r + 1.38888889e-3f;
  p = p * r + 8.33333333e-3f;
  p = p * r + 4.16666667e-2f;
  p = p * r + 1.66666667e-1f;
  p = p * r + 0.5f;
  p = p * r * r + r + 1.0f;
  uint32_t bits;
  memcpy(&bits, &shifted, 4);
  bits = (bits << 23) + (127u << 23); /* 2^n, or its half at the upper end */
  const uint32_t half = n > 127.5f ? 1u << 23 : 0u;
  bits -= half;
  float scale;
  memcpy(&scale, &bits, 4);
  p = p * scale;
  p = half ? p * 2.0f : p;
  p = x < low ? 0.0f : p;
  return x > high ? INFINITY : p;
}

/*== sigmoid: exp ==*/
static inline float fast_sigmoid(float x) { return 1.0f / (1.0f + fast_exp(-x)); }

/*== silu: sigmoid ==*/
static inline float fast_silu(float x) { return x * fast_sigmoid(x); }

/*== tanh: exp ==*/
static inline float fast_tanh(float x) {
  const float a = x < 0.0f ? -x : x, square = x * x;
  const float large = 1.0f - 2.0f / (fast_exp(2.0f * a) + 1.0f);
  const float small = a * (1.0f + square * (-0.333333333f + square * (0.133333333f - square * 0.0539682540f)));
  const float y = a < 0.1f ? small : large;
  return x < 0.0f ? -y : y;
}

/*== softplus: exp ==*/
/* log(1 + exp(x)) = max(x, 0) + 2 artanh(u / (2 + u)), u = exp(-|x|). */
static inline float fast_softplus(float x) {
  const float u = fast_exp(x < 0.0f ? x : -x), s = u / (2.0f + u), q = s * s;
  float p = 0.0769230769f;
  p = p * q + 0.0909090909f;
  p = p * q + 0.111111111f;
  p = p * q + 0.142857143f;
  p = p * q + 0.2f;
  p = p * q + 0.333333333f;
  p = p * q + 1.0f;
  return (x < 0.0f ? 0.0f : x) + 2.0f * s * p;
}

/*== at ==*/
/* A place on an axis, counted from its end where it is negative. */
static inline int64_t at(int64_t place, int64_t size) { return place < 0 ? place + size : place; }

/*== linear ==*/
/* y[n] = W[n] x[n] + bias[n]. A matrix is stored by inputs, `in` rows of `out` numbers, so that the inner loop runs
   through it and adds to as many sums as there are outputs. */
static void linear(float *restrict y, const float *restrict x, int x_step, const float *restrict w, int w_step,
                   const float *restrict bias, int bias_step, int neurons, int out, int in) {
  for (int n = 0; n < neurons; n++, y += out, x += x_step) {
    const float *row = w + n * w_step;
    for (int o = 0; o < out; o++) y[o] = bias ? bias[n * bias_step + o] : 0.0f;
    int i = 0;
    for (; i + 8 <= in; i += 8, row += 8 * out) {
      const float a = x[i], b = x[i + 1], c = x[i + 2], d = x[i + 3];
      const float e = x[i + 4], f = x[i + 5], g = x[i + 6], h = x[i + 7];
      for (int o = 0; o < out; o++)
        y[o] += (a * row[o] + b * row[o + out]) + (c * row[o + 2 * out] + d * row[o + 3 * out]) +
                ((e * row[o + 4 * out] + f * row[o + 5 * out]) + (g * row[o + 6 * out] + h * row[o + 7 * out]));
    }
    for (; i < in; i++, row += out) {
      const float a = x[i];
      for (int o = 0; o < out; o++) y[o] += a * row[o];
    }
  }
}

/*== linear_int8 ==*/
/* `linear` with weights of 8 bits and a scale for each output. */
static void linear_int8(float *restrict y, const float *restrict x, int x_step, const int8_t *restrict w, int w_step,
                        const float *restrict scale, int scale_step, const float *restrict bias, int bias_step,
                        int neurons, int out, int in) {
  for (int n = 0; n < neurons; n++, y += out, x += x_step) {
    const int8_t *row = w + n * w_step;
    const float *own = scale + n * scale_step;
    for (int o = 0; o < out; o++) y[o] = 0.0f;
    int i = 0;
    for (; i + 4 <= in; i += 4, row += 4 * out) {
      const float a = x[i], b = x[i + 1], c = x[i + 2], d = x[i + 3];
      for (int o = 0; o < out; o++)
        y[o] += (a * (float)row[o] + b * (float)row[o + out]) +
                (c * (float)row[o + 2 * out] + d * (float)row[o + 3 * out]);
    }
    for (; i < in; i++, row += out) {
      const float a = x[i];
      for (int o = 0; o < out; o++) y[o] += a * (float)row[o];
    }
    for (int o = 0; o < out; o++) y[o] = y[o] * own[o] + (bias ? bias[n * bias_step + o] : 0.0f);
  }
}

/*== norm ==*/
/* Each row to mean 0 and deviation 1, then a gain and a bias. */
static void norm(float *restrict y, const float *restrict x, int x_step, const float *restrict gain, int gain_step,
                 const float *restrict bias, int bias_step, int rows, int width, float epsilon) {
  for (int n = 0; n < rows; n++, y += width, x += x_step, gain += gain_step, bias += bias_step) {
    float mean = 0.0f, square = 0.0f;
    for (int i = 0; i < width; i++) mean += x[i];
    mean /= (float)width;
    for (int i = 0; i < width; i++) square += (x[i] - mean) * (x[i] - mean);
    const float scale = 1.0f / sqrtf(square / (float)width + epsilon);
    for (int i = 0; i < width; i++) y[i] = (x[i] - mean) * scale * gain[i] + bias[i];
  }
}

/*== conv: silu ==*/
/* Each channel's `taps` last inputs, weighed (oldest first), then SiLU; `past` [neurons, taps - 1, width]. */
static void conv(float *restrict y, const float *restrict x, int x_step, const float *restrict w, int w_step,
                 const float *restrict bias, int bias_step, float *restrict past, int neurons, int width, int taps) {
  for (int n = 0; n < neurons; n++, y += width, x += x_step, w += w_step, bias += bias_step) {
    for (int e = 0; e < width; e++) y[e] = bias[e] + x[e] * w[(taps - 1) * width + e];
    for (int k = 0; k < taps - 1; k++, past += width)
      for (int e = 0; e < width; e++) {
        y[e] += past[e] * w[k * width + e];
        past[e] = k + 2 < taps ? past[e + width] : x[e];
      }
    for (int e = 0; e < width; e++) y[e] = fast_silu(y[e]);
  }
}

/*== decay ==*/
/* exp(x) of x <= 0, to the same error as fast_exp; below -87 it stays at 1e-38. */
static inline float fast_decay(float x) {
  const float t = x < -87.0f ? -87.0f : x;
  const float shifted = t * 1.44269504f + 12582912.0f, n = shifted - 12582912.0f;
  const float r = (t - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.38888889e-3f;
  p = p * r + 8.33333333e-3f;
  p = p * r + 4.16666667e-2f;
  p = p * r + 1.66666667e-1f;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  uint32_t bits;
  float scale;
  memcpy(&bits, &shifted, 4);
  bits = (bits << 23) + (127u << 23);
  memcpy(&scale, &bits, 4);
  return p * scale;
}

/*== scan: silu softplus decay ==*/
/* h = exp(step A) h + step x B, y = (h C + D x) silu(z), step = softplus(dt). Channels stand side by side in h and A,
   [neurons, states, wide]; `wide` is `width` with padding. */
enum { CHANNELS = 64 };

static void scan(float *restrict y, const float *restrict x, int x_step, const float *restrict dt, int dt_step,
                 const float *restrict B, int B_step, const float *restrict C, int C_step, const float *restrict z,
                 int z_step, const float *restrict A, int A_step, const float *restrict D, int D_step,
                 float *restrict h, int neurons, int width, int wide, int states) {
  for (int n = 0; n < neurons; n++) {
    for (int first = 0; first < wide; first += CHANNELS) {
      const int count = wide - first < CHANNELS ? wide - first : CHANNELS;
      const int real = width - first < CHANNELS ? width - first : CHANNELS;
      float step[CHANNELS] = {0}, in[CHANNELS] = {0}, sum[CHANNELS] = {0};
      for (int e = 0; e < real; e++) step[e] = dt[first + e], in[e] = x[first + e];
      for (int e = 0; e < count; e++) {
        step[e] = fast_softplus(step[e]);
        in[e] *= step[e];
      }
      for (int s = 0; s < states; s++) {
        const float *rate = A + s * wide + first;
        float *own = h + s * wide + first;
        const float b = B[s], c = C[s];
        for (int e = 0; e < count; e++) {
          const float now = fast_decay(step[e] * rate[e]) * own[e] + in[e] * b;
          own[e] = now;
          sum[e] += now * c;
        }
      }
      for (int e = 0; e < real; e++)
        y[first + e] = (sum[e] + D[first + e] * x[first + e]) * fast_silu(z[first + e]);
    }
    y += width, x += x_step, dt += dt_step, B += B_step, C += C_step, z += z_step, A += A_step, D += D_step;
    h += states * wide;
  }
}

/*== softmax ==*/
/* Shares of `count` numbers, `x_step` and `y_step` apart. */
static void softmax(float *y, int y_step, const float *x, int x_step, int count) {
  float most = -INFINITY, total = 0.0f;
  for (int i = 0; i < count; i++) most = x[i * x_step] > most ? x[i * x_step] : most;
  for (int i = 0; i < count; i++) total += y[i * y_step] = expf(x[i * x_step] - most);
  for (int i = 0; i < count; i++) y[i * y_step] /= total;
}

/*== log_softmax ==*/
/* Logarithms of `softmax`. */
static void log_softmax(float *y, int y_step, const float *x, int x_step, int count) {
  float most = -INFINITY, total = 0.0f;
  for (int i = 0; i < count; i++) most = x[i * x_step] > most ? x[i * x_step] : most;
  for (int i = 0; i < count; i++) total += expf(x[i * x_step] - most);
  const float all = logf(total) + most;
  for (int i = 0; i < count; i++) y[i * y_step] = x[i * x_step] - all;
}

/*== sort_floats ==*/
/* The first `wanted` of `count` numbers in order, and where they were; of equals the first comes first. */
static void sort_floats(float *y, int y_step, int64_t *place, int place_step, const float *x, int x_step, int count,
                        int wanted, int descending) {
  for (int i = 0; i < wanted; i++) {
    int best = -1;
    for (int k = 0; k < count; k++) {
      const float one = x[k * x_step];
      if (i) { /* what stands before has been taken */
        const float last = y[(i - 1) * y_step];
        const int before = descending ? one > last : one < last;
        if (before || (one == last && k <= place[(i - 1) * place_step])) continue;
      }
      if (best < 0 || (descending ? one > x[best * x_step] : one < x[best * x_step])) best = k;
    }
    best = best < 0 ? count - 1 : best;
    y[i * y_step] = x[best * x_step];
    place[i * place_step] = best;
  }
}

/*== sort_numbers ==*/
/* The first `wanted` of `count` numbers in order, and where they were; of equals the first comes first. */
static void sort_numbers(int64_t *y, int y_step, int64_t *place, int place_step, const int64_t *x, int x_step, int count,
                        int wanted, int descending) {
  for (int i = 0; i < wanted; i++) {
    int best = -1;
    for (int k = 0; k < count; k++) {
      const int64_t one = x[k * x_step];
      if (i) { /* what stands before has been taken */
        const int64_t last = y[(i - 1) * y_step];
        const int before = descending ? one > last : one < last;
        if (before || (one == last && k <= place[(i - 1) * place_step])) continue;
      }
      if (best < 0 || (descending ? one > x[best * x_step] : one < x[best * x_step])) best = k;
    }
    best = best < 0 ? count - 1 : best;
    y[i * y_step] = x[best * x_step];
    place[i * place_step] = best;
  }
}

/*== recall ==*/
/* The symbol that last followed each context of the last `orders[i]` symbols. An entry has 7 bits of check, the symbol,
   and 3 bits of how often in a row it was right; -1 is an empty one. `recent` has the last symbols, oldest first. */
static uint32_t context_hash(const int64_t *context, int length) {
  uint32_t h = 0;
  for (int i = 0; i < length; i++) h = h * 0x9E3779B1u + (uint32_t)(context[i] + 1);
  h = (h ^ h >> 15) * 0x2C1B3C6Du;
  h = (h ^ h >> 12) * 0x297A2D39u;
  return h ^ h >> 15;
}

static void recall(int64_t *found, int64_t symbol, int32_t *table, int64_t *recent, const int *orders, int contexts,
                   uint32_t slots, int length, int learn) {
  for (int i = 0; learn && i < contexts; i++) {
    const uint32_t h = context_hash(recent + length - orders[i], orders[i]);
    int32_t *entry = table + (size_t)i * slots + h % slots;
    const int32_t known = (int32_t)((h >> 25) << 21 | (uint32_t)symbol), run = *entry & 7;
    const int right = *entry >= 0 && *entry >> 3 == known;
    *entry = (int32_t)((uint32_t)known << 3) | (right ? (run < 7 ? run + 1 : 7) : 0);
  }
  memmove(recent, recent + 1, (size_t)(length - 1) * sizeof *recent);
  recent[length - 1] = symbol;
  for (int i = 0; i < contexts; i++) {
    const uint32_t h = context_hash(recent + length - orders[i], orders[i]);
    const int32_t entry = table[(size_t)i * slots + h % slots];
    found[i] = entry >= 0 && (uint32_t)entry >> 24 == h >> 25 ? entry & 0xFFFFFF : -1;
  }
}

/*== keys ==*/
/* 64-bit hashes of what was read last, seen in several ways: (0, skip, length) the last symbols, (1, words, 0) letters
   of the word so far and of whole words before it, (2, newline, 0) the place in the line and the symbol above. */
struct history {
  const int64_t *newest;
  int count;
};

static int64_t back(struct history of, int i) { return i >= 0 && i < of.count ? of.newest[-i] : -1; }

static uint64_t fold(uint64_t h, int64_t number) {
  h = (h ^ ((uint64_t)number + 1 + 0x9E3779B97F4A7C15u + (h << 6) + (h >> 2))) * 0xD6E8FEB86659FD93u;
  return h ^ h >> 32;
}

static uint64_t key_of(const int *spec, struct history of, const uint8_t *letters, int vocab) {
  uint64_t h = fold(fold(fold(0, spec[0]), spec[1]), spec[2]);
  if (spec[0] == 0) {
    for (int i = spec[1]; i < spec[1] + spec[2]; i++) h = fold(h, back(of, i));
  } else if (spec[0] == 1) {
    int inside = 1, words = spec[1];
    for (int i = 0; i < of.count; i++) {
      const int64_t symbol = back(of, i);
      if (letters && symbol >= 0 && symbol < vocab && letters[symbol]) {
        if (!inside) {
          if (words-- == 0) break;
          inside = 1;
          h = fold(h, -1);
        }
        h = fold(h, symbol);
      } else {
        inside = 0;
      }
    }
  } else {
    int last = -1, older = -1;
    for (int i = 0; i < of.count && spec[1] >= 0 && older < 0; i++)
      if (back(of, i) == spec[1]) *(last < 0 ? &last : &older) = i;
    const int above = older - 1 - last;
    h = fold(fold(h, last), older >= 0 && above >= last ? back(of, above) : -1);
  }
  return h;
}

static void keys(int64_t *before, int64_t *after, int64_t *now, int64_t symbol, const int64_t *recent,
                 const uint8_t *letters, int vocab, const int *specs, int contexts, int length) {
  for (int i = 0; i < length; i++) now[i] = i + 1 < length ? recent[i + 1] : symbol;
  for (int i = 0; i < contexts; i++) {
    const struct history past = {recent + length - 1, length}, all = {now + length - 1, length};
    before[i] = (int64_t)key_of(specs + 3 * i, past, letters, vocab);
    after[i] = (int64_t)key_of(specs + 3 * i, all, letters, vocab);
  }
}

/*== counts ==*/
/* What followed each context, and how often. A slot has a header (8 bits of check, the last symbol, 3 bits of run) and
   followers, symbol x 256 + count: one in a word, or two of 16 bits where `narrow`. A key has two places. */
static uint32_t follower(const uint32_t *slot, int i, int narrow) {
  return narrow ? slot[1 + i / 2] >> i % 2 * 16 & 0xFFFFu : slot[1 + i];
}

static void set_follower(uint32_t *slot, int i, int narrow, uint32_t value) {
  if (!narrow) {
    slot[1 + i] = value;
    return;
  }
  const uint32_t keep = i % 2 ? 0x0000FFFFu : 0xFFFF0000u;
  slot[1 + i / 2] = (slot[1 + i / 2] & keep) | value << i % 2 * 16;
}

static uint32_t *slot_of(uint32_t *table, int64_t key, int64_t slots, int words, int narrow, int make) {
  const uint32_t check = (uint32_t)((uint64_t)key >> 56);
  const int room = (words - 1) * (narrow ? 2 : 1);
  const int64_t first = (key & (((int64_t)1 << 40) - 1)) % slots, second = (first ^ 1) < slots ? first ^ 1 : first;
  uint32_t *places[2] = {table + first * words, table + second * words}, sums[2] = {0, 0};
  for (int p = 0; p < 2; p++)
    if (places[p][0] >> 24 == check && follower(places[p], 0, narrow) & 255u) return places[p];
  if (!make) return 0;
  for (int p = 0; p < 2; p++)
    for (int i = 0; i < room; i++) sums[p] += follower(places[p], i, narrow) & 255u;
  uint32_t *slot = places[sums[1] < sums[0]];
  memset(slot, 0, (size_t)words * sizeof *slot);
  return slot;
}

static void count_follower(uint32_t *slot, int room, int narrow, uint32_t symbol) {
  uint32_t least = 256;
  int weakest = 0;
  for (int i = 0; i < room; i++) {
    const uint32_t one = follower(slot, i, narrow), times = one & 255u;
    if (!times) {
      set_follower(slot, i, narrow, symbol << 8 | 1u);
      return;
    }
    if (one >> 8 == symbol) {
      for (int j = 0; times == 255u && j < room; j++) {
        const uint32_t other = follower(slot, j, narrow);
        set_follower(slot, j, narrow, (other & ~255u) | ((other & 255u) + 1) >> 1);
      }
      set_follower(slot, i, narrow, follower(slot, i, narrow) + 1);
      return;
    }
    if (times <= least) least = times, weakest = i;
  }
  if (least <= 1)
    set_follower(slot, weakest, narrow, symbol << 8 | 1u);
  else
    set_follower(slot, weakest, narrow, follower(slot, weakest, narrow) - (least >> 2 ? least >> 2 : 1u));
}

static void counts(int32_t *found, int32_t *last, int64_t symbol, const int64_t *before, const int64_t *after,
                   int32_t *tables, int contexts, int64_t slots, int words, int narrow, int learn) {
  const int room = (words - 1) * (narrow ? 2 : 1);
  for (int k = 0; k < contexts; k++, found += room) {
    uint32_t *table = (uint32_t *)tables + (int64_t)k * slots * words, *slot;
    if (learn) {
      const uint32_t check = (uint32_t)((uint64_t)before[k] >> 56);
      slot = slot_of(table, before[k], slots, words, narrow, 1);
      const int again = follower(slot, 0, narrow) & 255u && (slot[0] >> 3 & 0x1FFFFFu) == (uint32_t)symbol;
      const uint32_t run = again ? ((slot[0] & 7u) < 7u ? (slot[0] & 7u) + 1 : 7u) : 0u;
      slot[0] = check << 24 | (uint32_t)symbol << 3 | run;
      count_follower(slot, room, narrow, (uint32_t)symbol);
    }
    slot = slot_of(table, after[k], slots, words, narrow, 0);
    for (int i = 0; i < room; i++) {
      const uint32_t one = slot ? follower(slot, i, narrow) : 0u;
      found[i] = one & 255u ? (int32_t)one : -1;
    }
    last[k] = slot ? (int32_t)(slot[0] & 0xFFFFFFu) : -1;
  }
}

/*== buckets ==*/
/* What is told apart of a follower: its count, the others' sum, and whether it came last and for how long. */
static int level_of(int count) {
  static const uint8_t starts[16] = {0, 1, 2, 3, 4, 5, 6, 7, 9, 12, 16, 24, 36, 60, 100, 180};
  int level = 0;
  while (level < 15 && count >= starts[level + 1]) level++;
  return level;
}

static int sum_of(const int32_t *found, int room) {
  int total = 0;
  for (int i = 0; i < room; i++) total += found[i] < 0 ? 0 : found[i] & 255;
  return total;
}

static int bucket_of(int32_t found, int32_t last, int total) {
  static const uint8_t sure[8] = {1, 2, 2, 3, 3, 3, 3, 3};
  const int count = found & 255;
  return (level_of(count) * 16 + level_of(total - count)) * 4 + (found >> 8 == last >> 3 ? sure[last & 7] : 0);
}

/*== expected: buckets ==*/
/* The vectors of a context's followers, each times the number of its bucket, summed. */
static void expected(float *restrict y, const int32_t *found, const int32_t *last, const float *restrict table,
                     const float *restrict symbols, int contexts, int room, int width) {
  for (int k = 0; k < contexts; k++, found += room, table += 1024, y += width) {
    const int total = sum_of(found, room);
    for (int e = 0; e < width; e++) y[e] = 0.0f;
    for (int i = 0; i < room; i++) {
      if (found[i] < 0) continue;
      const float number = table[bucket_of(found[i], last[k], total)];
      const float *vector = symbols + (found[i] >> 8) * width;
      for (int e = 0; e < width; e++) y[e] += number * vector[e];
    }
  }
}

/*== votes: buckets ==*/
/* What followers say for their symbols: the weight of the context times the number of the bucket, summed. */
static void votes(float *restrict y, const int32_t *found, const int32_t *last, const float *restrict table,
                  const float *restrict weights, int contexts, int room, int vocab) {
  for (int v = 0; v < vocab; v++) y[v] = 0.0f;
  for (int k = 0; k < contexts; k++, found += room, table += 1024) {
    const int total = sum_of(found, room);
    for (int i = 0; i < room; i++)
      if (found[i] >= 0) y[found[i] >> 8] += weights[k] * table[bucket_of(found[i], last[k], total)];
  }
}
/*== end ==*/
