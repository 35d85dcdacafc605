// Streams step in blocks, all neurons of a step together; blocks are independent, so threads share them out. The states
// before each chunk of steps are kept: the backward pass computes a chunk again, from the last to the first, goes back
// through its steps, and takes the gradients of the maps as one product over them.

#include "feedback.h"

#include <utility>

#include "feedback_back.h"

namespace inn {
namespace {

// The states of a block's streams as the caller has them, from f(theirs, ours, rows, count, padded) or turned.
template <class Lay, class Turn>
void each_state(const FeedbackPlan& plan, const Streams& at, float* own, int64_t stride, const FeedbackStates& theirs,
                const Lay& lay, const Turn& turn) {
  const Feedback& op = plan.op;
  for (int64_t r = 0; r < at.count; r++)
    for (int64_t n = 0; n < plan.N; n++) {
      const int64_t row = (at.first + r) * plan.N + n;
      float* s = own + r * stride + n * plan.states.size;
      if (theirs.said) lay(s + plan.told, theirs.said + row * op.D, 1, op.D, plan.Dp);
      if (theirs.conv) lay(s + plan.window, theirs.conv + row * (op.K - 1) * op.E, op.K - 1, op.E, plan.Ep);
      if (theirs.ssm) turn(s + plan.h, theirs.ssm + row * op.E * op.S, 1, op.E, op.S, plan.Ep);
    }
}
void take_states(const FeedbackPlan& plan, const Streams& at, float* own, int64_t stride, const FeedbackStates& theirs) {
  for (int64_t r = 0; r < at.count; r++) clear(own + r * stride, plan.N * plan.states.size);
  each_state(plan, at, own, stride, theirs, lay, [](auto... given) { turn(given...); });
}
void give_states(const FeedbackPlan& plan, const Streams& at, float* own, int64_t stride, const FeedbackStates& theirs) {
  const auto back = [](float* ours, float* theirs, auto... sizes) { unlay(theirs, ours, sizes...); };
  each_state(plan, at, own, stride, theirs, back,
             [](float* ours, float* theirs, auto... sizes) { turn_back(theirs, ours, sizes...); });
}

// Step t; a stream that starts afresh has forgotten what was before.
void advance(const FeedbackStep& step, float* rec, float* next, const Streams& at, int64_t t) {
  for (int64_t r = 0; r < at.count; r++)
    if (at.fresh(r, t)) clear(rec + r * step.record, step.N * step.states.size);
  step.forward(rec, next, at, t);
}

int64_t chunks(const Feedback& op) { return (op.T + op.period - 1) / op.period; }

int64_t work(const FeedbackPlan& p) {  // multiply-adds of a step of a block, about
  return BLOCK_ROWS * p.N * (2 * p.Ep * p.ND + p.Ep * (p.Q + p.R + p.Dp + 16 * p.S));
}

}  // namespace

int64_t feedback_kept(const Feedback& op) {
  const FeedbackPlan plan(op, false);
  return plan.blocks() * chunks(op) * BLOCK_ROWS * plan.N * plan.states.size;
}

void feedback_forward(const Feedback& op, View y, const FeedbackStates& last, float* kept) {
  const FeedbackStep step(op, false);
  const int64_t size = BLOCK_ROWS * step.record, all = step.N * step.states.size;
  parallel(step.blocks(), op.threads, op.T * work(step), [&] {
    Buffer own(2 * size + step.Dp);
    float *rec = own.take(size), *next = own.take(size), *zeros = own.take(step.Dp);
    clear(zeros, step.Dp);
    return [=, &op, &step, own = std::move(own)](int64_t block) mutable {
      const Streams at(op, block);
      take_states(step, at, rec, step.record, {const_cast<float*>(op.said), const_cast<float*>(op.conv), const_cast<float*>(op.ssm)});
      for (int64_t t = 0; t < op.T; t++) {
        if (kept && t % op.period == 0)
          for (int64_t r = 0; r < at.count; r++)
            copy(kept + ((block * chunks(op) + t / op.period) * BLOCK_ROWS + r) * all, rec + r * step.record, all);
        advance(step, rec, next, at, t);
        for (int64_t r = 0; r < at.count; r++)
          for (int64_t n = 0; n < step.N; n++)
            write(y, y.at(at.first + r, t, n), at.there(r, t) ? step.state_of(next, r, n) + step.told : zeros, op.D);
        std::swap(rec, next);
      }
      give_states(step, at, rec, step.record, last);
    };
  });
}

void feedback_backward(const Feedback& op, View gy, const FeedbackStates& last, const float* kept, const FeedbackGradients& to) {
  const FeedbackStep step(op, true);
  const int64_t N = op.N, D = op.D, E = op.E, S = op.S, R = op.R, Q = step.Q, Ep = step.Ep, C = std::min(op.period, op.T);
  const int64_t size = BLOCK_ROWS * step.record, all = N * step.states.size;
  // A task goes through some of the blocks; each has sums of its own, added up in their order.
  const int64_t slices = std::min<int64_t>(step.blocks(), 32), sums = step.weights.size;
  Buffer shared(slices * sums);
  float* data = shared.take(slices * sums);

  parallel(slices, op.threads, step.blocks() / slices * op.T * 3 * work(step), [&] {
    const int64_t width = BLOCK_ROWS * step.gradient, scratch = 2 * S * W + BLOCK_ROWS * whole(step.ND);
    Buffer own((C + 1) * size + C * width + BLOCK_ROWS * all + C * BLOCK_ROWS * PANEL + scratch + 64);
    float *tape = own.take((C + 1) * size), *d = own.take(C * width), *carry = own.take(BLOCK_ROWS * all);
    float *panel = own.take(C * BLOCK_ROWS * PANEL), *room = own.take(scratch);
    return [=, &op, &step, &to, own = std::move(own)](int64_t task) {
      float* sum = data + task * sums;
      clear(sum, sums);
      for (int64_t block = task * step.blocks() / slices; block < (task + 1) * step.blocks() / slices; block++) {
        const Streams at(op, block);
        take_states(step, at, carry, all, last);
        for (int64_t c = chunks(op) - 1; c >= 0; c--) {
          const int64_t t0 = c * op.period, steps = std::min(op.period, op.T - t0);
          for (int64_t r = 0; r < at.count; r++)
            copy(tape + r * step.record, kept + ((block * chunks(op) + c) * BLOCK_ROWS + r) * all, all);
          for (int64_t t = 0; t < steps; t++) advance(step, tape + t * size, tape + (t + 1) * size, at, t0 + t);
          for (int64_t t = steps - 1; t >= 0; t--) {
            step.backward(tape + t * size, d + t * at.count * step.gradient, carry, at, t0 + t, gy, to.given, sum, room);
            for (int64_t r = 0; r < at.count; r++)
              if (at.fresh(r, t0 + t)) clear(carry + r * all, all);
          }
          step.add_weights(tape, d, steps, at.count, sum, panel);
        }
        give_states(step, at, carry, all, to.states);
      }
    };
  });

  for (int64_t s = 1; s < slices; s++)
    for (int64_t i = 0; i < sums; i++) data[i] += data[s * sums + i];
  for (int64_t i = 0; i < N * 2; i++) copy(to.hear + i * E * step.ND, data + step.hear + i * Ep * step.ND, E * step.ND);
  if (to.gain) unlay(to.gain, data + step.gain, N, D, step.Dp);
  if (to.bias) unlay(to.bias, data + step.bias, N, D, step.Dp);
  turn_back(to.conv_weight, data + step.conv_weight, N, E, op.K, Ep);
  unlay(to.conv_bias, data + step.conv_bias, N, E, Ep);
  unlay(to.to_scan, data + step.to_scan, N * Q, E, Ep);
  for (int64_t n = 0; n < N; n++) {
    copy(to.to_dt + n * E * R, data + step.to_dt + n * Ep * R, E * R);
    unlay(to.out + n * D * E, data + step.out + n * step.Dp * Ep, D, E, Ep);
  }
  unlay(to.dt_bias, data + step.dt_bias, N, E, Ep);
  turn_back(to.A, data + step.A, N, E, S, Ep);
  unlay(to.skip, data + step.skip, N, E, Ep);
}

}  // namespace inn
