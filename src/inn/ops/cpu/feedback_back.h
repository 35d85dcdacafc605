// A step's gradients (feedback_step.h).
#pragma once

#include "feedback_step.h"

namespace inn {
namespace {

void add(float* to, Vec v) { store(to, load(to) + v); }

void FeedbackStep::backward(const float* rec, float* d, float* carry, const Streams& at, int64_t t,
                            View gy, View gx, float* sum, float* scratch) const {
  const int64_t rows = at.count, in = padded(E);
  float *lanes = scratch, *gm = scratch + 2 * S * W;  // [rows, N D]: of what is heard
  const auto carried = [&](int64_t r, int64_t n) { return carry + (r * N + n) * states.size; };
  const auto between = [&](int64_t r, int64_t n) { return d + r * gradient + n * 2 * Ep; };  // of signal and gate
  each(at, t, [&](int64_t r, int64_t n, bool there) {
    float *g = gradients_of(d, r, n) + gtold, *c = carried(r, n) + told;
    clear(g, Dp);
    if (!there) return;
    read(g, gy, gy.at(at.first + r, t, n), D);
    for (int64_t i = 0; i < Dp; i += W) add(g + i, load(c + i));
  });
  for (int64_t n = 0; n < N; n++) {
    float* g = gradients_of(d, 0, n);
    product({g + gtold, gradient, 1}, rows, out_b + n * in * D, D, g + gu, gradient, Ep, Start::zero);
    for (int64_t r = 0; r < rows; r++) {
      if (at.there(r, t)) {
        unscan(state_of(rec, r, n), slots_of(rec, r, n), gradients_of(d, r, n), between(r, n) + Ep, carried(r, n), n, sum, lanes);
      } else {
        clear(gradients_of(d, r, n), gradients.size);
        clear(between(r, n), 2 * Ep);
      }
    }
    product({g + gdt, gradient, 1}, rows, dt_b + n * padded(R) * E, E, g + gmade, gradient, R, Start::zero);
    product({g + gmade, gradient, 1}, rows, scan_b + n * in * Q, Q, g + gu, gradient, Ep, Start::sum);
    for (int64_t r = 0; r < rows; r++)
      if (at.there(r, t))
        unconvolve(state_of(rec, r, n), slots_of(rec, r, n), gradients_of(d, r, n), between(r, n), carried(r, n), n, sum);
  }
  product({d, gradient, 1}, rows, hear_b, N * 2 * Ep, gm, whole(ND), ND, Start::zero);
  each(at, t, [&](int64_t r, int64_t n, bool there) {
    const int64_t place = gx.at(at.first + r, t, n);
    write(gx, place, between(r, n), E);
    write(gx, place + E, between(r, n) + Ep, E);
    if (there) unnorm(slots_of(rec, r, n), gm + r * whole(ND) + n * D, carried(r, n) + told, n, sum);
  });
}

// From the gradient of what goes out (in `gu`): of the gate, of dt, of B and C; `gu` becomes that of u.
void FeedbackStep::unscan(const float* s, const float* g, float* d, float* dz, float* c, int64_t n, float* sum,
                          float* lanes) const {
  clear(lanes, 2 * S * W);
  int64_t e = 0;
  for (; e + 2 * W <= Ep; e += 2 * W) unscan<2>(s, g, d, dz, c, n, sum, lanes, e);
  for (; e < Ep; e += W) unscan<1>(s, g, d, dz, c, n, sum, lanes, e);
  add_lanes(d + gmade + R, lanes, 2 * S);
}

template <int G>
void FeedbackStep::unscan(const float* s, const float* g, float* d, float* dz, float* c, int64_t n, float* sum,
                          float* lanes, int64_t e) const {
  Vec go[G], size[G], in[G], through_u[G], through_step[G];
  for (int j = 0; j < G; j++) {
    const int64_t at = e + j * W;
    const Vec gate = load(g + z + at), open = sigmoid(gate), out = load(d + gu + at) * open;
    go[j] = out * gate;
    store(dz + at, out * load(g + summed + at) * (1.0f + gate * (1.0f - open)));
    size[j] = load(g + step + at);
    in[j] = size[j] * load(g + u + at);
    through_u[j] = through_step[j] = Vec{};
  }
  const int64_t own = n * S * Ep;
  for (int64_t i = 0; i < S; i++) {
    const Vec b = all(g[made + R + i]), seen = all(g[made + R + S + i]);
    Vec to_b = load(lanes + i * W), to_c = load(lanes + (S + i) * W);
    for (int j = 0; j < G; j++) {
      const int64_t at = i * Ep + e + j * W;
      const Vec gh = load(c + h + at) + go[j] * seen;
      to_b += gh * in[j];
      through_u[j] += gh * b;
      const Vec keep = load(g + decay + at), old = load(s + h + at), before = gh * keep, exponent = before * old;
      to_c += (keep * old + in[j] * b) * go[j];
      store(c + h + at, before);
      through_step[j] += exponent * load(rates + own + at);
      add(sum + A + own + at, exponent * size[j]);
    }
    store(lanes + i * W, to_b);
    store(lanes + (S + i) * W, to_c);
  }
  for (int j = 0; j < G; j++) {
    const int64_t at = e + j * W;
    const Vec now = load(g + u + at), gdt_ = (through_step[j] * LN2 + through_u[j] * now) * load(g + slope + at);
    store(d + gdt + at, gdt_);
    store(d + gu + at, go[j] * load(skip_ + n * Ep + at) + through_u[j] * size[j]);
    add(sum + dt_bias + n * Ep + at, gdt_);
    add(sum + skip + n * Ep + at, go[j] * now);
  }
}

void FeedbackStep::unconvolve(const float* s, const float* g, float* d, float* du, float* c, int64_t n, float* sum) const {
  const float* w = taps + n * K * Ep;
  float* to = sum + conv_weight + n * K * Ep;
  for (int64_t e = 0; e < Ep; e += W) {
    const Vec v = load(g + a + e), open = sigmoid(v), ga = load(d + gu + e) * open * (1.0f + v * (1.0f - open));
    Vec now = ga * load(w + (K - 1) * Ep + e);
    if (K > 1) now += load(c + window + (K - 2) * Ep + e);
    store(du + e, now);
    add(to + (K - 1) * Ep + e, ga * load(g + raw + e));
    for (int64_t k = K - 2; k >= 0; k--) {
      add(to + k * Ep + e, ga * load(s + window + k * Ep + e));
      const Vec later = k ? load(c + window + (k - 1) * Ep + e) : Vec{};
      store(c + window + k * Ep + e, later + ga * load(w + k * Ep + e));
    }
    add(sum + conv_bias + n * Ep + e, ga);
  }
}

// From the gradient of what is heard of a neuron [D] to that of what it said, `c` [Dp].
void FeedbackStep::unnorm(const float* g, const float* gm, float* c, int64_t n, float* sum) const {
  copy(c, gm, D);
  clear(c + D, Dp - D);
  if (!op.gain) return;
  const float* x = g + normed;
  Vec first{}, second{};
  for (int64_t i = 0; i < Dp; i += W) {
    const Vec v = load(c + i), own = v * load(gain_ + n * Dp + i);
    add(sum + gain + n * Dp + i, v * load(x + i));
    if (op.bias) add(sum + bias + n * Dp + i, v);
    first += own;
    second += own * load(x + i);
    store(c + i, own);
  }
  const float mean = op.bias ? total(first) / D : 0.0f, slope = total(second) / D;
  for (int64_t i = 0; i < Dp; i += W) store(c + i, (load(c + i) - mean - load(x + i) * slope) * g[inverse]);
  clear(c + D, Dp - D);
}

void FeedbackStep::add_weights(const float* rec, const float* d, int64_t steps, int64_t rows, float* sum, float* panel) const {
  // gW [O, I] += d^T x over steps and rows
  const auto add_map = [&](const float* d, int64_t O, const float* x, int64_t I, float* to, int64_t row) {
    for (int64_t p = 0; p < I; p += PANEL) {
      const int64_t wide = std::min(PANEL, I - p);
      gather(panel, x + p, steps, BLOCK_ROWS * record, rows, record, wide);
      strip({d, 1, gradient}, O, panel, PANEL, steps * rows, to + p, row, wide, Start::sum);
    }
  };
  add_map(d, N * 2 * Ep, heard(rec, 0), ND, sum + hear, ND);
  for (int64_t n = 0; n < N; n++) {
    const float *g = gradients_of(d, 0, n), *s = slots_of(rec, 0, n);
    add_map(g + gmade, Q, s + u, E, sum + to_scan + n * Q * Ep, Ep);
    add_map(g + gdt, E, s + made, R, sum + to_dt + n * Ep * R, R);
    add_map(g + gtold, D, s + y, E, sum + out + n * Dp * Ep, Ep);
  }
}

}  // namespace
}  // namespace inn
