// A step of all neurons for a block of streams, forward and back.
//
// Of a step a record is kept for each stream: the states before it and what lies between them and what is said. Channels
// lie along the vector, as in the scan, padded with zeros to whole cache lines; so do a neuron's numbers.
#pragma once

#include <cmath>

#include "block.h"
#include "feedback.h"

namespace inn {
namespace {

// C [rows, columns] of A and panels of K numbers each.
void product(Broadcast a, int64_t rows, const float* panels, int64_t K, float* c, int64_t c_row, int64_t columns,
             Start start, const float* from = nullptr) {
  for (int64_t p = 0; p < columns; p += PANEL, panels += K * PANEL)
    strip(a, rows, panels, PANEL, K, c + p, c_row, std::min(PANEL, columns - p), start, from ? from + p : nullptr);
}

float total(Vec v) {
  float lanes[W], sum = 0.0f;
  store(lanes, v);
  for (float lane : lanes) sum += lane;
  return sum;
}

// Numbers of neurons [rows, count] <-> rows of `padded` floats, zeros behind them.
void lay(float* to, const float* from, int64_t rows, int64_t count, int64_t padded) {
  for (int64_t r = 0; r < rows; r++) {
    copy(to + r * padded, from + r * count, count);
    clear(to + r * padded + count, padded - count);
  }
}
void unlay(float* to, const float* from, int64_t rows, int64_t count, int64_t padded) {
  for (int64_t r = 0; r < rows; r++) copy(to + r * count, from + r * padded, count);
}

// Channels [N, E, X] as the caller has them <-> [N, X, Ep].
void turn(float* to, const float* from, int64_t N, int64_t E, int64_t X, int64_t Ep, float scale = 1.0f) {
  clear(to, N * X * Ep);
  for (int64_t n = 0; n < N; n++)
    for (int64_t e = 0; e < E; e++)
      for (int64_t x = 0; x < X; x++) to[(n * X + x) * Ep + e] = from[(n * E + e) * X + x] * scale;
}
void turn_back(float* to, const float* from, int64_t N, int64_t E, int64_t X, int64_t Ep) {
  for (int64_t n = 0; n < N; n++)
    for (int64_t e = 0; e < E; e++)
      for (int64_t x = 0; x < X; x++) to[(n * E + e) * X + x] = from[(n * X + x) * Ep + e];
}

// Pieces of a piece of memory, one after the other, each of whole cache lines.
struct Pieces {
  int64_t size = 0;
  int64_t add(int64_t floats) {
    const int64_t at = size;
    size += whole(floats);
    return at;
  }
};

// Streams first .. first + count - 1.
struct Streams {
  const Feedback& op;
  int64_t first, count;
  Streams(const Feedback& op, int64_t block)
      : op(op), first(block * BLOCK_ROWS), count(std::min(BLOCK_ROWS, op.B - first)) {}
  bool fresh(int64_t r, int64_t t) const { return op.reset && op.reset[(first + r) * op.T + t]; }
  bool there(int64_t r, int64_t t) const { return !op.mask || op.mask[(first + r) * op.T + t]; }
};

// Where everything is: in a neuron's states, in its slots of a record, in its gradients, and in the sums for weights.
struct FeedbackPlan {
  const Feedback& op;
  int64_t N, D, E, S, K, R, Q, ND, Dp, Ep;  // Q numbers make dt, B and C
  Pieces states, slots, gradients, weights;
  int64_t h, window, told;                                                                 // states: [S, Ep], [K - 1, Ep], [Dp]
  int64_t raw, z, a, u, made, step, slope, summed, y, normed, inverse, decay;              // slots, in the order they are made
  int64_t gmade, gdt, gtold, gu;                                                           // gradients
  int64_t hear, gain, bias, conv_weight, conv_bias, to_scan, to_dt, dt_bias, A, skip, out;  // sums
  int64_t record, gradient;  // floats of a stream

  FeedbackPlan(const Feedback& op, bool back)
      : op(op), N(op.N), D(op.D), E(op.E), S(op.S), K(op.K), R(op.R), Q(op.R + 2 * op.S), ND(op.N * op.D),
        Dp(inn::whole(op.D)), Ep(inn::whole(op.E)) {
    h = states.add(S * Ep), window = states.add((K - 1) * Ep), told = states.add(Dp);
    raw = slots.add(Ep), z = slots.add(Ep), a = slots.add(Ep), u = slots.add(Ep), made = slots.add(Q);
    step = slots.add(Ep), slope = slots.add(Ep), summed = slots.add(Ep), y = slots.add(Ep);
    normed = slots.add(Dp), inverse = slots.add(1), decay = slots.add(back ? S * Ep : 0);
    gmade = gradients.add(Q), gdt = gradients.add(Ep), gtold = gradients.add(Dp), gu = gradients.add(Ep);
    hear = weights.add(N * 2 * Ep * ND), gain = weights.add(N * Dp), bias = weights.add(N * Dp);
    conv_weight = weights.add(N * K * Ep), conv_bias = weights.add(N * Ep), to_scan = weights.add(N * Q * Ep);
    to_dt = weights.add(N * Ep * R), dt_bias = weights.add(N * Ep), A = weights.add(N * S * Ep);
    skip = weights.add(N * Ep), out = weights.add(N * Dp * Ep);
    record = spaced(N * (states.size + slots.size) + ND + LINE);  // last what is heard, [N D]
    gradient = spaced(N * (2 * Ep + gradients.size));             // first those of signal and gate, [N, 2, Ep]
  }
  int64_t blocks() const { return (op.B + BLOCK_ROWS - 1) / BLOCK_ROWS; }
  template <class T>
  T* state_of(T* rec, int64_t r, int64_t n) const { return rec + r * record + n * states.size; }
  template <class T>
  T* slots_of(T* rec, int64_t r, int64_t n) const { return rec + r * record + N * states.size + n * slots.size; }
  template <class T>
  T* heard(T* rec, int64_t r) const { return rec + r * record + N * (states.size + slots.size); }
  template <class T>
  T* gradients_of(T* d, int64_t r, int64_t n) const { return d + r * gradient + N * 2 * Ep + n * gradients.size; }
};

class FeedbackStep : public FeedbackPlan {
 public:
  const bool back;

  FeedbackStep(const Feedback& op, bool back) : FeedbackPlan(op, back), back(back) {
    Pieces all;
    const int64_t in = padded(E), p[] = {
        all.add(N * 2 * in * ND), all.add(N * padded(Q) * E), all.add(N * in * R), all.add(N * padded(D) * E),
        all.add(back ? padded(ND) * N * 2 * Ep : 0), all.add(back ? N * in * Q : 0), all.add(back ? N * padded(R) * E : 0),
        all.add(back ? N * in * D : 0), all.add(N * S * Ep), all.add(N * K * Ep), all.add(N * Ep), all.add(N * Ep), all.add(N * Ep),
        all.add(N * Dp), all.add(N * Dp)};
    buffer_ = std::make_unique<Buffer>(all.size);
    float* data = buffer_->take(all.size);
    float** const to[] = {&hear_f, &scan_f, &dt_f, &out_f, &hear_b, &scan_b, &dt_b, &out_b, &rates, &taps, &conv_bias_,
                          &dt_bias_, &skip_, &gain_, &bias_};
    for (int i = 0; i < 15; i++) *to[i] = data + p[i];
    for (int64_t n = 0; n < N; n++) {
      for (int64_t i = n * 2; i < n * 2 + 2; i++) pack(hear_f + i * in * ND, op.hear + i * E * ND, ND, 1, E, ND);
      pack(scan_f + n * padded(Q) * E, op.to_scan + n * Q * E, E, 1, Q, E);
      pack(dt_f + n * in * R, op.to_dt + n * E * R, R, 1, E, R);
      pack(out_f + n * padded(D) * E, op.out + n * D * E, E, 1, D, E);
      if (!back) continue;
      pack(scan_b + n * in * Q, op.to_scan + n * Q * E, Q, E, E, 1);
      pack(dt_b + n * padded(R) * E, op.to_dt + n * E * R, E, R, R, 1);
      pack(out_b + n * in * D, op.out + n * D * E, D, E, E, 1);
    }
    if (back) {  // rows of channels that are none are zero
      Buffer room(N * 2 * Ep * ND);
      float* dense = room.take(N * 2 * Ep * ND);
      for (int64_t i = 0; i < N * 2; i++) {
        copy(dense + i * Ep * ND, op.hear + i * E * ND, E * ND);
        clear(dense + (i * Ep + E) * ND, (Ep - E) * ND);
      }
      pack(hear_b, dense, N * 2 * Ep, ND, ND, 1);
    }
    turn(rates, op.A, N, E, S, Ep, LOG2E);
    turn(taps, op.conv_weight, N, E, K, Ep);
    lay(conv_bias_, op.conv_bias, N, E, Ep);
    lay(dt_bias_, op.dt_bias, N, E, Ep);
    lay(skip_, op.skip, N, E, Ep);
    if (op.gain) lay(gain_, op.gain, N, D, Dp);
    if (op.bias) lay(bias_, op.bias, N, D, Dp);
  }

  // Step t, from the states in a record into those of the next.
  void forward(float* rec, float* next, const Streams& at, int64_t t) const {
    const int64_t rows = at.count, in = padded(E);
    each(at, t, [&](int64_t r, int64_t n, bool there) {
      float *g = slots_of(rec, r, n), *m = heard(rec, r) + n * D;
      if (!there) {
        clear(g, slots.size);
        clear(m, D);
        return;
      }
      norm(state_of(rec, r, n) + told, g, m, n);
      const int64_t place = op.given.at(at.first + r, t, n);
      fetch(g + raw, op.given, place, E, Ep);
      fetch(g + z, op.given, place + E, E, Ep);
    });
    for (int64_t n = 0; n < N; n++) {
      float *g = slots_of(rec, 0, n), *s = state_of(next, 0, n);
      for (int64_t i = 0; i < 2; i++)
        product({heard(rec, 0), record, 1}, rows, hear_f + (n * 2 + i) * in * ND, ND, g + (i ? z : raw), record, Ep, Start::sum);
      for (int64_t r = 0; r < rows; r++)
        if (at.there(r, t)) convolve(state_of(rec, r, n), slots_of(rec, r, n), state_of(next, r, n), n);
      product({g + u, record, 1}, rows, scan_f + n * padded(Q) * E, E, g + made, record, Q, Start::zero);
      product({g + made, record, 1}, rows, dt_f + n * in * R, R, g + step, record, Ep, Start::row, dt_bias_ + n * Ep);
      for (int64_t r = 0; r < rows; r++)
        if (at.there(r, t)) scan(state_of(rec, r, n), slots_of(rec, r, n), state_of(next, r, n), n);
      product({g + y, record, 1}, rows, out_f + n * padded(D) * E, E, s + told, record, Dp, Start::zero);
    }
    each(at, t, [&](int64_t r, int64_t n, bool there) {
      if (!there) copy(state_of(next, r, n), state_of(rec, r, n), states.size);
    });
  }

  // `carry` [rows, N, states] is the gradient of the states after step t, then of those before it; `d` [rows, gradient]
  // becomes that of what lies between; `sum` has the gradients of weights.
  void backward(const float* rec, float* d, float* carry, const Streams& at, int64_t t, View gy, View gx, float* sum,
                float* scratch) const;
  // Adds the gradients of the maps over steps: of records and gradients that follow one another.
  void add_weights(const float* rec, const float* d, int64_t steps, int64_t rows, float* sum, float* panel) const;

 private:
  template <class F>
  void each(const Streams& at, int64_t t, const F& f) const {
    for (int64_t r = 0; r < at.count; r++)
      for (int64_t n = 0; n < N; n++) f(r, n, at.there(r, t));
  }

  // What a neuron said [Dp] -> normed, without gain and bias, one over the deviation, and what is heard of it [D].
  void norm(const float* x, float* g, float* m, int64_t n) const {
    float mean = 0.0f, *to = g + normed;
    Vec sum{}, squares{};
    if (op.bias) {
      for (int64_t i = 0; i < Dp; i += W) sum += load(x + i);
      mean = total(sum) / D;
    }
    for (int64_t i = 0; i < D; i++) to[i] = x[i] - mean;
    clear(to + D, Dp - D);
    for (int64_t i = 0; i < Dp; i += W) squares += load(to + i) * load(to + i);
    g[inverse] = op.gain ? 1.0f / std::sqrt(total(squares) / D + op.epsilon) : 1.0f;
    float part[W];
    for (int64_t i = 0; i < D; i += W) {
      Vec v = load(to + i) * g[inverse];
      store(to + i, v);
      if (op.gain) v *= load(gain_ + n * Dp + i);
      if (op.bias) v += load(bias_ + n * Dp + i);
      store(part, v);
      copy(m + i, part, std::min<int64_t>(W, D - i));
    }
  }

  void convolve(const float* s, float* g, float* next, int64_t n) const {
    const float* w = taps + n * K * Ep;
    for (int64_t e = 0; e < Ep; e += W) {
      Vec sum = load(conv_bias_ + n * Ep + e) + load(g + raw + e) * load(w + (K - 1) * Ep + e);
      for (int64_t k = 0; k + 1 < K; k++) {
        const Vec now = load(s + window + k * Ep + e);
        sum += now * load(w + k * Ep + e);
        if (k) store(next + window + (k - 1) * Ep + e, now);
      }
      if (K > 1) store(next + window + (K - 2) * Ep + e, load(g + raw + e));
      store(g + a + e, sum);
      store(g + u + e, sum * sigmoid(sum));
    }
  }

  void scan(const float* s, float* g, float* next, int64_t n) const {
    int64_t e = 0;
    for (; e + 2 * W <= Ep; e += 2 * W) back ? scan<2, true>(s, g, next, n, e) : scan<2, false>(s, g, next, n, e);
    for (; e < Ep; e += W) back ? scan<1, true>(s, g, next, n, e) : scan<1, false>(s, g, next, n, e);
  }
  template <int G, bool KEEP>
  void scan(const float* s, float* g, float* next, int64_t n, int64_t e) const {
    Vec size[G], in[G], sum[G];
    for (int j = 0; j < G; j++) {
      Vec d;
      size[j] = softplus(load(g + step + e + j * W), d);
      in[j] = size[j] * load(g + u + e + j * W);
      sum[j] = Vec{};
      store(g + step + e + j * W, size[j]);
      store(g + slope + e + j * W, d);
    }
    for (int64_t i = 0; i < S; i++) {
      const Vec b = all(g[made + R + i]), c = all(g[made + R + S + i]);
      for (int j = 0; j < G; j++) {
        const int64_t at = i * Ep + e + j * W;
        const Vec keep = exp2(size[j] * load(rates + n * S * Ep + at)), now = keep * load(s + h + at) + in[j] * b;
        if (KEEP) store(g + decay + at, keep);
        store(next + h + at, now);
        sum[j] += now * c;
      }
    }
    for (int j = 0; j < G; j++) {
      const int64_t at = e + j * W;
      const Vec gate = load(g + z + at), whole = sum[j] + load(skip_ + n * Ep + at) * load(g + u + at);
      store(g + summed + at, whole);
      store(g + y + at, whole * gate * sigmoid(gate));
    }
  }

  void unscan(const float* s, const float* g, float* d, float* dz, float* c, int64_t n, float* sum, float* lanes) const;
  template <int G>
  void unscan(const float* s, const float* g, float* d, float* dz, float* c, int64_t n, float* sum, float* lanes, int64_t e) const;
  void unconvolve(const float* s, const float* g, float* d, float* du, float* c, int64_t n, float* sum) const;
  void unnorm(const float* g, const float* gm, float* c, int64_t n, float* sum) const;

  std::unique_ptr<Buffer> buffer_;
  float *hear_f, *scan_f, *dt_f, *out_f, *hear_b, *scan_b, *dt_b, *out_b;  // maps in panels, forward and back
  float *rates, *taps, *conv_bias_, *dt_bias_, *skip_, *gain_, *bias_;
};

}  // namespace
}  // namespace inn
