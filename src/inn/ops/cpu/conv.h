// The causal depthwise convolution with SiLU and its gradient; see inn/ops/conv/reference.py for what it computes.
#pragma once

#include "common.h"

namespace inn {

constexpr int64_t MAX_TAPS = 4;

struct Conv {
  int64_t B, T, N, E, P, K;  // streams, steps, neurons, channels, parameter sets (1 or N), taps
  View x;
  const float* weight;  // [P, E, K], oldest tap first
  const float* bias;    // [P, E]
  const float* state;   // [B, N, K-1, E], oldest first
  const bool* reset;    // [B, T] or null
  const bool* mask;     // [B, T] or null
  int threads;
  Listed listed{};      // T is then that of the row with most
};

void conv_forward(const Conv& op, View y, float* last);

struct ConvGradients {
  View x;
  float *weight, *bias, *state;
};

// `last` is the gradient of the last state, or null for zero.
void conv_backward(const Conv& op, View gy, const float* last, const ConvGradients& to);

}  // namespace inn
