// The steps of the cells with one product, or none (cells.h). A record: the states, then the slots [Q, SLOTS, Hp].
#pragma once

#include "block.h"
#include "cells.h"

namespace inn {
namespace {

template <class E>
class Gated final : public Cell {
  static constexpr int STATES = E::STATES;

 public:
  Gated(const Loop& op, const Plan& plan)
      : Cell(op, plan, STATES, plan.U * STATES + plan.Q * E::SLOTS * plan.Hp, plan.Q * E::GRADIENTS * plan.Hp,
             plan.Q * E::PRODUCTS * plan.Hp * plan.U,
             op.layers * plan.Q * plan.Hp * (E::PRODUCTS * plan.U + E::PARAMETERS)),
        buffer_(plan.groups * L * (forward_size() + backward_size() + matrix) + op.P * L * E::PARAMETERS * plan.Hp) {
    forward_ = buffer_.take(plan.groups * L * forward_size());
    backward_ = buffer_.take(plan.groups * L * backward_size());
    parameters_ = buffer_.take(op.P * L * E::PARAMETERS * plan.Hp);
    float* copies = buffer_.take(plan.groups * L * matrix);
    if constexpr (E::PRODUCTS > 0)
      parallel(plan.groups * L, op.threads, matrix, [&] {
        return [&](int64_t i) {
          const int64_t O1 = E::PRODUCTS * this->plan.Hp, U = this->plan.U;
          const float* dense = this->op.weights[0] + i * matrix;
          if (this->plan.Hp != this->op.H || (this->plan.Q > 1 && L > 1)) {  // not as we want them
            float* own = copies + i * matrix;
            clear(own, matrix);
            each_row(i / L, i % L,
                     [&](int64_t given, int64_t ours) { copy(own + ours, this->op.weights[0] + given, this->op.H); });
            dense = own;
          }
          for (int64_t q = 0; steps() && q < this->plan.Q; q++)
            pack(forward_ + i * forward_size() + q * padded(O1) * U, dense + q * O1 * U, U, 1, O1, U);
          if (this->op.back) pack(backward_ + i * backward_size(), dense, O(), U, U, 1);
        };
      });
    clear(parameters_, op.P * L * E::PARAMETERS * plan.Hp);
    for (int64_t set = 0; set < op.P; set++)
      for (int64_t l = 0; l < L; l++)
        for (int k = 0; k < E::PARAMETERS; k++)
          copy(parameters_ + ((set * L + l) * E::PARAMETERS + k) * plan.Hp, parameter(op.weights, set, l, k), op.H);
  }

  void forward(float* rec, float* next, const Block& at, int64_t t, int64_t l) const override {
    for (int64_t r = 0; r < at.count; r++)
      for (int64_t q = 0; q < plan.Q; q++) {
        float* g = slots(rec, r, q);
        const bool in = l == 0 && at.there(r, q, t);
        for (int k = 0; k < E::PRODUCTS; k++)
          if (!in || k >= E::INPUTS || E::in[k] != k) clear(g + k * plan.Hp, plan.Hp);
        for (int k = 0; in && k < E::INPUTS; k++)
          fetch(g + E::in[k] * plan.Hp, op.x, at.at(op.x, r, q, t) + k * op.H, op.H, plan.Hp);
        for (int k = 0; !in && k < E::INPUTS; k++) clear(g + E::in[k] * plan.Hp, plan.Hp);
      }
    if constexpr (E::PRODUCTS > 0) {
      const int64_t O1 = E::PRODUCTS * plan.Hp;
      const float* panels = forward_ + (at.group * L + l) * forward_size();
      for (int64_t q = 0; q < plan.Q; q++)
        add_product({rec, record, 1}, at.count, panels + q * padded(O1) * plan.U, plan.U, slots(rec, 0, q), record, O1);
    }
    for (int64_t r = 0; r < at.count; r++)
      for (int64_t q = 0; q < plan.Q; q++) {
        const float *s = rec + r * record + q * plan.Hp, *p = parameters(at.neuron(r, q), l);
        float *n = next + r * record + q * plan.Hp, *g = slots(rec, r, q);
        if (!at.there(r, q, t)) {
          for (int k = 0; k < STATES; k++) copy(n + k * plan.U, s + k * plan.U, plan.Hp);
          continue;
        }
        Unit u;
        u.dt = time(at.stream(r), t);
        for (int64_t j = 0; j < plan.Hp; j += W) {
          Vec gates[E::SLOTS], before[STATES], after[STATES];
          for (int k = 0; k < E::SLOTS; k++) gates[k] = load(g + k * plan.Hp + j);
          for (int k = 0; k < STATES; k++) before[k] = load(s + k * plan.U + j);
          for (int k = 0; k < E::PARAMETERS; k++) u.p[k] = load(p + k * plan.Hp + j);
          E::forward(gates, before, after, u);
          for (int k = 0; k < E::SLOTS; k++) store(g + k * plan.Hp + j, gates[k]);
          for (int k = 0; k < STATES; k++) store(n + k * plan.U + j, after[k]);
        }
      }
  }

  const float* out(const float* rec, const float* next, int64_t r, int64_t q) const override {
    if constexpr (E::OUT >= 0) return rec + r * record + plan.U * STATES + (q * E::SLOTS + E::OUT) * plan.Hp;
    return Cell::out(rec, next, r, q);
  }

  void backward(const float* rec, float* d, float* carry, const float* gy, const Block& at, int64_t t, int64_t l,
                float* sum, View gx, float* gtime) const override {
    float* total = sum + L * matrix + l * plan.Q * E::PARAMETERS * plan.Hp;
    for (int64_t r = 0; r < at.count; r++)
      for (int64_t q = 0; q < plan.Q; q++) {
        float *c = carry + r * STATES * plan.U + q * plan.Hp, *to = d + r * gradient + q * E::GRADIENTS * plan.Hp;
        if (!at.there(r, q, t)) {
          clear(to, E::GRADIENTS * plan.Hp);
        } else {
          const float *s = rec + r * record + q * plan.Hp, *g = slots(rec, r, q), *p = parameters(at.neuron(r, q), l);
          float* gp = total + q * E::PARAMETERS * plan.Hp;
          Unit u;
          u.dt = time(at.stream(r), t);
          u.gdt = Vec{};
          for (int64_t j = 0; j < plan.Hp; j += W) {
            Vec gates[E::SLOTS], before[STATES], after[STATES], own[E::GRADIENTS];
            for (int k = 0; k < E::SLOTS; k++) gates[k] = load(g + k * plan.Hp + j);
            for (int k = 0; k < STATES; k++) before[k] = load(s + k * plan.U + j);
            for (int k = 0; k < STATES; k++) after[k] = load(c + k * plan.U + j);
            for (int k = 0; k < E::PARAMETERS; k++) {
              u.p[k] = load(p + k * plan.Hp + j);
              u.g[k] = load(gp + k * plan.Hp + j);
            }
            E::backward(gates, before, gy ? load(gy + r * plan.U + q * plan.Hp + j) : Vec{}, after, own, u);
            for (int k = 0; k < E::GRADIENTS; k++) store(to + k * plan.Hp + j, own[k]);
            for (int k = 0; k < STATES; k++) store(c + k * plan.U + j, after[k]);
            for (int k = 0; k < E::PARAMETERS; k++) store(gp + k * plan.Hp + j, u.g[k]);
          }
          if (gtime)
            for (int i = 0; i < W; i++) gtime[(at.stream(r) * op.N + at.neuron(r, q)) * op.T + t] += u.gdt[i];
        }
        for (int k = 0; l == 0 && k < E::INPUTS; k++)
          write(gx, at.at(gx, r, q, t) + k * op.H, to + E::in[k] * plan.Hp, op.H);
      }
    if constexpr (E::PRODUCTS > 0) {
      const int64_t O1 = E::PRODUCTS * plan.Hp;
      const float* panel = backward_ + (at.group * L + l) * backward_size();
      for (int64_t p = 0; p < plan.U; p += PANEL)
        for (int64_t q = 0; q < plan.Q; q++, panel += O1 * PANEL)
          strip({d + q * E::GRADIENTS * plan.Hp, gradient, 1}, at.count, panel, PANEL, O1, carry + p, STATES * plan.U,
                std::min(PANEL, plan.U - p), Start::sum);
    }
  }

  void add_weights(const float* rec, int64_t step, const float* d, int64_t steps, int64_t rows, int64_t l, float* sum,
                   float* panel) const override {
    if constexpr (E::PRODUCTS > 0) {
      const int64_t O1 = E::PRODUCTS * plan.Hp;
      for (int64_t p = 0; p < plan.U; p += PANEL) {
        const int64_t wide = std::min(PANEL, plan.U - p);
        gather(panel, rec + p, steps, step, rows, record, wide);
        for (int64_t q = 0; q < plan.Q; q++)
          strip({d + q * E::GRADIENTS * plan.Hp, 1, gradient}, O1, panel, PANEL, steps * rows,
                sum + l * matrix + q * O1 * plan.U + p, plan.U, wide, Start::sum);
      }
    }
  }

  void finish(int64_t group, const float* sum, const LoopGradients& to) const override {
    for (int64_t l = 0; l < L; l++) {
      if constexpr (E::PRODUCTS > 0)
        each_row(group, l, [&](int64_t given, int64_t ours) { copy(to.weights[0] + given, sum + l * matrix + ours, op.H); });
      for (int64_t q = 0; q < plan.Q; q++)
        for (int k = 0; k < E::PARAMETERS; k++)
          copy(parameter(to.weights, plan.Q > 1 ? q : group, l, k),
               sum + L * matrix + ((l * plan.Q + q) * E::PARAMETERS + k) * plan.Hp, op.H);
    }
  }

 private:
  int64_t O() const { return plan.Q * E::PRODUCTS * plan.Hp; }
  int64_t forward_size() const { return steps() ? plan.Q * padded(E::PRODUCTS * plan.Hp) * plan.U : 0; }
  int64_t backward_size() const { return op.back ? padded(plan.U) * O() : 0; }
  template <class T>
  T* slots(T* rec, int64_t r, int64_t q) const {
    return rec + r * record + plan.U * STATES + q * E::SLOTS * plan.Hp;
  }
  const float* parameters(int64_t neuron, int64_t l) const {
    return parameters_ + ((op.P > 1 ? neuron : 0) * L + l) * E::PARAMETERS * plan.Hp;
  }
  float time(int64_t stream, int64_t t) const { return op.kind == Kind::liquid ? op.weights[1][stream * op.T + t] : 0.0f; }

  // Where a parameter is in what the caller gave, or takes.
  template <class T>
  T* parameter(T* const* weights, int64_t set, int64_t l, int k) const {
    if (E::PRODUCTS == 0) return weights[k] + set * op.H;
    return weights[1] + ((set * L + l) * E::PARAMETERS + k) * op.H;
  }

  // f(where H numbers of a layer's weights are given, where we have them)
  template <class F>
  void each_row(int64_t group, int64_t l, const F& f) const {
    for (int64_t q = 0; q < plan.Q; q++)
      for (int64_t k = 0; k < E::PRODUCTS; k++)
        for (int64_t i = 0; i < op.H; i++)
          for (int64_t from = 0; from < op.K; from++) {
            const int64_t set = plan.Q > 1 ? q : group;
            f(((((set * L + l) * E::PRODUCTS + k) * op.H + i) * op.K + from) * op.H,
              ((q * E::PRODUCTS + k) * plan.Hp + i) * plan.U + from * plan.Hp);
          }
  }

  Buffer buffer_;
  float *forward_, *backward_, *parameters_;
};

}  // namespace
}  // namespace inn
