// All three products are C[r, c] = sum_k A[r, k] B[k, c] with B dense along c: numbers of A are broadcast, B and C lie
// in registers. The inner loop holds a tile of R x (V vectors) of C; B is brought into panels as wide as the tile, which
// stay in the first or second cache while the rows of A run past them.
//
// Why not a library: one product per neuron is small (widths of 16 to 64), its rows are strided, and the fp32 product
// that PyTorch calls on x86 uses half the vector width on processors that are not Intel's.

#include "linear.h"

#include <array>
#include <cstring>

namespace inn {
namespace {

#if defined(__AVX512F__) || defined(__aarch64__)  // 32 registers
constexpr int R = 12;
#else
constexpr int R = 6;
#endif
constexpr int V = 2;
constexpr int64_t PANEL = V * W;  // columns of a panel
constexpr int64_t BLOCK = 96;     // rows of A in a task: with 1024 numbers in a row, 384 KiB

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
    for (int64_t k0 = 0; k0 < K; k0 += W)  // a few k at a time: where c_step is not 1, reads stay on their lines
      for (int64_t i = 0; i < PANEL; i++)
        for (int64_t k = k0; k < std::min(K, k0 + W); k++)
          to[k * PANEL + i] = i < wide ? from[k * k_step + (c + i) * c_step] : 0.0f;
  }
}

// Every group's B packed; one group after the other.
void pack_all(float* to, const Linear& op, const float* weight, int64_t K, int64_t k_step, int64_t columns,
              int64_t c_step) {
  const int64_t panels = padded(columns) / PANEL;
  parallel(op.groups * panels, op.threads, K * PANEL, [&] {
    return [&, to](int64_t i) {
      const int64_t g = i / panels, c = i % panels * PANEL;
      pack(to + i * K * PANEL, weight + g * op.I * op.O + c * c_step, K, k_step, std::min(PANEL, columns - c), c_step);
    };
  });
}

// C = A B for all groups and rows, B packed.
void product(const Linear& op, const Rows& a, const float* packed, int64_t K, const Rows& c, int64_t columns,
             const float* bias) {
  const int64_t blocks = (op.rows + BLOCK - 1) / BLOCK, wide = padded(columns);
  parallel(op.groups * blocks, op.threads, BLOCK * K * columns, [&] {
    return [&](int64_t task) {
      const int64_t g = task / blocks, r = task % blocks * BLOCK, rows = std::min(BLOCK, op.rows - r);
      for (int64_t p = 0; p < columns; p += PANEL)
        strip({a.at(g, r), a.row, 1}, rows, packed + g * K * wide + p * K, PANEL, K, c.at(g, r) + p, c.row,
              std::min(PANEL, columns - p), bias ? Start::row : Start::zero, bias ? bias + g * columns + p : nullptr);
    };
  });
}

// A few rows: weights are read once, as they lie, and sums are taken across lanes at the end.
template <int rows>
void few(const Linear& op, const Rows& x, int64_t g, int64_t r, const float* weight, const float* bias, const Rows& y,
         int64_t o) {
  const int64_t wide = std::min<int64_t>(W, op.O - o), I = op.I;
  const float* w = weight + (g * op.O + o) * I;
  Vec sum[rows][W];
  for (int m = 0; m < rows; m++)
    for (int j = 0; j < W; j++) sum[m][j] = Vec{};
  const auto add = [&](const Vec* xs, const float* from, int64_t count) {
    for (int64_t j = 0; j < wide; j++) {
      Vec wv;
      if (count == W) {
        wv = load(from + j * I);
      } else {
        float part[W] = {};
        for (int64_t i = 0; i < count; i++) part[i] = from[j * I + i];
        wv = load(part);
      }
      for (int m = 0; m < rows; m++) sum[m][j] += wv * xs[m];
    }
  };
  int64_t i = 0;
  for (; i + W <= I; i += W) {
    Vec xs[rows];
    for (int m = 0; m < rows; m++) xs[m] = load(x.at(g, r + m) + i);
    add(xs, w + i, W);
  }
  if (i < I) {
    Vec xs[rows];
    for (int m = 0; m < rows; m++) {
      float part[W] = {};
      for (int64_t j = i; j < I; j++) part[j - i] = x.at(g, r + m)[j];
      xs[m] = load(part);
    }
    add(xs, w + i, I - i);
  }
  for (int m = 0; m < rows; m++) {
    transpose(sum[m]);
    for (int j = 1; j < W; j++) sum[m][0] += sum[m][j];
    float out[W];
    store(out, sum[m][0]);
    for (int64_t j = 0; j < wide; j++) y.at(g, r + m)[o + j] = out[j] + (bias ? bias[g * op.O + o + j] : 0.0f);
  }
}

}  // namespace

void linear_forward(const Linear& op, const Rows& x, const float* weight, const float* bias, const Rows& y) {
  if (op.rows < 4) {
    const int64_t blocks = (op.O + W - 1) / W;
    parallel(op.groups * blocks, op.threads, op.rows * W * op.I, [&] {
      return [&](int64_t task) {
        const int64_t g = task / blocks, o = task % blocks * W;
        for (int64_t r = 0; r < op.rows; r++) few<1>(op, x, g, r, weight, bias, y, o);
      };
    });
    return;
  }
  Buffer buffer(op.groups * op.I * padded(op.O) + op.groups * op.O + PANEL + 32);
  float* packed = buffer.take(op.groups * op.I * padded(op.O));
  pack_all(packed, op, weight, op.I, 1, op.O, op.I);
  product(op, x, packed, op.I, y, op.O, bias);
}

void linear_input_gradient(const Linear& op, const Rows& gy, const float* weight, const Rows& gx) {
  Buffer buffer(op.groups * op.O * padded(op.I));
  float* packed = buffer.take(op.groups * op.O * padded(op.I));
  pack_all(packed, op, weight, op.O, op.I, op.I, 1);
  product(op, gy, packed, op.O, gx, op.I, nullptr);
}

void linear_weight_gradient(const Linear& op, const Rows& gy, const Rows& x, float* gweight, float* gbias) {
  // The wider of the two maps' ends lies along the vectors, where padding costs least; the other is broadcast.
  const bool turned = padded(op.I) * op.O > padded(op.O) * op.I;
  const Rows &a = turned ? x : gy, &b = turned ? gy : x;
  const int64_t rows = turned ? op.I : op.O, columns = turned ? op.O : op.I, size = rows * columns;
  // Tasks sum over slices of the rows; their number, and so the order of the sums, depends on the shapes alone.
  const int64_t chunk = std::clamp<int64_t>(65536 / (rows + columns), 32, 512);
  const int64_t slices = std::clamp<int64_t>(op.rows / 512, 1, std::max<int64_t>(1, 16 / op.groups));
  Buffer buffer(slices * op.groups * (size + op.O + 32));
  float* sums = buffer.take(slices * op.groups * size);
  float* bias_sums = buffer.take(slices * op.groups * op.O);

  parallel(slices * op.groups, op.threads, op.rows / slices * size, [&] {
    Buffer own(chunk * PANEL);
    float* last = own.take(chunk * PANEL);  // of B, the panel that has less than PANEL columns
    return [&, last, own = std::move(own)](int64_t task) {
      const int64_t g = task / slices, s = task % slices, end = (s + 1) * op.rows / slices;
      float *sum = sums + task * size, *total = bias_sums + task * op.O;
      std::memset(sum, 0, size * 4);
      std::memset(total, 0, op.O * 4);
      for (int64_t r0 = s * op.rows / slices; r0 < end; r0 += chunk) {
        const int64_t K = std::min(chunk, end - r0);
        for (int64_t p = 0; p < columns; p += PANEL) {
          const int64_t wide = std::min(PANEL, columns - p);
          const float* panel = b.at(g, r0) + p;
          int64_t step = b.row;
          if (wide % W) {
            pack(last, panel, K, step, wide, 1);
            panel = last;
            step = PANEL;
          }
          strip({a.at(g, r0), 1, a.row}, rows, panel, step, K, sum + p, columns, wide, Start::sum);
        }
        if (gbias)
          for (int64_t r = r0; r < r0 + K; r++) {
            const float* row = gy.at(g, r);
            int64_t i = 0;
            for (; i + W <= op.O; i += W) store(total + i, load(total + i) + load(row + i));
            for (; i < op.O; i++) total[i] += row[i];
          }
      }
    };
  });

  parallel(op.groups * rows, op.threads, slices * columns, [&] {
    return [&](int64_t task) {
      const int64_t g = task / rows, i = task % rows;
      float *sum = sums + (g * slices * rows + i) * columns, *to = gweight + g * size;
      for (int64_t s = 1; s < slices; s++)
        for (int64_t c = 0; c < columns; c++) sum[c] += sum[s * size + c];
      if (turned)
        for (int64_t c = 0; c < columns; c++) to[c * rows + i] = sum[c];
      else
        std::memcpy(to + i * columns, sum, columns * 4);
      if (gbias && i == 0) {
        float* total = bias_sums + g * slices * op.O;
        for (int64_t s = 1; s < slices; s++)
          for (int64_t o = 0; o < op.O; o++) total[o] += total[s * op.O + o];
        std::memcpy(gbias + g * op.O, total, op.O * 4);
      }
    };
  });
}

}  // namespace inn
