// Rows step in blocks that stay in the first cache; a block's weights lie in panels. Blocks are independent, so threads
// share them out. The backward pass goes through chunks of steps from the last to the first: their records were kept, or
// are computed again from the states before the chunk; then step by step through the gradients, which are kept for the
// chunk, so that those of the weights are one product.

#include "loop.h"

#include <stdexcept>
#include <utility>

#include "gated.h"
#include "leaky.h"

namespace inn {
namespace {

std::unique_ptr<Cell> make_cell(const Loop& op, const Plan& plan) {
  switch (op.kind) {
    case Kind::elman: return std::make_unique<Gated<Elman>>(op, plan);
    case Kind::gru: return std::make_unique<Gated<Gru>>(op, plan);
    case Kind::lstm: return std::make_unique<Gated<Lstm>>(op, plan);
    case Kind::slstm: return std::make_unique<Gated<Slstm>>(op, plan);
    case Kind::liquid: return std::make_unique<Gated<Liquid>>(op, plan);
    case Kind::rhn: return std::make_unique<Gated<Rhn>>(op, plan);
    case Kind::elm: return std::make_unique<Leaky>(op, plan);
    case Kind::lif: return std::make_unique<Gated<Spiking<false>>>(op, plan);
    default: return std::make_unique<Gated<Spiking<true>>>(op, plan);
  }
}

// [states, Q, Hp] of a row <-> [B, N, states, H] as the caller has it.
template <class F>
void each_state(const Block& at, int64_t r, int64_t count, const F& f) {
  const Plan& plan = at.plan;
  for (int64_t q = 0; q < plan.Q; q++)
    for (int64_t s = 0; s < count; s++)
      f(((at.stream(r) * at.op.N + at.neuron(r, q)) * count + s) * at.op.H, s * plan.U + q * plan.Hp);
}

// The records of a block's steps: all of them one after the other, or two in turn.
struct Records {
  float* data;
  int64_t size, first, mask;  // floats of a record of all rows; the number of the first; which bits of a number count
  float* at(int64_t m) const { return data + ((m - first) & mask) * size; }
};

// Runs steps t0 .. t1 - 1 from the states in the first record; `before(t)` is called before a step, `after` behind it.
template <class Before, class After>
void advance(const Cell& cell, const Block& at, const Records& records, int64_t t0, int64_t t1, float* end,
             const Before& before, const After& after) {
  for (int64_t t = t0; t < t1; t++)
    for (int64_t l = 0; l < cell.L; l++) {
      const int64_t m = t * cell.L + l;
      float* rec = records.at(m);
      float* next = m + 1 == t1 * cell.L ? end : records.at(m + 1);
      if (l == 0) {
        before(t, rec);
        for (int64_t r = 0; r < at.count; r++)
          if (at.fresh(r, t)) clear(rec + r * cell.record, cell.states * cell.plan.U);
      }
      cell.forward(rec, next, at, t, l);
      if (l + 1 == cell.L) after(t, rec, next);
    }
}

void run(const Loop& op, const Plan& plan, const Cell& cell, int64_t floats, View y, float* last, float* kept) {
  const int64_t size = BLOCK_ROWS * cell.record, all = cell.states * plan.U;
  parallel(plan.groups * plan.blocks, op.threads, op.T * cell.L * BLOCK_ROWS * (cell.matrix + 64 * plan.U), [&] {
    Buffer own(3 * size + whole(op.H));
    float *ring = own.take(3 * size), *zeros = own.take(whole(op.H));
    clear(zeros, op.H);
    return [=, &op, &plan, &cell, own = std::move(own)](int64_t task) {
      const Block at(op, plan, task);
      const bool every = kept && op.every;
      const Records records{every ? kept + task * floats : ring, size, 0, every ? -1 : 1};
      float *first = records.at(0), *end = ring + 2 * size;
      for (int64_t r = 0; r < at.count; r++) {
        float* to = first + r * cell.record;
        clear(to, all);
        each_state(at, r, cell.states, [&](int64_t given, int64_t ours) { copy(to + ours, op.state + given, op.H); });
      }
      advance(
          cell, at, records, 0, op.T, end,
          [&](int64_t t, const float* rec) {
            if (kept && !every && t % op.period == 0)
              for (int64_t r = 0; r < at.count; r++)
                copy(kept + task * floats + (t / op.period * BLOCK_ROWS + r) * all, rec + r * cell.record, all);
          },
          [&](int64_t t, const float* rec, const float* next) {
            for (int64_t r = 0; r < at.count; r++)
              for (int64_t q = 0; q < plan.Q; q++)
                write(y, at.at(y, r, q, t), at.there(r, q, t) ? cell.out(rec, next, r, q) : zeros, op.H);
          });
      for (int64_t r = 0; r < at.count; r++)
        each_state(at, r, cell.states, [&](int64_t given, int64_t ours) {
          copy(last + given, end + r * cell.record + ours, op.H);
        });
    };
  });
}

void run_back(const Loop& op, const Plan& plan, const Cell& cell, int64_t floats, View gy, const float* last, const float* kept,
              const LoopGradients& to) {
  const int64_t size = BLOCK_ROWS * cell.record, all = cell.states * plan.U, C = std::min(op.period, op.T), L = cell.L;
  const int64_t width = BLOCK_ROWS * cell.gradient;
  // A task goes through some of a group's blocks; each has sums of its own, added up in their order.
  const int64_t slices = std::min<int64_t>(plan.blocks, std::max<int64_t>(1, 64 / plan.groups));
  const bool timed = op.kind == Kind::liquid;
  Buffer shared(plan.groups * slices * whole(cell.sums) + (timed ? op.B * op.N * op.T : 0));
  float* sums = shared.take(plan.groups * slices * whole(cell.sums));
  float* gtime = timed ? shared.take(op.B * op.N * op.T) : nullptr;  // [B, N, T]
  if (timed) clear(gtime, op.B * op.N * op.T);

  const int64_t cost = op.T * L * BLOCK_ROWS * (2 * cell.matrix + 128 * plan.U) * plan.blocks / slices;
  parallel(plan.groups * slices, op.threads, cost, [&] {
    Buffer own((op.every ? 1 : C * L + 1) * size + C * L * width + BLOCK_ROWS * (all + plan.U) + C * BLOCK_ROWS * PANEL + 64);
    float *tape = own.take((op.every ? 1 : C * L + 1) * size), *d = own.take(C * L * width);
    float *carry = own.take(BLOCK_ROWS * all), *g = own.take(BLOCK_ROWS * plan.U), *panel = own.take(C * BLOCK_ROWS * PANEL);
    clear(g, BLOCK_ROWS * plan.U);
    return [=, &op, &plan, &cell, own = std::move(own)](int64_t task) {
      const int64_t group = task / slices, slice = task % slices;
      float* sum = sums + task * whole(cell.sums);
      clear(sum, cell.sums);
      for (int64_t i = slice * plan.blocks / slices; i < (slice + 1) * plan.blocks / slices; i++) {
        const int64_t block = group * plan.blocks + i;
        const Block at(op, plan, block);
        clear(carry, BLOCK_ROWS * all);
        for (int64_t r = 0; last && r < at.count; r++)
          each_state(at, r, cell.states, [&](int64_t given, int64_t ours) { copy(carry + r * all + ours, last + given, op.H); });
        for (int64_t t1 = op.T; t1 > 0;) {
          const int64_t t0 = (t1 - 1) / C * C, steps = t1 - t0;
          const float* own_kept = kept + block * floats;
          // a kept record is only read
          Records records{op.every ? const_cast<float*>(own_kept) : tape, size, op.every ? 0 : t0 * L, -1};
          if (!op.every) {
            for (int64_t r = 0; r < at.count; r++)
              copy(tape + r * cell.record, own_kept + (t0 / C * BLOCK_ROWS + r) * all, all);
            const auto nothing = [](auto...) {};
            advance(cell, at, records, t0, t1, tape + steps * L * size, nothing, nothing);
          }
          for (int64_t t = t1 - 1; t >= t0; t--) {
            for (int64_t r = 0; r < at.count; r++)
              for (int64_t q = 0; q < plan.Q; q++)
                read(g + r * plan.U + q * plan.Hp, gy, at.at(gy, r, q, t), op.H);
            for (int64_t l = L - 1; l >= 0; l--)
              cell.backward(records.at(t * L + l), d + (l * steps + t - t0) * at.count * cell.gradient, carry,
                            l == L - 1 ? g : nullptr, at, t, l, sum, to.x, gtime);
            for (int64_t r = 0; r < at.count; r++)
              if (at.fresh(r, t)) clear(carry + r * all, all);
          }
          for (int64_t l = 0; l < L; l++)
            cell.add_weights(records.at(t0 * L + l), L * size, d + l * steps * at.count * cell.gradient, steps, at.count, l,
                             sum, panel);
          t1 = t0;
        }
        for (int64_t r = 0; r < at.count; r++)
          each_state(at, r, cell.states, [&](int64_t given, int64_t ours) {
            copy(to.state + given, carry + r * all + ours, op.H);
          });
      }
    };
  });

  parallel(plan.groups, op.threads, slices * cell.sums, [&] {
    return [&](int64_t group) {
      float* sum = sums + group * slices * whole(cell.sums);
      for (int64_t s = 1; s < slices; s++)
        for (int64_t i = 0; i < cell.sums; i++) sum[i] += sum[s * whole(cell.sums) + i];
      cell.finish(group, sum, to);
    };
  });
  for (int64_t b = 0; timed && b < op.B; b++)
    for (int64_t t = 0; t < op.T; t++) {
      float sum = 0.0f;
      for (int64_t n = 0; n < op.N; n++) sum += gtime[(b * op.N + n) * op.T + t];
      to.weights[1][b * op.T + t] = sum;
    }
}

// Floats that are kept of a block.
int64_t kept_floats(const Loop& op, const Plan& plan, const Cell& cell) {
  if (op.every) return op.T * cell.L * BLOCK_ROWS * cell.record;
  return (op.T + op.period - 1) / op.period * BLOCK_ROWS * cell.states * plan.U;
}

}  // namespace

void loop_forward(const Loop& op, View y, float* last, const std::function<float*(int64_t, int64_t)>& keep) {
  const Plan plan(op);
  const auto cell = make_cell(op, plan);
  const int64_t floats = kept_floats(op, plan, *cell);
  run(op, plan, *cell, floats, y, last, keep(plan.groups * plan.blocks, floats));
}

void loop_backward(const Loop& op, View gy, const float* last, const float* kept, int64_t size, const LoopGradients& to) {
  const Plan plan(op);
  const auto cell = make_cell(op, plan);
  const int64_t floats = kept_floats(op, plan, *cell);
  if (size != plan.groups * plan.blocks * floats) throw std::invalid_argument("kept is not what the loop kept");
  run_back(op, plan, *cell, floats, gy, last, kept, to);
}

}  // namespace inn
