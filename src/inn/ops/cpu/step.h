// One step of a Mamba memory for all neurons, its state changed in place (see inn/ops/step/torch.py).
#pragma once

#include "linear.h"

namespace inn {

struct Step {
  int64_t B, N, D, E, S, K, R, P;  // streams, neurons, widths, states, taps, rank, sets of weights (1 or N)
  const float *in, *conv_weight, *conv_bias, *to_scan, *to_dt, *dt_bias, *A_log, *skip, *out;
  float* conv;  // [B, N, K - 1, E], the last inputs of the convolution, oldest first
  float* ssm;   // [B, N, E, S]
  int threads;
};

// `in` may be null: x has 2 E numbers then, the in-projection's result. x and y hold B rows for each of N neurons (P = N), or all B x N rows (P = 1).
void memory_step(const Step& op, const Rows& x, const Rows& y);

}  // namespace inn
