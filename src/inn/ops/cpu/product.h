// Small matrix products in registers, of which the maps of a population and the loops over time are made.
//
// C[r, c] = sum_k A[r, k] B[k, c] with B dense along c: numbers of A are broadcast, B and C lie in registers. The inner
// loop holds a tile of R x (V vectors) of C; B is brought into panels as wide as the tile, which stay in the first or
// second cache while the rows of A run past them.
//
// Why not a library: one product per neuron is small (widths of 16 to 64), its rows are strided, and the fp32 product
// that PyTorch calls on x86 uses half the vector width on processors that are not Intel's.
#pragma once

#include <array>

#include "common.h"

namespace inn {
namespace {

#if defined(__AVX512F__) || defined(__aarch64__)  // 32 registers
constexpr int R = 12;
#else
constexpr int R = 6;
#endif
constexpr int V = 2;
constexpr int64_t PANEL = V * W;  // columns of a panel

// One operand of a product: A[r, k] = data[r * row + k * step].
struct Broadcast {
  const float* data;
  int64_t row, step;
};

enum class Start { zero, row, sum };  // where C starts: at zero, at one row for all (a bias), at what it was

// `rows` x (`vectors` x W) of C, of which only `columns` count.

template <int rows, int vectors>
void tile(const Broadcast& a, const float* b, int64_t b_step, int64_t K, float* c, int64_t c_row, int64_t columns,
          Start start, const float* from) {
  Vec sum[rows][vectors];
  const bool whole = columns >= vectors * W;
  for (int r = 0; r < rows; r++)
    for (int v = 0; v < vectors; v++) {
      const int64_t left = columns - v * W;
      if (start == Start::zero) {
        sum[r][v] = Vec{};
      } else {
        const float* p = (start == Start::row ? from : c + r * c_row) + v * W;
        if (whole || left >= W) {
          sum[r][v] = load(p);
        } else {
          float part[W] = {};
          for (int64_t i = 0; i < left; i++) part[i] = p[i];
          sum[r][v] = load(part);
        }
      }
    }
  for (int64_t k = 0; k < K; k++) {
    Vec bk[vectors];
    for (int v = 0; v < vectors; v++) bk[v] = load(b + k * b_step + v * W);
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
      const Vec ak = all(a.data[r * a.row + k * a.step]);
      for (int v = 0; v < vectors; v++) sum[r][v] += ak * bk[v];
    }
  }
  for (int r = 0; r < rows; r++)
    for (int v = 0; v < vectors; v++) {
      const int64_t left = columns - v * W;
      float* p = c + r * c_row + v * W;
      if (whole || left >= W) {
        store(p, sum[r][v]);
      } else {
        float part[W];
        store(part, sum[r][v]);
        for (int64_t i = 0; i < left; i++) p[i] = part[i];
      }
    }
}

using Tile = void (*)(const Broadcast&, const float*, int64_t, int64_t, float*, int64_t, int64_t, Start, const float*);

template <int vectors, int... r>
constexpr std::array<Tile, R + 1> tiles(std::integer_sequence<int, r...>) {
  return {nullptr, tile<r + 1, vectors>...};
}
constexpr std::array<Tile, R + 1> WIDE = tiles<V>(std::make_integer_sequence<int, R>{});
constexpr std::array<Tile, R + 1> NARROW = tiles<1>(std::make_integer_sequence<int, R>{});

// `rows` x `columns` of C, columns <= PANEL.
void strip(Broadcast a, int64_t rows, const float* b, int64_t b_step, int64_t K, float* c, int64_t c_row,
           int64_t columns, Start start, const float* from = nullptr) {
  const auto& kernel = columns > W ? WIDE : NARROW;
  for (int64_t r = 0; r < rows; r += R, a.data += R * a.row, c += R * c_row)
    kernel[std::min<int64_t>(R, rows - r)](a, b, b_step, K, c, c_row, columns, start, from);
}

int64_t padded(int64_t columns) { return (columns + PANEL - 1) / PANEL * PANEL; }

// B [K, columns] in panels [columns / PANEL][K][PANEL]; B[k, c] is from[k * k_step + c * c_step]. Padded with zeros.
void pack(float* to, const float* from, int64_t K, int64_t k_step, int64_t columns, int64_t c_step) {
  for (int64_t c = 0; c < columns; c += PANEL, to += K * PANEL) {
    const int64_t wide = std::min(PANEL, columns - c);
    for (int64_t v = 0; v < PANEL; v += W) {
      const float* part = from + (c + v) * c_step;
      const bool full = v + W <= wide;
      int64_t k0 = 0;
      if (full && c_step == 1)  // vectors as they lie
        for (; k0 < K; k0++) store(to + k0 * PANEL + v, load(part + k0 * k_step));
      if (full && k_step == 1)  // or turned
        for (; k0 + W <= K; k0 += W) {
          Vec r[W];
          for (int i = 0; i < W; i++) r[i] = load(part + i * c_step + k0);
          transpose(r);
          for (int i = 0; i < W; i++) store(to + (k0 + i) * PANEL + v, r[i]);
        }
      for (; k0 < K; k0++)
        for (int64_t i = 0; i < W; i++) to[k0 * PANEL + v + i] = v + i < wide ? part[k0 * k_step + i * c_step] : 0.0f;
    }
  }
}

}  // namespace
}  // namespace inn
