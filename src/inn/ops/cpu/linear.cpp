// All three products are made of the tiles of product.h.

#include "linear.h"

#include <cstring>

#include "product.h"

namespace inn {
namespace {

constexpr int64_t AHEAD = 1024;   // numbers ahead of the one that is read, for which the memory is asked
constexpr int64_t BLOCK = 96;     // rows of A in a task: with 1024 numbers in a row, 384 KiB
constexpr int64_t MANY = 1 << 20;  // weights, whose copy in panels is then slow to write

// Runs work(g, r, rows) for blocks of rows of every group.
template <class Work>
void for_each_block(const Linear& op, const Work& work) {
  const int64_t blocks = (op.rows + BLOCK - 1) / BLOCK;
  parallel(op.groups * blocks, op.threads, BLOCK * op.I * op.O, [&] {
    return [&](int64_t task) {
      const int64_t r = task % blocks * BLOCK;
      work(task / blocks, r, std::min(BLOCK, op.rows - r));
    };
  });
}

// The next `count` <= W numbers, and zeros.
inline Vec some(const float* from, int64_t count) {
  if (count == W) return load(from);
  float part[W] = {};
  std::memcpy(part, from, count * 4);
  return load(part);
}

// Up to W numbers of one row's result. The weights are read once, as they lie: four rows of them at a time, so that the
// memory sees few streams; sums are taken across lanes at the end.
void single(float* y, const float* x, const float* w, const float* bias, int64_t I, int64_t wide) {
  constexpr int ROWS = 4, DEEP = 2;
  Vec sum[W] = {};
  for (int64_t j = 0; j < wide; j += ROWS) {
    const float* row[ROWS];
    for (int r = 0; r < ROWS; r++) row[r] = w + std::min<int64_t>(j + r, wide - 1) * I;
    Vec part[ROWS][DEEP] = {};
    int64_t i = 0;
    for (; i + DEEP * W <= I; i += DEEP * W)
      for (int d = 0; d < DEEP; d++) {
        const Vec xi = load(x + i + d * W);
        for (int r = 0; r < ROWS; r++) {
          part[r][d] += xi * load(row[r] + i + d * W);
          __builtin_prefetch(row[r] + i + d * W + AHEAD);
        }
      }
    for (; i < I; i += W) {
      const int64_t count = std::min<int64_t>(W, I - i);
      const Vec xi = some(x + i, count);
      for (int r = 0; r < ROWS; r++) part[r][0] += xi * some(row[r] + i, count);
    }
    for (int r = 0; r < ROWS; r++) sum[j + r] = part[r][0] + part[r][1];
  }
  transpose(sum);
  for (int j = 1; j < W; j++) sum[0] += sum[j];
  float out[W];
  store(out, sum[0]);
  for (int64_t j = 0; j < wide; j++) y[j] = out[j] + (bias ? bias[j] : 0.0f);
}

}  // namespace

void linear_forward(const Linear& op, const Rows& x, const float* weight, const float* bias, const std::vector<Rows>& y) {
  if (op.rows < (op.groups * op.O * op.I <= MANY ? 6 : 16)) {  // not worth the packing
    const int64_t blocks = (op.O + W - 1) / W;
    for (int64_t j = 0, o = 0; j < static_cast<int64_t>(y.size()); o += op.sizes[j++])
      parallel(op.groups * blocks, op.threads, op.rows * W * op.I, [&] {
        return [&](int64_t task) {
          const int64_t g = task / blocks, at = task % blocks * W, wide = std::min<int64_t>(W, op.sizes[j] - at);
          const int64_t place = g * op.O + o + at;
          for (int64_t r = 0; r < op.rows && wide > 0; r++)
            single(y[j].at(g, r) + at, x.at(g, r), weight + place * op.I, bias ? bias + place : nullptr, op.I, wide);
        };
      });
    return;
  }
  int64_t all = 0;
  for (const int64_t size : op.sizes) all += padded(size);
  Buffer buffer(op.groups * op.I * all + op.groups * (op.O + PANEL));
  float* packed = buffer.take(op.groups * op.I * all);  // [groups][results][panels][I][PANEL]
  // A bias is read in whole vectors: a copy that may be read past its end.
  float* from = buffer.take(op.groups * op.O + PANEL);
  if (bias) std::memcpy(from, bias, op.groups * op.O * 4);
  parallel(op.groups, op.threads, op.I * op.O, [&] {
    return [&](int64_t g) {
      float* to = packed + g * op.I * all;
      const float* w = weight + g * op.O * op.I;
      for (const int64_t size : op.sizes) {
        pack(to, w, op.I, 1, size, op.I);
        to += op.I * padded(size);
        w += size * op.I;
      }
    };
  });
  for_each_block(op, [&](int64_t g, int64_t r, int64_t rows) {
    const float* panel = packed + g * op.I * all;
    int64_t o = g * op.O;
    for (size_t j = 0; j < y.size(); o += op.sizes[j++])
      for (int64_t p = 0; p < op.sizes[j]; p += PANEL, panel += op.I * PANEL)
        strip({x.at(g, r), x.row, 1}, rows, panel, PANEL, op.I, y[j].at(g, r) + p, y[j].row,
              std::min(PANEL, op.sizes[j] - p), bias ? Start::row : Start::zero, from + o + p);
  });
}

void linear_input_gradient(const Linear& op, const std::vector<Rows>& gy, const float* weight, const Rows& gx) {
  const int64_t all = padded(op.I);
  Buffer buffer(op.groups * op.O * all);
  float* packed = buffer.take(op.groups * op.O * all);  // [groups][panels][O][PANEL]
  parallel(op.groups, op.threads, op.I * op.O, [&] {
    return [&](int64_t g) { pack(packed + g * op.O * all, weight + g * op.O * op.I, op.O, op.I, op.I, 1); };
  });
  for_each_block(op, [&](int64_t g, int64_t r, int64_t rows) {
    const float* panel = packed + g * op.O * all;
    for (int64_t p = 0; p < op.I; p += PANEL)
      for (size_t j = 0; j < gy.size(); panel += op.sizes[j++] * PANEL)
        strip({gy[j].at(g, r), gy[j].row, 1}, rows, panel, PANEL, op.sizes[j], gx.at(g, r) + p, gx.row,
              std::min(PANEL, op.I - p), j ? Start::sum : Start::zero);
  });
}

namespace {

// One result's part of the weights' gradient: C [a's width, b's width] = sum over rows of a^T b.
struct Part {
  Rows a, b;
  int64_t rows, columns;
  bool turned;     // C is [I, size], not [size, I]
  int64_t offset;  // of C among all of a group's
};

}  // namespace

void linear_weight_gradient(const Linear& op, const std::vector<Rows>& gy, const Rows& x, float* gweight, float* gbias) {
  std::vector<Part> all;
  int64_t at = 0;
  for (size_t j = 0; j < gy.size(); at += op.sizes[j++] * op.I) {
    const int64_t I = op.I, O = op.sizes[j];
    // The end that costs less padding lies along the vectors; the other is broadcast.
    if (padded(I) * O > padded(O) * I)
      all.push_back({x, gy[j], I, O, true, at});
    else
      all.push_back({gy[j], x, O, I, false, at});
  }
  // Tasks sum over slices of the rows; their number, and so the order of the sums, depends on the shapes alone.
  const int64_t size = op.O * op.I, chunk = std::clamp<int64_t>(second_cache() / 16 / (op.O + op.I), 32, 512);
  const int64_t slices = std::clamp<int64_t>(op.rows / 512, 1, std::max<int64_t>(1, 16 / op.groups));
  Buffer buffer(slices * op.groups * (size + op.O) + 32);
  float* sums = buffer.take(slices * op.groups * size);       // [groups][slices][O x I]
  float* bias_sums = buffer.take(slices * op.groups * op.O);  // [groups][slices][O]

  parallel(slices * op.groups, op.threads, op.rows / slices * size, [&] {
    Buffer own(chunk * PANEL);
    float* last = own.take(chunk * PANEL);  // of b, the panel that has no whole vectors
    return [&, last, own = std::move(own)](int64_t task) {
      const int64_t g = task / slices, s = task % slices, end = (s + 1) * op.rows / slices;
      float *sum = sums + task * size, *total = bias_sums + task * op.O;
      std::memset(sum, 0, size * 4);
      std::memset(total, 0, op.O * 4);
      for (int64_t r0 = s * op.rows / slices; r0 < end; r0 += chunk) {
        const int64_t K = std::min(chunk, end - r0);
        for (const Part& part : all)
          for (int64_t p = 0; p < part.columns; p += PANEL) {
            const int64_t wide = std::min(PANEL, part.columns - p);
            const float* panel = part.b.at(g, r0) + p;
            int64_t step = part.b.row;
            if (wide % W) {
              pack(last, panel, K, step, wide, 1);
              panel = last;
              step = PANEL;
            }
            strip({part.a.at(g, r0), 1, part.a.row}, part.rows, panel, step, K, sum + part.offset + p, part.columns, wide,
                  Start::sum);
          }
        float* to = total;
        for (size_t j = 0; gbias && j < gy.size(); to += op.sizes[j++])
          for (int64_t r = r0; r < r0 + K; r++) {
            const float* row = gy[j].at(g, r);
            int64_t i = 0;
            for (; i + W <= op.sizes[j]; i += W) store(to + i, load(to + i) + load(row + i));
            for (; i < op.sizes[j]; i++) to[i] += row[i];
          }
      }
    };
  });

  parallel(op.groups, op.threads, slices * size, [&] {
    return [&](int64_t g) {
      float *sum = sums + g * slices * size, *total = bias_sums + g * slices * op.O;
      for (int64_t s = 1; s < slices; s++) {
        for (int64_t i = 0; i < size; i++) sum[i] += sum[s * size + i];
        for (int64_t o = 0; o < op.O; o++) total[o] += total[s * op.O + o];
      }
      for (const Part& part : all) {
        const float* from = sum + part.offset;
        float* to = gweight + g * size + part.offset;
        if (part.turned)
          for (int64_t i = 0; i < part.rows; i++)
            for (int64_t o = 0; o < part.columns; o++) to[o * part.rows + i] = from[i * part.columns + o];
        else
          std::memcpy(to, from, part.rows * part.columns * 4);
      }
      if (gbias) std::memcpy(gbias + g * op.O, total, op.O * 4);
    };
  });
}

}  // namespace inn
