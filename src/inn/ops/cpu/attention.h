// Attention over the neurons of one time step (see inn/ops/attention/reference.py).
#pragma once

#include "common.h"

namespace inn {

struct Attention {
  int64_t B, T, N, H, d;  // the width of a neuron is H x d
  View q, k, v;           // [B, T, N, H x d]
  const bool* open;       // [N_to, N_from], the edges that may be used; null for all
  double dropout;         // share of the routing weights that are dropped
  uint64_t seed;          // which ones
  int threads;
};

// `weights` is [B, T, H, N_to, N_from], the routing weights before dropout, or null where nobody asks for them.
void attention_forward(const Attention& op, const View& out, float* weights);
void attention_backward(const Attention& op, const View& gout, const View& gq, const View& gk, const View& gv);

}  // namespace inn
