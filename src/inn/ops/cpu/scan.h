// The selective scan and its gradient; see inn/ops/scan/__init__.py for the equations.
#pragma once

#include "common.h"

namespace inn {

constexpr int64_t L = 32;  // channels in one block: the innermost axis of everything the scan keeps to itself

struct Scan {
  int64_t B, T, N, E, S, P;  // streams, steps, neurons, channels, states, parameter sets (1 or N)
  View x, dt, Bm, Cm, z;
  const float* A;        // [P, E, S]
  const float* D;        // [P, E]
  const float* state;    // [B, N, E, S]
  const bool* reset;     // [B, T] or null
  const bool* mask;      // [B, T] or null
  int64_t period;        // steps between two kept states
  int threads;
  Listed listed{};       // T is then that of the row with most

  int64_t begin(int64_t b, int64_t n) const { return listed.begin(b, n, B); }
  int64_t steps(int64_t b, int64_t n) const { return listed.steps(b, n, B, T); }
  int64_t rows() const { return B * N; }
  int64_t blocks() const { return (E + L - 1) / L; }
  int64_t channels(int64_t block) const { return std::min(L, E - block * L); }
};

// `kept` is [B, N, (T - 1) / period, blocks, S, L]: the states before the steps period, 2 period, ...; null: not kept.
// `period` is a multiple of 64.
void scan_forward(const Scan& op, View y, float* last, float* kept);

struct ScanGradients {
  View x, dt, Bm, Cm, z;
  float* A;
  float* D;
  float* state;
};

// `last` is the gradient of the last state, [B, N, E, S], or null for zero.
void scan_backward(const Scan& op, View gy, const float* last, const float* kept, const ScanGradients& to);

}  // namespace inn
