// What neurons hear along listed edges, K sources for each (see inn/ops/neighbours/reference.py).
#pragma once

#include "common.h"

namespace inn {

struct Neighbours {
  int64_t B, T, N, K, H, d;  // the width of a neuron is H x d
  View q, k, v;              // [B, T, N, H x d]; sums have v only
  const int64_t* sources;    // [N, K]
  const bool* open;          // [N, K]
  const float* signs;        // [N, K], a factor on what comes over an edge; null for 1. Of sums: their weights
  const float* log_weights;  // [N, K], added to the logits; null for 0
  const bool* present;       // [B, T, N], who is there; null for all
  int threads;
};

// Blocks of samples that are worked on at once: each leaves a partial sum [N, K] of what is shared by all samples.
// Known to the kernels only, which alone are compiled for this machine's vectors.
int64_t neighbour_blocks(const Neighbours& op);

// `weights` is [B, T, H, N, K], the routing weights without signs, or null where nobody asks for them.
void neighbour_attention_forward(const Neighbours& op, const View& out, float* weights);
// `partial` is [blocks, N, K], the gradient of log_weights by block, or null.
void neighbour_attention_backward(const Neighbours& op, const View& gout, const View& gq, const View& gk,
                                  const View& gv, float* partial);
void neighbour_sum_forward(const Neighbours& op, const View& out);
void neighbour_sum_backward(const Neighbours& op, const View& gout, const View& gv, float* partial);

// With numbers of edges that differ from step to step and from head to head, [B, T, H, N, K]; over closed ones they are
// zero, or count as zero. Of these three, each is the gradient of the others.
void neighbour_mix(const Neighbours& op, const float* weights, const View& out);    // o_i = sum over e of w_ie v_s(i, e)
void neighbour_spread(const Neighbours& op, const float* weights, const View& out); // o_s(i, e) = sum over i, e of w_ie v_i
void neighbour_scores(const Neighbours& op, float* scores);                         // q_i . k_s(i, e)

}  // namespace inn
