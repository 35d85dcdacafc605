// Channels lie along the vector: x, dt, z are loaded as they are, B and C are one number for all lanes, and sums over
// the states need no shuffling. A row is one neuron of one stream; rows are independent, so threads share them out.
//
// Backward: the states are computed again, a few steps at a time, into a buffer that stays in the cache. Where the
// states kept by the forward pass lie further apart than that, a first sweep recomputes the ones in between.

#include "scan.h"

#include <cstring>

namespace inn {
namespace {

constexpr int J = L / W;          // vectors in a block
constexpr int G = J < 2 ? J : 2;  // vectors worked on at once: they share each B and C, and hide latency
constexpr int64_t STEPS = 64;     // steps prepared at once

// Steps x states of one channel that the backward pass computes again at once: with L channels, states and decays, 256
// KiB, or half of the second cache where that is less.
int64_t states_at_once() { return std::min<int64_t>(1024, second_cache() / 16 / L); }

// [E, S] as the caller has it <-> blocks [S][L]; channels past E are zero.
void to_block(float* block, const float* from, int64_t S, int64_t channels, float scale = 1.0f) {
  for (int64_t j = 0; j < J; j++) {
    int64_t s = 0;
    if ((j + 1) * W <= channels)
      for (; s + W <= S; s += W) {
        Vec r[W];
        for (int i = 0; i < W; i++) r[i] = load(from + (j * W + i) * S + s) * scale;
        transpose(r);
        for (int i = 0; i < W; i++) store(block + (s + i) * L + j * W, r[i]);
      }
    for (; s < S; s++)
      for (int64_t i = j * W; i < (j + 1) * W; i++) block[s * L + i] = i < channels ? from[i * S + s] * scale : 0.0f;
  }
}

void from_block(float* to, const float* block, int64_t S, int64_t channels) {
  for (int64_t j = 0; j < J; j++) {
    int64_t s = 0;
    if ((j + 1) * W <= channels)
      for (; s + W <= S; s += W) {
        Vec r[W];
        for (int i = 0; i < W; i++) r[i] = load(block + (s + i) * L + j * W);
        transpose(r);
        for (int i = 0; i < W; i++) store(to + (j * W + i) * S + s, r[i]);
      }
    for (; s < S; s++)
      for (int64_t i = j * W; i < (j + 1) * W && i < channels; i++) to[i * S + s] = block[s * L + i];
  }
}

// A in blocks [P][blocks][S][L], times log2(e), so that the decay is 2^(step A).
void decay_rates(float* rates, const Scan& op) {
  parallel(op.P * op.blocks(), op.threads, op.S * L, [&] {
    return [&, rates](int64_t i) {
      const int64_t p = i / op.blocks(), k = i % op.blocks();
      to_block(rates + i * op.S * L, op.A + (p * op.E + k * L) * op.S, op.S, op.channels(k), LOG2E);
    };
  });
}

// Floats [K][L] of one block of channels: in the tensor itself, or a copy of them (bfloat16, the last channels).
struct Tile {
  float* data;
  int64_t stride;
  float* at(int64_t t, int64_t i) const { return data + t * stride + i; }
};

// One row's steps t0 .. t0 + K - 1.
struct Span {
  const Scan& op;
  int64_t b, n, t0, K;
  int64_t begin = op.begin(b, n) + t0;

  bool masked(int64_t t) const { return op.mask && !op.mask[b * op.T + t0 + t]; }
  bool fresh(int64_t t) const { return op.reset && op.reset[b * op.T + t0 + t]; }
  int64_t place(const View& v, int64_t block, int64_t t) const { return v.at(b, begin + t, n) + block * L; }
  bool direct(const View& v, int64_t block) const { return !v.bf16 && op.channels(block) == L; }

  Tile target(float* scratch, const View& v, int64_t block) const {
    if (direct(v, block)) return {static_cast<float*>(v.data) + place(v, block, 0), v.t};
    return {scratch, L};
  }
  Tile tile(float* scratch, const View& v, int64_t block) const {
    const Tile to = target(scratch, v, block);
    if (to.data == scratch)
      for (int64_t t = 0; t < K; t++) {
        read(scratch + t * L, v, place(v, block, t), op.channels(block));
        for (int64_t i = op.channels(block); i < L; i++) scratch[t * L + i] = 0.0f;
      }
    return to;
  }
  // To be called when a target is complete.
  void finish(const Tile& from, const View& v, int64_t block) const {
    if (!direct(v, block))
      for (int64_t t = 0; t < K; t++) write(v, place(v, block, t), from.at(t, 0), op.channels(block));
  }
  // B or C of these steps, [K][S].
  void rows(float* to, const View& v) const {
    for (int64_t t = 0; t < K; t++) read(to + t * op.S, v, v.at(b, begin + t, n), op.S);
  }
  // Fetches what the tile of `block` is read from (or written to) at step t. Always inlined, because GCC takes a
  // function that does nothing but this for one that does nothing, and drops the call.
  template <bool WRITE>
  __attribute__((always_inline)) void fetch(const View& v, int64_t block, int64_t t) const {
    const char* p = static_cast<const char*>(v.data) + place(v, block, t) * (v.bf16 ? 2 : 4);
    __builtin_prefetch(p, WRITE);
    if (!v.bf16) __builtin_prefetch(p + 64, WRITE);
  }
};

// The step sizes and the inputs u = step x, [K][L]; a masked step has neither. `slope` is d step / d dt.
template <bool SLOPE>
void prepare(const Span& at, const Tile& dt, const Tile& x, float* step, float* u, float* slope) {
  for (int64_t t = 0; t < at.K; t++) {
    const bool masked = at.masked(t);
    for (int64_t i = 0; i < L; i += W) {
      Vec d{};
      const Vec size = masked ? Vec{} : softplus(load(dt.at(t, i)), d);
      store(step + t * L + i, size);
      store(u + t * L + i, masked ? Vec{} : size * load(x.at(t, i)));
      if (SLOPE) store(slope + t * L + i, d);
    }
  }
}

// Runs the state h [S][L] of one block over a span; where READ, read [K][L] becomes C h.
template <bool READ, class Ahead>
void advance(const Span& at, float* h, const float* rates, const float* step, const float* u, const float* B,
             const float* C, float* read, const Ahead& ahead) {
  const int64_t S = at.op.S;
  for (int64_t t = 0; t < at.K; t++) {
    if (at.fresh(t)) std::memset(h, 0, S * L * sizeof(float));
    ahead(t);
    for (int64_t g = 0; g < L; g += G * W) {
      Vec st[G], ut[G], sum[G];
      for (int j = 0; j < G; j++) {
        st[j] = load(step + t * L + g + j * W);
        ut[j] = load(u + t * L + g + j * W);
        sum[j] = Vec{};
      }
      for (int64_t s = 0; s < S; s++) {
        const Vec b = all(B[t * S + s]);
        const Vec c = READ ? all(C[t * S + s]) : Vec{};
        for (int j = 0; j < G; j++) {
          float* place = h + s * L + g + j * W;
          const Vec now = exp2(st[j] * load(rates + s * L + g + j * W)) * load(place) + ut[j] * b;
          store(place, now);
          if (READ) sum[j] += now * c;
        }
      }
      if (READ)
        for (int j = 0; j < G; j++) store(read + t * L + g + j * W, sum[j]);
    }
  }
}

void copy_channels(float* to, const float* from, int64_t count) {
  for (int64_t i = 0; i < L; i++) to[i] = i < count ? from[i] : 0.0f;
}

}  // namespace

void scan_forward(const Scan& op, View y, float* last, float* kept) {
  const int64_t S = op.S, blocks = op.blocks(), chunks = (op.T - 1) / op.period;
  const int64_t steps = std::min(STEPS, op.T), tile = steps * L;
  Buffer shared(op.P * blocks * S * L);
  float* rates = shared.take(op.P * blocks * S * L);
  decay_rates(rates, op);

  // Whole rows where there are plenty of them, parts of rows otherwise.
  const int64_t part = op.rows() >= 64 ? blocks : std::min<int64_t>(blocks, 4);
  const int64_t parts = (blocks + part - 1) / part;

  parallel(op.rows() * parts, op.threads, op.T * S * part * L, [&] {
    Buffer buffer(7 * tile + 2 * steps * S + part * S * L + 64);
    float *xs = buffer.take(tile), *us = buffer.take(tile), *dts = buffer.take(tile), *zs = buffer.take(tile);
    float *ys = buffer.take(tile), *out = buffer.take(tile), *step = buffer.take(tile);
    float *B = buffer.take(steps * S), *C = buffer.take(steps * S), *h = buffer.take(part * S * L);
    return [=, &op, buffer = std::move(buffer)](int64_t task) {
      const int64_t row = task / parts, b = row / op.N, n = row % op.N, p = op.P > 1 ? n : 0;
      const int64_t first = task % parts * part, end = std::min(blocks, first + part), T = op.steps(b, n);
      for (int64_t k = first; k < end; k++)
        to_block(h + (k - first) * S * L, op.state + (row * op.E + k * L) * S, S, op.channels(k));
      for (int64_t t0 = 0; t0 < T; t0 += STEPS) {
        const Span at{op, b, n, t0, std::min(STEPS, T - t0)};
        at.rows(B, op.Bm);
        at.rows(C, op.Cm);
        for (int64_t k = first; k < end; k++) {
          float* hk = h + (k - first) * S * L;
          if (kept && t0 && t0 % op.period == 0)
            std::memcpy(kept + ((row * chunks + t0 / op.period - 1) * blocks + k) * S * L, hk, S * L * 4);
          const Tile x = at.tile(xs, op.x, k), dt = at.tile(dts, op.dt, k), z = at.tile(zs, op.z, k);
          prepare<false>(at, dt, x, step, us, nullptr);
          const bool over = k + 1 == end;  // what comes next is another chunk
          const Span next{op, b, n, over ? std::min(t0 + STEPS, T - at.K) : t0, at.K};
          const int64_t next_k = over ? first : k + 1;
          advance<true>(at, hk, rates + (p * blocks + k) * S * L, step, us, B, C, out,
                        [&](int64_t t) __attribute__((always_inline)) {
                          at.fetch<true>(y, k, t);
                          next.fetch<false>(op.x, next_k, t);
                          next.fetch<false>(op.dt, next_k, t);
                          next.fetch<false>(op.z, next_k, t);
                        });
          alignas(64) float D[L];
          copy_channels(D, op.D + p * op.E + k * L, op.channels(k));
          const Tile to = at.target(ys, y, k);
          for (int64_t t = 0; t < at.K; t++)
            for (int64_t i = 0; i < L; i += W) {
              const Vec gate = load(z.at(t, i));
              store(to.at(t, i), (load(out + t * L + i) + load(D + i) * load(x.at(t, i))) * (gate * sigmoid(gate)));
            }
          at.finish(to, y, k);
        }
      }
      for (int64_t k = first; k < end; k++)
        from_block(last + (row * op.E + k * L) * S, h + (k - first) * S * L, S, op.channels(k));
    };
  });
}

// ---- backward ----

namespace {

// What both passes over a few steps of one block read.
struct Work {
  const float *start, *rates, *step, *u, *go, *B, *C;  // the state before, [S][L]; tiles [K][L]; rows [K][S]
  float *h, *decay;                                    // the states after each step and the decays, [K][S][L]
};

// Computes the states again, into `w.h` and `w.decay`; adds go h, by lane, to the sums for C, [K][S][W].
template <bool FIRST, class Ahead>
void recall(const Span& at, const Work& w, float* sums, float* read, const Ahead& ahead) {
  const int64_t S = at.op.S;
  const float* before = w.start;
  for (int64_t t = 0; t < at.K; t++) {
    const bool fresh = at.fresh(t);
    ahead(t);
    float *now = w.h + t * S * L, *decay = w.decay + t * S * L;
    if (fresh) std::memset(decay, 0, S * L * sizeof(float));
    for (int64_t g = 0; g < L; g += G * W) {
      Vec st[G], ut[G], go[G], sum[G];
      for (int j = 0; j < G; j++) {
        st[j] = load(w.step + t * L + g + j * W);
        ut[j] = load(w.u + t * L + g + j * W);
        go[j] = load(w.go + t * L + g + j * W);
        sum[j] = Vec{};
      }
      for (int64_t s = 0; s < S; s++) {
        const Vec b = all(w.B[t * S + s]), c = all(w.C[t * S + s]);
        float* total = sums + (t * S + s) * W;
        Vec all_channels = FIRST && g == 0 ? Vec{} : load(total);
        for (int j = 0; j < G; j++) {
          const int64_t i = s * L + g + j * W;
          Vec h = ut[j] * b;
          if (!fresh) {
            const Vec e = exp2(st[j] * load(w.rates + i));
            store(decay + i, e);
            h += e * load(before + i);
          }
          store(now + i, h);
          sum[j] += h * c;
          all_channels += h * go[j];
        }
        store(total, all_channels);
      }
      for (int j = 0; j < G; j++) store(read + t * L + g + j * W, sum[j]);
    }
    before = now;
  }
}

// Goes back through the steps. `carry` [S][L] is the gradient of the state after them, then of the one before them.
// Adds to the gradient of A [S][L] and, by lane, to the sums for B [K][S][W]; gu and gstep are [K][L], the latter
// without the part through u and divided by ln 2.
template <bool FIRST>
void retrace(const Span& at, const Work& w, float* carry, float* gA, float* sums, float* gu, float* gstep) {
  const int64_t S = at.op.S;
  for (int64_t t = at.K - 1; t >= 0; t--) {
    const float *before = t ? w.h + (t - 1) * S * L : w.start, *decay = w.decay + t * S * L;
    for (int64_t g = 0; g < L; g += G * W) {
      Vec st[G], ut[G], go[G], through_u[G], through_step[G];
      for (int j = 0; j < G; j++) {
        st[j] = load(w.step + t * L + g + j * W);
        ut[j] = load(w.u + t * L + g + j * W);
        go[j] = load(w.go + t * L + g + j * W);
        through_u[j] = through_step[j] = Vec{};
      }
      for (int64_t s = 0; s < S; s++) {
        const Vec b = all(w.B[t * S + s]), c = all(w.C[t * S + s]);
        float* total = sums + (t * S + s) * W;
        Vec all_channels = FIRST && g == 0 ? Vec{} : load(total);
        for (int j = 0; j < G; j++) {
          const int64_t i = s * L + g + j * W;
          const Vec gh = load(carry + i) + go[j] * c;
          through_u[j] += gh * b;
          all_channels += gh * ut[j];
          const Vec back = gh * load(decay + i);
          store(carry + i, back);
          const Vec exponent = back * load(before + i);  // gradient of step A
          through_step[j] += exponent * load(w.rates + i);
          store(gA + i, load(gA + i) + exponent * st[j]);
        }
        store(total, all_channels);
      }
      for (int j = 0; j < G; j++) {
        store(gu + t * L + g + j * W, through_u[j]);
        store(gstep + t * L + g + j * W, through_step[j]);
      }
    }
  }
}

// The gradient of the output before its gate, and the factor that makes the gate's gradient out of that output.
void ungate(const Span& at, const Tile& gy, const Tile& z, float* go, float* gate) {
  for (int64_t t = 0; t < at.K; t++)
    for (int64_t i = 0; i < L; i += W) {
      const Vec v = load(z.at(t, i)), s = sigmoid(v), g = load(gy.at(t, i)) * s;
      store(go + t * L + i, g * v);
      store(gate + t * L + i, g * (1.0f + v * (1.0f - s)));
    }
}

}  // namespace

void scan_backward(const Scan& op, View gy, const float* last, const float* kept, const ScanGradients& to) {
  const int64_t S = op.S, blocks = op.blocks(), size = S * L, chunks = (op.T - 1) / op.period;
  int64_t fine = STEPS;  // steps whose states are in the buffer at once
  while (fine > 4 && fine * S > states_at_once()) fine /= 2;
  const int64_t tile = fine * L;

  // A task is a set of parameters, some of the rows that use it, and some of their blocks. How the work is cut, and so
  // the order of every sum, depends on the shapes alone.
  const int64_t part = op.rows() >= 64 ? blocks : std::min<int64_t>(blocks, 4);
  const int64_t parts = (blocks + part - 1) / part;
  const int64_t rows = op.rows() / op.P;
  const int64_t slots = std::min(rows, std::max<int64_t>(1, 128 / (op.P * parts)));

  const int64_t numbers = op.rows() * op.T * S;
  Buffer shared(op.P * blocks * size + op.P * slots * blocks * (size + L) + (parts > 1 ? 2 * parts * numbers : 0) + 128);
  float* rates = shared.take(op.P * blocks * size);
  float* gA = shared.take(op.P * slots * blocks * size);  // [P][slots][blocks][S][L]
  float* gD = shared.take(op.P * slots * blocks * L);     // [P][slots][blocks][L]
  // [parts][rows][T][S] where several tasks add to the same gradient of B or C
  float* gB = parts > 1 ? shared.take(parts * numbers) : nullptr;
  float* gC = parts > 1 ? shared.take(parts * numbers) : nullptr;
  decay_rates(rates, op);

  parallel(op.P * slots * parts, op.threads, rows / slots * op.T * S * part * L * 3, [&] {
    const int64_t sweep = op.period > fine ? op.period / fine * part * size : 0;
    Buffer buffer(14 * tile + 4 * fine * S + 2 * fine * size + 2 * fine * S * W + 2 * part * size + sweep + 512);
    float *xs = buffer.take(tile), *dts = buffer.take(tile), *zs = buffer.take(tile), *gys = buffer.take(tile);
    float *step = buffer.take(tile), *u = buffer.take(tile), *slope = buffer.take(tile), *go = buffer.take(tile);
    float *gate = buffer.take(tile), *gu = buffer.take(tile), *gstep = buffer.take(tile);
    float *gxs = buffer.take(tile), *gdts = buffer.take(tile), *gzs = buffer.take(tile);
    float *B = buffer.take(fine * S), *C = buffer.take(fine * S);
    float *gBs = buffer.take(fine * S), *gCs = buffer.take(fine * S);
    float *h = buffer.take(fine * size), *decay = buffer.take(fine * size);
    float *B_sums = buffer.take(fine * S * W), *C_sums = buffer.take(fine * S * W);
    float *carry = buffer.take(part * size), *first_state = buffer.take(part * size);
    float* between = buffer.take(sweep);  // [period / fine][part][S][L]

    return [=, &op, &to, buffer = std::move(buffer)](int64_t task) {
      const int64_t first = task % parts * part, end = std::min(blocks, first + part);
      const int64_t slot = task / parts % slots, p = task / parts / slots;
      float* gAp = gA + (p * slots + slot) * blocks * size;
      float* gDp = gD + (p * slots + slot) * blocks * L;
      std::memset(gAp + first * size, 0, (end - first) * size * 4);
      std::memset(gDp + first * L, 0, (end - first) * L * 4);

      for (int64_t r = slot * rows / slots; r < (slot + 1) * rows / slots; r++) {
        const int64_t b = op.P > 1 ? r : r / op.N, n = op.P > 1 ? p : r % op.N, row = b * op.N + n;
        const int64_t T = op.steps(b, n);
        for (int64_t k = first; k < end; k++) {
          const int64_t at = (row * op.E + k * L) * S;
          to_block(first_state + (k - first) * size, op.state + at, S, op.channels(k));
          if (last)
            to_block(carry + (k - first) * size, last + at, S, op.channels(k));
          else
            std::memset(carry + (k - first) * size, 0, size * 4);
        }
        for (int64_t c = T ? (T - 1) / op.period : -1; c >= 0; c--) {
          const int64_t t1 = std::min(T, (c + 1) * op.period);
          const auto start = [&](int64_t k) {
            return c ? kept + ((row * chunks + c - 1) * blocks + k) * size : first_state + (k - first) * size;
          };
          for (int64_t t0 = c * op.period; t0 + fine < t1; t0 += fine) {  // the states between the kept ones
            const Span at{op, b, n, t0, fine};
            const int64_t f = (t0 - c * op.period) / fine;
            at.rows(B, op.Bm);
            for (int64_t k = first; k < end; k++) {
              float* hk = between + (f * part + k - first) * size;
              std::memcpy(hk, f ? hk - part * size : start(k), size * 4);
              prepare<false>(at, at.tile(dts, op.dt, k), at.tile(xs, op.x, k), step, u, nullptr);
              advance<false>(at, hk, rates + (p * blocks + k) * size, step, u, B, nullptr, nullptr, [](int64_t) {});
            }
          }
          for (int64_t t0 = c * op.period + (t1 - 1 - c * op.period) / fine * fine; t0 >= c * op.period; t0 -= fine) {
            const Span at{op, b, n, t0, std::min(fine, t1 - t0)};
            const int64_t f = (t0 - c * op.period) / fine;
            at.rows(B, op.Bm);
            at.rows(C, op.Cm);
            for (int64_t k = first; k < end; k++) {
              const Tile x = at.tile(xs, op.x, k), z = at.tile(zs, op.z, k);
              prepare<true>(at, at.tile(dts, op.dt, k), x, step, u, slope);
              ungate(at, at.tile(gys, gy, k), z, go, gate);
              const Work work{f ? between + ((f - 1) * part + k - first) * size : start(k),
                              rates + (p * blocks + k) * size, step, u, go, B, C, h, decay};
              float* ck = carry + (k - first) * size;
              const bool over = k + 1 == end;
              const Span next{op, b, n, over ? std::max<int64_t>(t0 - fine, 0) : t0, fine};
              const int64_t next_k = over ? first : k + 1;
              const auto fetch = [&](int64_t t) __attribute__((always_inline)) {
                at.fetch<true>(to.z, k, t);
                at.fetch<true>(to.x, k, t);
                at.fetch<true>(to.dt, k, t);
                next.fetch<false>(op.x, next_k, t);
                next.fetch<false>(op.dt, next_k, t);
                next.fetch<false>(op.z, next_k, t);
                next.fetch<false>(gy, next_k, t);
              };
              if (k == first) {
                recall<true>(at, work, C_sums, gu, fetch);
              } else {
                recall<false>(at, work, C_sums, gu, fetch);
              }
              alignas(64) float D[L], sum[L];
              copy_channels(D, op.D + p * op.E + k * L, op.channels(k));
              const Tile gz = at.target(gzs, to.z, k);
              for (int64_t t = 0; t < at.K; t++)
                for (int64_t i = 0; i < L; i += W)
                  store(gz.at(t, i), load(gate + t * L + i) * (load(gu + t * L + i) + load(D + i) * load(x.at(t, i))));
              at.finish(gz, to.z, k);
              if (k == first) {
                retrace<true>(at, work, ck, gAp + k * size, B_sums, gu, gstep);
              } else {
                retrace<false>(at, work, ck, gAp + k * size, B_sums, gu, gstep);
              }
              const Tile gx = at.target(gxs, to.x, k), gdt = at.target(gdts, to.dt, k);
              copy_channels(sum, gDp + k * L, L);
              for (int64_t t = 0; t < at.K; t++)
                for (int64_t i = 0; i < L; i += W) {
                  const Vec g = load(go + t * L + i), gut = load(gu + t * L + i), xt = load(x.at(t, i));
                  store(sum + i, load(sum + i) + g * xt);
                  store(gx.at(t, i), g * load(D + i) + gut * load(step + t * L + i));
                  store(gdt.at(t, i), (load(gstep + t * L + i) * LN2 + gut * xt) * load(slope + t * L + i));
                }
              copy_channels(gDp + k * L, sum, L);
              at.finish(gx, to.x, k);
              at.finish(gdt, to.dt, k);
            }
            add_lanes(gBs, B_sums, at.K * S);
            add_lanes(gCs, C_sums, at.K * S);
            const int64_t place = ((task % parts * op.rows() + row) * op.T + t0) * S;
            for (int64_t t = 0; t < at.K && parts == 1; t++) {
              write(to.Bm, to.Bm.at(b, at.begin + t, n), gBs + t * S, S);
              write(to.Cm, to.Cm.at(b, at.begin + t, n), gCs + t * S, S);
            }
            if (parts > 1) {
              std::memcpy(gB + place, gBs, at.K * S * 4);
              std::memcpy(gC + place, gCs, at.K * S * 4);
            }
          }
        }
        for (int64_t k = first; k < end; k++)
          from_block(to.state + (row * op.E + k * L) * S, carry + (k - first) * size, S, op.channels(k));
      }
    };
  });

  // The sums over what the tasks left, always in the same order.
  if (parts > 1)
    parallel(op.rows(), op.threads, 2 * parts * op.T * S, [&] {
      return [&](int64_t row) {
        const int64_t b = row / op.N, n = row % op.N;
        for (int64_t t = 0; t < op.steps(b, n); t++)
          for (int which = 0; which < 2; which++) {
            float* total = (which ? gC : gB) + (row * op.T + t) * S;
            for (int64_t q = 1; q < parts; q++)
              for (int64_t s = 0; s < S; s++) total[s] += total[q * numbers + s];
            const View& v = which ? to.Cm : to.Bm;
            write(v, v.at(b, op.begin(b, n) + t, n), total, S);
          }
      };
    });
  parallel(op.P * blocks, op.threads, slots * size, [&] {
    return [&](int64_t task) {
      const int64_t p = task / blocks, k = task % blocks;
      float *A = gA + (p * slots * blocks + k) * size, *D = gD + (p * slots * blocks + k) * L;
      for (int64_t slot = 1; slot < slots; slot++) {
        for (int64_t i = 0; i < size; i++) A[i] += A[slot * blocks * size + i];
        for (int64_t i = 0; i < L; i++) D[i] += D[slot * blocks * L + i];
      }
      from_block(to.A + (p * op.E + k * L) * S, A, S, op.channels(k));
      std::memcpy(to.D + p * op.E + k * L, D, op.channels(k) * 4);
    };
  });
}

}  // namespace inn
