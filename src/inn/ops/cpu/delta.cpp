// The values of a head lie along the vectors, so that a key is one number for all lanes: what is read under a key is a
// chain of multiply-adds, and what is written a product of that key and one vector. A row is one neuron of one stream;
// rows are independent, so threads share them out, and heads with them where each has keys of its own.
//
// Backward: from each kept state the states of the steps up to the next one are computed again, a few vectors of values
// at a time, into a buffer that stays in the cache; then the steps are gone back through.

#include "delta.h"

#include <cstring>

namespace inn {
namespace {

constexpr int64_t STEPS = 64;  // steps prepared at once by the forward pass

int64_t padded(int64_t count) { return (count + W - 1) / W * W; }

// The steps t0 .. t0 + C - 1 of one head of one row, and their numbers as floats; values are padded with zeros.
struct Stretch {
  const Delta& op;
  int64_t b, n, h, t0, C;
  float *q, *k, *v, *alpha, *beta;  // [C][K] twice, [C][padded V], [C] twice

  int64_t key() const { return op.G > 1 ? h * op.K : 0; }
  bool masked(int64_t t) const {
    return op.mask && !op.mask[b * op.mask_b + (t0 + t) * op.mask_t + n * op.mask_n];
  }
  bool fresh(int64_t t) const { return op.reset && op.reset[b * op.T + t0 + t]; }

  void take(float* to, const View& from, int64_t first, int64_t count, int64_t width) const {
    for (int64_t t = 0; t < C; t++) {
      read(to + t * width, from, from.at(b, t0 + t, n) + first, count);
      for (int64_t i = count; i < width; i++) to[t * width + i] = 0.0f;
    }
  }
  void give(const float* from, const View& to, int64_t first, int64_t count, int64_t width) const {
    for (int64_t t = 0; t < C; t++) write(to, to.at(b, t0 + t, n) + first, from + t * width, count);
  }
  // Everything but q, which a pass that only computes states does not need.
  void prepare() const {
    take(k, op.k, key(), op.K, op.K);
    take(v, op.v, h * op.V, op.V, padded(op.V));
    take(alpha, op.decay, h, 1, 1);
    for (int64_t t = C; t < padded(C); t++) alpha[t] = 0.0f;
    for (int64_t t = 0; t < C; t += W) store(alpha + t, exp(load(alpha + t)));
    if (op.beta.data) take(beta, op.beta, h, 1, 1);
  }
};

// J vectors of values, the first of them at `first`, of all that lies [..][width].
struct Tile {
  int64_t first, width;
  int64_t at(int64_t row, int j) const { return row * width + first + j * W; }
};

// One step: the state `before` [K][J W] becomes `now` (which may be the same); u is what is written under the key.
template <bool ERASE, int J>
inline void advance(const float* before, float* now, const float* k, int64_t K, float alpha, float beta, const Vec* v,
                    Vec* u, Vec* miss) {
  const Vec a = all(alpha);
  for (int j = 0; j < J; j++) miss[j] = u[j] = v[j];
  if (ERASE) {
    Vec found[J], more[J];  // two chains of sums, since one would wait for itself
    for (int j = 0; j < J; j++) found[j] = more[j] = Vec{};
    int64_t i = 0;
    for (; i + 1 < K; i += 2) {
      const Vec ki = all(k[i]), kn = all(k[i + 1]);
      for (int j = 0; j < J; j++) found[j] += ki * load(before + (i * J + j) * W);
      for (int j = 0; j < J; j++) more[j] += kn * load(before + ((i + 1) * J + j) * W);
    }
    if (i < K)
      for (int j = 0; j < J; j++) found[j] += all(k[i]) * load(before + (i * J + j) * W);
    for (int j = 0; j < J; j++) {
      miss[j] = v[j] - a * (found[j] + more[j]);
      u[j] = beta * miss[j];
    }
  }
  for (int64_t i = 0; i < K; i++) {
    const Vec ki = all(k[i]);
    for (int j = 0; j < J; j++) store(now + (i * J + j) * W, a * load(before + (i * J + j) * W) + ki * u[j]);
  }
}

// A tile of the state [K][V] of a head as the caller has it <-> [K][J W]; values past V are zero.
void to_tile(float* tile, const float* from, int64_t K, int64_t V, int64_t first, int64_t lanes) {
  for (int64_t i = 0; i < K; i++)
    for (int64_t l = 0; l < lanes; l++) tile[i * lanes + l] = first + l < V ? from[i * V + first + l] : 0.0f;
}

void from_tile(float* to, const float* tile, int64_t K, int64_t V, int64_t first, int64_t lanes) {
  for (int64_t i = 0; i < K; i++)
    std::memcpy(to + i * V + first, tile + i * lanes, std::min(lanes, V - first) * 4);
}

template <bool ERASE, int J>
void run(const Stretch& s, const Tile& at, float* state, float* y) {
  const int64_t K = s.op.K;
  Vec v[J], u[J], miss[J], sum[J];
  for (int64_t t = 0; t < s.C; t++) {
    if (s.fresh(t)) std::memset(state, 0, K * J * W * 4);
    if (s.masked(t)) {
      for (int j = 0; j < J; j++) store(y + at.at(t, j), Vec{});
      continue;
    }
    for (int j = 0; j < J; j++) v[j] = load(s.v + at.at(t, j));
    advance<ERASE, J>(state, state, s.k + t * K, K, s.alpha[t], s.beta[t], v, u, miss);
    for (int j = 0; j < J; j++) sum[j] = Vec{};
    for (int64_t i = 0; i < K; i++) {
      const Vec qi = all(s.q[t * K + i]);
      for (int j = 0; j < J; j++) sum[j] += qi * load(state + (i * J + j) * W);
    }
    for (int j = 0; j < J; j++) store(y + at.at(t, j), sum[j]);
  }
}

// Calls f with 4, 2 or 1 vectors at a time, and where they begin, until all `vectors` are done.
template <class F>
void tiles(int64_t vectors, const F& f) {
  int64_t j = 0;
  for (; j + 4 <= vectors; j += 4) f(std::integral_constant<int, 4>{}, j * W);
  for (; j + 2 <= vectors; j += 2) f(std::integral_constant<int, 2>{}, j * W);
  for (; j < vectors; j++) f(std::integral_constant<int, 1>{}, j * W);
}

template <bool ERASE>
void forward(const Delta& op, View y, float* last, float* kept) {
  const int64_t K = op.K, V = op.V, P = padded(V), chunks = (op.T - 1) / op.period, C = std::min(STEPS, op.T);
  parallel(op.B * op.N * op.H, op.threads, 3 * op.T * K * P, [&] {
    Buffer buffer(2 * C * K + 2 * C * P + 2 * padded(C) + K * P + 112);
    float *q = buffer.take(C * K), *k = buffer.take(C * K), *v = buffer.take(C * P), *ys = buffer.take(C * P);
    float *alpha = buffer.take(padded(C)), *beta = buffer.take(padded(C)), *state = buffer.take(K * P);
    return [=, &op, buffer = std::move(buffer)](int64_t task) {
      const int64_t row = task / op.H, h = task % op.H, b = row / op.N, n = row % op.N;
      tiles(P / W, [&](auto J, int64_t first) { to_tile(state + K * first, op.state + task * K * V, K, V, first, J * W); });
      for (int64_t t0 = 0; t0 < op.T; t0 += STEPS) {
        const Stretch s{op, b, n, h, t0, std::min(STEPS, op.T - t0), q, k, v, alpha, beta};
        s.prepare();
        s.take(q, op.q, s.key(), K, K);
        if (kept && t0 && t0 % op.period == 0) {
          float* to = kept + ((row * chunks + t0 / op.period - 1) * op.H + h) * K * V;
          tiles(P / W, [&](auto J, int64_t first) { from_tile(to, state + K * first, K, V, first, J * W); });
        }
        tiles(P / W, [&](auto J, int64_t first) { run<ERASE, J>(s, {first, P}, state + K * first, ys); });
        s.give(ys, y, h * V, V, P);
      }
      tiles(P / W, [&](auto J, int64_t first) { from_tile(last + task * K * V, state + K * first, K, V, first, J * W); });
    };
  });
}

// ---- backward ----

// What comes of a stretch: gradients of the values [C][padded V], and by lane those of keys and numbers.
struct Sums {
  float *gv, *q, *k;     // [C][padded V], [C][K][W] twice
  float *alpha, *beta;   // [C][W]
};

template <int J>
inline void add(float* to, const Vec* v) {
  Vec sum = load(to);
  for (int j = 0; j < J; j++) sum += v[j];
  store(to, sum);
}

// `zeros` is a state of nothing, `states` is room for [C + 1][K][J W], the state before the stretch first; `us`, `misses` for [C][J W]. `carry`
// [K][J W] is the gradient of the state after the stretch, and then of the one before it.
template <bool ERASE, int J>
void retrace(const Stretch& s, const Tile& at, const float* gy, const float* zeros, float* states, float* us,
             float* misses, float* carry, const Sums& to) {
  const int64_t K = s.op.K, size = K * J * W;
  for (int64_t t = 0; t < s.C; t++) {
    const float* before = s.fresh(t) ? zeros : states + t * size;
    float* now = states + (t + 1) * size;
    if (s.masked(t)) {
      std::memcpy(now, before, size * 4);
      continue;
    }
    Vec v[J], u[J], miss[J];
    for (int j = 0; j < J; j++) v[j] = load(s.v + at.at(t, j));
    advance<ERASE, J>(before, now, s.k + t * K, K, s.alpha[t], s.beta[t], v, u, miss);
    for (int j = 0; j < J; j++) {
      store(us + (t * J + j) * W, u[j]);
      store(misses + (t * J + j) * W, miss[j]);
    }
  }
  for (int64_t t = s.C - 1; t >= 0; t--) {
    if (!s.masked(t)) {
      const float *before = s.fresh(t) ? zeros : states + t * size, *now = states + (t + 1) * size;
      const float *q = s.q + t * K, *k = s.k + t * K;
      const Vec a = all(s.alpha[t]), b = all(s.beta[t]);
      Vec g[J], u[J], gu[J], ge[J], through[J], part[J];
      for (int j = 0; j < J; j++) {
        g[j] = load(gy + at.at(t, j));
        u[j] = load(us + (t * J + j) * W);
        gu[j] = through[j] = Vec{};
      }
      for (int64_t i = 0; i < K; i++) {
        const Vec qi = all(q[i]), ki = all(k[i]);
        Vec gq = load(to.q + (t * K + i) * W), gk = load(to.k + (t * K + i) * W);
        for (int j = 0; j < J; j++) {
          const int64_t place = (i * J + j) * W;
          const Vec G = load(carry + place) + qi * g[j];
          store(carry + place, G);
          gq += load(now + place) * g[j];
          gk += G * u[j];
          gu[j] += ki * G;
        }
        store(to.q + (t * K + i) * W, gq);
        store(to.k + (t * K + i) * W, gk);
      }
      if (ERASE) {
        for (int j = 0; j < J; j++) {
          part[j] = gu[j] * load(misses + (t * J + j) * W);
          ge[j] = b * gu[j];
        }
        add<J>(to.beta + t * W, part);
      }
      for (int j = 0; j < J; j++) store(to.gv + at.at(t, j), ERASE ? ge[j] : gu[j]);
      for (int64_t i = 0; i < K; i++) {
        const Vec ki = all(k[i]);
        Vec gk{};
        for (int j = 0; j < J; j++) {
          const int64_t place = (i * J + j) * W;
          const Vec P = a * load(before + place);
          Vec G = load(carry + place);
          if (ERASE) {
            gk += P * ge[j];
            G -= ki * ge[j];
          }
          through[j] += P * G;
          store(carry + place, a * G);
        }
        if (ERASE) store(to.k + (t * K + i) * W, load(to.k + (t * K + i) * W) - gk);
      }
      add<J>(to.alpha + t * W, through);
    }
    if (s.fresh(t)) std::memset(carry, 0, size * 4);
  }
}

template <bool ERASE>
void backward(const Delta& op, View gy, const float* last, const float* kept, const DeltaGradients& to) {
  const int64_t K = op.K, V = op.V, P = padded(V), chunks = (op.T - 1) / op.period, C = std::min(op.period, op.T);
  const int64_t widest = std::min<int64_t>(4 * W, P), heads = op.G > 1 ? 1 : op.H;  // heads of a task
  parallel(op.B * op.N * op.H / heads, op.threads, 9 * heads * op.T * K * P, [&] {
    Buffer buffer(2 * C * K + 3 * C * P + 2 * padded(C) + heads * K * P + (C + 2) * K * widest + 2 * C * widest +
                  2 * C * K * W + 2 * C * W + C * K + 256);
    float *q = buffer.take(C * K), *k = buffer.take(C * K), *v = buffer.take(C * P), *g = buffer.take(C * P);
    float *gv = buffer.take(C * P), *alpha = buffer.take(padded(C)), *beta = buffer.take(padded(C));
    float *carries = buffer.take(heads * K * P), *states = buffer.take((C + 1) * K * widest);
    float *us = buffer.take(C * widest), *misses = buffer.take(C * widest), *out = buffer.take(C * K), *zeros = buffer.take(K * widest);
    std::memset(zeros, 0, K * widest * 4);
    const Sums sums{gv, buffer.take(C * K * W), buffer.take(C * K * W), buffer.take(C * W), buffer.take(C * W)};
    return [=, &op, buffer = std::move(buffer)](int64_t task) {
      const int64_t row = task * heads / op.H, b = row / op.N, n = row % op.N, begin = task * heads % op.H;
      for (int64_t h = begin; h < begin + heads; h++) {
        float* carry = carries + (h - begin) * K * P;
        if (last)
          tiles(P / W, [&](auto J, int64_t first) {
            to_tile(carry + K * first, last + (row * op.H + h) * K * V, K, V, first, J * W);
          });
        else
          std::memset(carry, 0, K * P * 4);
      }
      for (int64_t c = chunks; c >= 0; c--) {
        for (int64_t h = begin; h < begin + heads; h++) {
          const Stretch s{op, b, n, h, c * op.period, std::min(op.period, op.T - c * op.period), q, k, v, alpha, beta};
          const float* start = c ? kept + ((row * chunks + c - 1) * op.H + h) * K * V : op.state + (row * op.H + h) * K * V;
          s.prepare();
          s.take(q, op.q, s.key(), K, K);
          s.take(g, gy, h * V, V, P);
          if (h == begin)
            for (float* sum : {sums.q, sums.k}) std::memset(sum, 0, s.C * K * W * 4);
          for (float* sum : {sums.alpha, sums.beta}) std::memset(sum, 0, s.C * W * 4);
          std::memset(gv, 0, s.C * P * 4);
          tiles(P / W, [&](auto J, int64_t first) {
            to_tile(states, start, K, V, first, J * W);
            retrace<ERASE, J>(s, {first, P}, g, zeros, states, us, misses, carries + (h - begin) * K * P + K * first,
                              sums);
          });
          s.give(gv, to.v, h * V, V, P);
          add_lanes(out, sums.alpha, s.C);
          s.give(out, to.decay, h, 1, 1);
          if (ERASE) {
            add_lanes(out, sums.beta, s.C);
            s.give(out, to.beta, h, 1, 1);
          }
          if (h + 1 == begin + heads) {
            add_lanes(out, sums.q, s.C * K);
            s.give(out, to.q, s.key(), K, K);
            add_lanes(out, sums.k, s.C * K);
            s.give(out, to.k, s.key(), K, K);
          }
        }
      }
      for (int64_t h = begin; h < begin + heads; h++)
        tiles(P / W, [&](auto J, int64_t first) {
          from_tile(to.state + (row * op.H + h) * K * V, carries + (h - begin) * K * P + K * first, K, V, first, J * W);
        });
    };
  });
}

}  // namespace

void delta_forward(const Delta& op, View y, float* last, float* kept) {
  op.beta.data ? forward<true>(op, y, last, kept) : forward<false>(op, y, last, kept);
}

void delta_backward(const Delta& op, View gy, const float* last, const float* kept, const DeltaGradients& to) {
  op.beta.data ? backward<true>(op, gy, last, kept, to) : backward<false>(op, gy, last, kept, to);
}

}  // namespace inn
