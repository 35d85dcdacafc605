// What counts of followers say; see inn/ops/votes/reference.py.
#pragma once

#include <cstdint>

namespace inn {

constexpr int64_t BUCKETS = 1024;

struct Votes {
  int64_t R, K, F, V, E;  // steps of all streams, contexts, followers of each; symbols, and the width of theirs
  const int32_t* found;   // [R, K, F], symbols below V
  const int32_t* last;    // [R, K]
  const float* table;     // [K, BUCKETS]
  const float* weights;   // [R, K], of votes
  const float* symbols;   // [V, E], of what is expected
  int threads;
};

int64_t largest_symbol(const Votes& op);  // of all followers; -1 where there is none
void votes_forward(const Votes& op, float* y);  // [R, V]
void votes_backward(const Votes& op, const float* gy, float* gtable, float* gweights);
void expected_forward(const Votes& op, float* y);  // [R, K, E]
void expected_backward(const Votes& op, const float* gy, float* gtable, float* gsymbols);

}  // namespace inn
