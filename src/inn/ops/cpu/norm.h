// Layer norm with a gain and a bias for each neuron (see inn/ops/norm/reference.py).
#pragma once

#include "common.h"

namespace inn {

struct Norm {
  int64_t B, T, N, D, P;  // P sets of gains and biases: 1 or N
  View x;                 // [B, T, N, D]
  const float* weight;    // [P, D]
  const float* bias;      // [P, D]
  float epsilon;
  int threads;
};

void norm_forward(const Norm& op, const View& y);
// The gradients of weight and bias are [P, D].
void norm_backward(const Norm& op, const View& gy, const View& gx, float* gweight, float* gbias);

}  // namespace inn
