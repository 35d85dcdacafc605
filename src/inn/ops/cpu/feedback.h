// Neurons with a Mamba each that hear one another's last step, over a stretch of steps; see inn/ops/feedback/reference.py.
#pragma once

#include "common.h"

namespace inn {

struct Feedback {
  int64_t B, T, N, D, E, S, K, R;   // streams, steps, neurons, width, channels, states, taps, rank
  View given;                       // [B, T, N, 2 E]
  const float *said, *conv, *ssm;   // before the first step: [B, N, D], [B, N, K - 1, E], [B, N, E, S]
  const bool *reset, *mask;         // [B, T] or null
  const float* hear;                // [N, 2 E, N D]
  const float *gain, *bias;         // [N, D]; without a bias it is the RMS norm, without a gain there is no norm
  const float *conv_weight, *conv_bias, *to_scan, *to_dt, *dt_bias;  // [N, E, K], [N, E], [N, R + 2 S, E], [N, E, R], [N, E]
  const float *A, *skip, *out;      // [N, E, S], [N, E], [N, D, E]
  float epsilon;
  int64_t period;                   // steps in a chunk: those that the backward pass works on at once
  int threads;
};

// Floats that are kept of all blocks of streams, for the gradient.
int64_t feedback_kept(const Feedback& op);

struct FeedbackStates {
  float *said, *conv, *ssm;
};

// `kept` may be null.
void feedback_forward(const Feedback& op, View y, const FeedbackStates& last, float* kept);

struct FeedbackGradients {
  View given;
  FeedbackStates states;
  float *hear, *gain, *bias, *conv_weight, *conv_bias, *to_scan, *to_dt, *dt_bias, *A, *skip, *out;
};

// `last` are the gradients of the last states, each null for zero.
void feedback_backward(const Feedback& op, View gy, const FeedbackStates& last, const float* kept, const FeedbackGradients& to);

}  // namespace inn
