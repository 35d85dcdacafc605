// How a loop is cut into blocks of rows that step together, and what the steps of all cells have in common.
//
// A row is one stream of one neuron, or, where neurons hear the population (K = N), one stream of all of them: Q neurons,
// U = Q Hp units. Units are padded with zeros to whole cache lines, and so are the weights. Of a row's step a record is
// kept: the states before it [STATES, U], and what the cell wants for its gradient.
#pragma once

#include <cstring>

#include "loop.h"
#include "product.h"

namespace inn {
namespace {

constexpr int64_t LINE = 16;  // floats

int64_t whole(int64_t n) { return (n + LINE - 1) / LINE * LINE; }
// An odd number of lines: rows that follow one another do not compete for the same places of a cache.
int64_t spaced(int64_t n) { return (whole(n) / LINE | 1) * LINE; }

// How the work is cut; it depends on the shapes alone, and so do the results.
struct Plan {
  int64_t Hp, Q, U, groups, rows, blocks;  // a group shares its weights; blocks of BLOCK_ROWS rows in each

  explicit Plan(const Loop& op)
      : Hp(whole(op.H)), Q(op.K), U(Q * Hp), groups(Q > 1 ? 1 : op.P), rows(Q > 1 ? op.B : op.B * op.N / op.P),
        blocks((rows + BLOCK_ROWS - 1) / BLOCK_ROWS) {}
};

struct Block {
  const Loop& op;
  const Plan& plan;
  int64_t group, first, count;

  Block(const Loop& op, const Plan& plan, int64_t i)
      : op(op), plan(plan), group(i / plan.blocks), first(i % plan.blocks * BLOCK_ROWS),
        count(std::min(BLOCK_ROWS, plan.rows - first)) {}
  bool mixed() const { return plan.Q == 1 && op.P == 1; }  // rows are of different neurons
  int64_t stream(int64_t r) const { return mixed() ? (first + r) / op.N : first + r; }
  int64_t neuron(int64_t r, int64_t q) const { return plan.Q > 1 ? q : mixed() ? (first + r) % op.N : group; }
  bool fresh(int64_t r, int64_t t) const { return op.reset && op.reset[stream(r) * op.T + t]; }
  bool there(int64_t r, int64_t q, int64_t t) const {
    return !op.mask || op.mask[stream(r) * op.mask_b + t * op.mask_t + neuron(r, q) * op.mask_n];
  }
  int64_t at(const View& v, int64_t r, int64_t q, int64_t t) const { return v.at(stream(r), t, neuron(r, q)); }
};

void clear(float* p, int64_t count) { std::memset(p, 0, count * sizeof(float)); }
void copy(float* to, const float* from, int64_t count) { std::memcpy(to, from, count * sizeof(float)); }

// `count` numbers of a tensor and zeros up to `padded`.
void fetch(float* to, const View& v, int64_t offset, int64_t count, int64_t padded) {
  read(to, v, offset, count);
  clear(to + count, padded - count);
}

// C [rows, columns] += A B, B in panels of K numbers each.
void add_product(Broadcast a, int64_t rows, const float* panels, int64_t K, float* c, int64_t c_row, int64_t columns) {
  for (int64_t p = 0; p < columns; p += PANEL, panels += K * PANEL)
    strip(a, rows, panels, PANEL, K, c + p, c_row, std::min(PANEL, columns - p), Start::sum);
}

// Rows of steps, one by one, into a panel.
void gather(float* to, const float* from, int64_t steps, int64_t step, int64_t rows, int64_t row, int64_t count) {
  for (int64_t t = 0; t < steps; t++)
    for (int64_t r = 0; r < rows; r++, to += PANEL) copy(to, from + t * step + r * row, count);
}

// What the loop asks of a cell. A step has L layers, one after the other.
class Cell {
 public:
  const Loop& op;
  const Plan& plan;
  const int64_t states, L, record, gradient, matrix, sums;  // floats: of a row's record and gradients, of one layer's weights, of all gradients

  Cell(const Loop& op, const Plan& plan, int64_t states, int64_t record, int64_t gradient, int64_t matrix, int64_t sums)
      : op(op), plan(plan), states(states), L(op.layers), record(spaced(record)), gradient(spaced(gradient)),
        matrix(matrix), sums(sums) {}
  virtual ~Cell() = default;
  bool steps() const { return !op.back || !op.every; }  // whether `forward` will be called

  // Layer l of step t, from a block's records into the states of the next ones.
  virtual void forward(float* rec, float* next, const Block& at, int64_t t, int64_t l) const = 0;
  // What a neuron puts out.
  virtual const float* out(const float* rec, const float* next, int64_t r, int64_t q) const {
    return next + r * record + q * plan.Hp;
  }
  // `carry` [rows, states, U] is the gradient of the states after the step, then of those before; `gy` [rows, U] that
  // of what is put out, or null; `d` [rows, gradient] becomes that of the slots; to `gtime` [B, N, T], that of the time.
  virtual void backward(const float* rec, float* d, float* carry, const float* gy, const Block& at, int64_t t, int64_t l,
                        float* sum, View gx, float* gtime) const = 0;
  // Adds the gradient of a layer's weights over steps: `d` [steps, rows, gradient], records `step` floats apart.
  virtual void add_weights(const float* rec, int64_t step, const float* d, int64_t steps, int64_t rows, int64_t l,
                           float* sum, float* panel) const = 0;
  // The gradients of a group's weights as the caller has them.
  virtual void finish(int64_t group, const float* sum, const LoopGradients& to) const = 0;
};

}  // namespace
}  // namespace inn
