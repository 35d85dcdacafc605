// The step of `elm`, which has two products: hidden units from the leaked state, and the state's change from those.
#pragma once

#include "block.h"

namespace inn {
namespace {

class Leaky final : public Cell {  // a record: m, κ m [Hp], the hidden units [Mp], the tanh [Hp]
  const int64_t Mp;                // gradients: of the hidden units' sums, of the tanh's

 public:
  Leaky(const Loop& op, const Plan& plan)
      : Cell(op, plan, 1, 3 * plan.Hp + whole(op.I), plan.Hp + whole(op.I), plan.Hp * whole(op.I),
             2 * plan.Hp * whole(op.I) + 3 * plan.Hp),
        Mp(whole(op.I)),
        buffer_(op.P * (4 * (Mp + PANEL) * (plan.Hp + PANEL) + 3 * plan.Hp) + 2 * matrix) {
    const int64_t H = op.H, M = op.I, Hp = plan.Hp;
    float *hidden = buffer_.take(matrix), *out = buffer_.take(matrix);
    for (float*& p : panels_) p = buffer_.take(op.P * (Mp + PANEL) * (Hp + PANEL));
    parameters_ = buffer_.take(op.P * 3 * Hp);
    clear(hidden, matrix);
    clear(out, matrix);
    clear(parameters_, op.P * 3 * Hp);
    for (int64_t p = 0; p < op.P; p++) {
      for (int64_t m = 0; m < M; m++) copy(hidden + m * Hp, op.weights[0] + (p * M + m) * H, H);
      for (int64_t h = 0; h < H; h++) copy(out + h * Mp, op.weights[1] + (p * H + h) * M, M);
      pack(own(0, p), hidden, Hp, 1, Mp, Hp);
      pack(own(1, p), out, Mp, 1, Hp, Mp);
      pack(own(2, p), hidden, Mp, Hp, Hp, 1);
      pack(own(3, p), out, Hp, Mp, Mp, 1);
      for (int k = 0; k < 3; k++) copy(parameters_ + (p * 3 + k) * Hp, op.weights[2 + k] + p * H, H);
    }
  }

  void forward(float* rec, float* next, const Block& at, int64_t t, int64_t) const override {
    const int64_t Hp = plan.Hp;
    for (int64_t r = 0; r < at.count; r++) {
      const float *m = rec + r * record, *keep = parameter(at, r, 1);
      float* leaked = rec + r * record + Hp;
      for (int64_t j = 0; j < Hp; j += W) store(leaked + j, load(m + j) * load(keep + j));
      if (at.there(r, 0, t))
        fetch(leaked + Hp, op.x, at.at(op.x, r, 0, t), op.I, Mp);
      else
        clear(leaked + Hp, Mp);
      copy(leaked + Hp + Mp, parameter(at, r, 0), Hp);
    }
    add_product({rec + Hp, record, 1}, at.count, own(0, at.group), Hp, rec + 2 * Hp, record, Mp);
    for (int64_t r = 0; r < at.count; r++)
      for (float *p = rec + r * record + 2 * Hp, *end = p + Mp; p < end; p += W) {
        const Vec v = load(p);
        store(p, v < Vec{} ? Vec{} : v);
      }
    add_product({rec + 2 * Hp, record, 1}, at.count, own(1, at.group), Mp, rec + 2 * Hp + Mp, record, Hp);
    for (int64_t r = 0; r < at.count; r++) {
      const float *m = rec + r * record, *take = parameter(at, r, 2);
      float *t1 = rec + r * record + 2 * Hp + Mp, *n = next + r * record;
      if (!at.there(r, 0, t)) {
        copy(n, m, Hp);
        continue;
      }
      for (int64_t j = 0; j < Hp; j += W) {
        const Vec bent = tanh(load(t1 + j) * (2.0f / 3.0f));
        store(t1 + j, bent);
        store(n + j, load(m + Hp + j) + load(take + j) * 1.7159f * bent);
      }
    }
  }

  void backward(const float* rec, float* d, float* carry, const float* gy, const Block& at, int64_t t, int64_t, float* sum,
                View gx, float*) const override {
    const int64_t Hp = plan.Hp;
    float* total = sum + 2 * matrix;
    for (int64_t r = 0; r < at.count; r++) {
      const float *t1 = rec + r * record + 2 * Hp + Mp, *take = parameter(at, r, 2);
      float *c = carry + r * Hp, *to = d + r * gradient;
      clear(to, Mp + Hp);
      for (int64_t j = 0; j < Hp && at.there(r, 0, t); j += W) {
        const Vec g = load(c + j) + load(gy + r * Hp + j), bent = load(t1 + j);
        const Vec own = g * load(take + j) * (1.7159f * 2.0f / 3.0f) * (1.0f - bent * bent);
        store(c + j, g);
        store(to + Mp + j, own);
        store(total + j, load(total + j) + own);
        store(total + 2 * Hp + j, load(total + 2 * Hp + j) + g * 1.7159f * bent);
      }
    }
    add_product({d + Mp, gradient, 1}, at.count, own(3, at.group), Hp, d, gradient, Mp);
    for (int64_t r = 0; r < at.count; r++) {
      const float* hidden = rec + r * record + 2 * Hp;
      float* to = d + r * gradient;
      for (int64_t j = 0; j < Mp; j += W) store(to + j, load(hidden + j) > Vec{} ? load(to + j) : Vec{});
      write(gx, at.at(gx, r, 0, t), to, op.I);
    }
    add_product({d, gradient, 1}, at.count, own(2, at.group), Mp, carry, Hp, Hp);
    for (int64_t r = 0; r < at.count; r++) {
      const float *m = rec + r * record, *keep = parameter(at, r, 1);
      float* c = carry + r * Hp;
      for (int64_t j = 0; j < Hp && at.there(r, 0, t); j += W) {
        store(total + Hp + j, load(total + Hp + j) + load(c + j) * load(m + j));
        store(c + j, load(c + j) * load(keep + j));
      }
    }
  }

  void add_weights(const float* rec, int64_t step, const float* d, int64_t steps, int64_t rows, int64_t, float* sum,
                   float* panel) const override {
    const int64_t Hp = plan.Hp;
    const auto product = [&](int64_t from, int64_t columns, int64_t at, int64_t wide, float* to) {
      for (int64_t p = 0; p < columns; p += PANEL) {
        const int64_t count = std::min(PANEL, columns - p);
        gather(panel, rec + from + p, steps, step, rows, record, count);
        strip({d + at, 1, gradient}, wide, panel, PANEL, steps * rows, to + p, columns, count, Start::sum);
      }
    };
    product(Hp, Hp, 0, Mp, sum);
    product(2 * Hp, Mp, Mp, Hp, sum + matrix);
  }

  void finish(int64_t group, const float* sum, const LoopGradients& to) const override {
    const int64_t H = op.H, M = op.I;
    for (int64_t m = 0; m < M; m++) copy(to.weights[0] + (group * M + m) * H, sum + m * plan.Hp, H);
    for (int64_t h = 0; h < H; h++) copy(to.weights[1] + (group * H + h) * M, sum + matrix + h * Mp, M);
    for (int k = 0; k < 3; k++) copy(to.weights[2 + k] + group * H, sum + 2 * matrix + k * plan.Hp, H);
  }

 private:
  float* own(int i, int64_t group) const { return panels_[i] + group * (Mp + PANEL) * (plan.Hp + PANEL); }
  const float* parameter(const Block& at, int64_t r, int k) const {
    return parameters_ + ((op.P > 1 ? at.neuron(r, 0) : 0) * 3 + k) * plan.Hp;
  }

  Buffer buffer_;
  float *panels_[4], *parameters_;
};

}  // namespace
}  // namespace inn
