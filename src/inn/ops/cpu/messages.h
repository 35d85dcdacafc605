// Messages along listed edges, a matrix for each (see neighbour_messages in inn/ops/neighbours/reference.py).
#pragma once

#include "common.h"

namespace inn {

struct Messages {
  int64_t B, T, N, M, K, D, I, P;  // M listeners hear K of N neurons each; P is 1 or M
  const float* weight;             // [P, I, K, D]
  const int64_t* sources;          // [M, K]
  const bool* open;                // [M, K]
  const float* signs;              // [M, K], a factor on what comes over an edge; null for 1
  int threads;
};

// y [B, T, M, I] = what listeners hear of x [B, T, N, D]
void messages_forward(const Messages& op, const View& x, const View& y);
void messages_input_gradient(const Messages& op, const View& gy, const View& gx);
void messages_weight_gradient(const Messages& op, const View& gy, const View& x, float* gweight);

}  // namespace inn
