// Non-linear recurrences and their gradients; see inn/ops/loop/cells.py for the cells.
#pragma once

#include <functional>

#include "common.h"

namespace inn {

enum class Kind { elman, gru, lstm, slstm, liquid, rhn, elm, lif, lif_soft };

struct Loop {
  Kind kind;
  int64_t B, T, N, H, I;  // streams, steps, neurons, units, numbers that go into a step
  int64_t P, K;           // parameter sets (1 or N); neurons that each one hears (1 or N)
  int64_t layers;         // products in a step that follow one another: rhn's depth, else 1
  View x;
  const float* state;      // [B, N, S, H]
  const bool* reset;       // [B, T] or null
  const bool* mask;        // null, or with the strides below (the last is 0 for all neurons alike)
  int64_t mask_b, mask_t, mask_n;
  const float* weights[5];  // as the cell takes them
  int64_t period;           // steps in a chunk: those that the backward pass works on at once
  bool every;               // whether each step is kept, or the states before each chunk only
  bool back;                // whether this is the backward pass
  int threads;
};

constexpr int64_t BLOCK_ROWS = 8;  // streams that step together

// `last` is [B, N, S, H]. `keep(blocks, floats)` gives room for what the gradient needs of each block of rows, or null.
void loop_forward(const Loop& op, View y, float* last, const std::function<float*(int64_t, int64_t)>& keep);

struct LoopGradients {
  View x;
  float* state;
  float* weights[5];
};

// `last` is the gradient of the last state, or null for zero; `kept` has `size` floats.
void loop_backward(const Loop& op, View gy, const float* last, const float* kept, int64_t size, const LoopGradients& to);

}  // namespace inn
