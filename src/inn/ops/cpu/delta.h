// The delta rule and its gradient; see inn/ops/delta/__init__.py for the equations.
#pragma once

#include "common.h"

namespace inn {

struct Delta {
  int64_t B, T, N, H, G, K, V;  // streams, steps, neurons, heads, sets of keys (1 or H), keys and values of a head
  View q, k, v, decay, beta;    // beta.data is null where nothing is replaced
  const float* state;           // [B, N, H, K, V]
  const bool* reset;            // [B, T] or null
  const bool* mask;             // by these strides, or null
  int64_t mask_b, mask_t, mask_n;
  int64_t period;  // steps between two kept states
  int threads;
};

// `kept` is [B, N, (T - 1) / period, H, K, V]: the states before the steps period, 2 period, ...; null: not kept.
void delta_forward(const Delta& op, View y, float* last, float* kept);

struct DeltaGradients {
  View q, k, v, decay, beta;
  float* state;
};

// `last` is the gradient of the last state, [B, N, H, K, V], or null for zero.
void delta_backward(const Delta& op, View gy, const float* last, const float* kept, const DeltaGradients& to);

}  // namespace inn
