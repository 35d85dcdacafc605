// The rows of a listener are what its sources sent, side by side, of a block of samples (steps of streams): they are put
// together in the cache, block by block, and never lie in memory as a whole. The products are the tiles of product.h.
//
// What a source is told of its gradient, it collects from its listeners, which are listed the other way round for it: no
// two tasks write to the same place, and no sum depends on the number of threads.

#include "messages.h"

#include <cstring>
#include <vector>

#include "product.h"

namespace inn {
namespace {

constexpr int64_t BLOCK = 96;  // samples
constexpr int64_t FEW = 32;    // samples for which turning the weights does not pay

int64_t samples(const Messages& op) { return op.B * op.T; }
int64_t at(const Messages& op, const View& v, int64_t r, int64_t n) { return v.at(r / op.T, r % op.T, n); }

// Rows of neuron n from sample `first` on, `stride` floats apart.
void take(float* to, int64_t stride, const Messages& op, const View& v, int64_t first, int64_t rows, int64_t n,
          int64_t width) {
  for (int64_t r = 0; r < rows; r++) read(to + r * stride, v, at(op, v, first + r, n), width);
}

void give(const Messages& op, const View& v, int64_t first, int64_t rows, int64_t n, int64_t width, const float* from,
          int64_t stride) {
  for (int64_t r = 0; r < rows; r++) write(v, at(op, v, first + r, n), from + r * stride, width);
}

// What comes to listener i, [rows, K x D]: zero over a closed edge.
void listen(float* to, int64_t stride, const Messages& op, const View& x, int64_t first, int64_t rows, int64_t i) {
  for (int64_t e = 0, edge = i * op.K; e < op.K; e++, edge++) {
    float* part = to + e * op.D;
    if (op.open[edge])
      take(part, stride, op, x, first, rows, op.sources[edge], op.D);
    else
      for (int64_t r = 0; r < rows; r++) std::memset(part + r * stride, 0, op.D * 4);
    if (op.open[edge] && op.signs && op.signs[edge] != 1.0f)
      for (int64_t r = 0; r < rows; r++)
        for (int64_t d = 0; d < op.D; d++) part[r * stride + d] *= op.signs[edge];
  }
}

// Runs work(n, first, end) for `count` neurons, in as many slices of the samples as keep some threads busy.
template <class Make>
void for_each(const Messages& op, int64_t count, const Make& make) {
  const int64_t blocks = (samples(op) + BLOCK - 1) / BLOCK;
  const int64_t slices = std::clamp<int64_t>(64 / count, 1, blocks), cost = samples(op) * op.K * op.D * op.I;
  parallel(count * slices, op.threads, cost / slices, [&] {
    return [&, work = make()](int64_t task) mutable {
      const int64_t s = task % slices, first = s * blocks / slices * BLOCK, end = (s + 1) * blocks / slices * BLOCK;
      work(task / slices, first, std::min(end, samples(op)));
    };
  });
}

// y [rows, I] = x [rows, F] W^T, with W as it lies: sums over the lanes at the end. `sums` is [padded I][W].
void few(float* y, int64_t y_row, const float* x, int64_t x_row, int64_t rows, const float* w, int64_t F, int64_t I,
         float* sums) {
  constexpr int T = 4;  // rows of W that share what is read of x
  for (int64_t r = 0; r < rows; r++, x += x_row, y += y_row) {
    for (int64_t o = 0; o < I; o += T) {
      const float* row[T];
      for (int j = 0; j < T; j++) row[j] = w + std::min<int64_t>(o + j, I - 1) * F;
      Vec sum[T] = {};
      int64_t f = 0;
      for (; f + W <= F; f += W)
        for (int j = 0; j < T; j++) sum[j] += load(x + f) * load(row[j] + f);
      if (f < F)
        for (int j = 0; j < T; j++) {
          float a[W] = {}, b[W] = {};
          std::memcpy(a, x + f, (F - f) * 4);
          std::memcpy(b, row[j] + f, (F - f) * 4);
          sum[j] += load(a) * load(b);
        }
      for (int j = 0; j < T; j++) store(sums + (o + j) * W, sum[j]);
    }
    add_lanes(y, sums, I);
  }
}

// An edge as its source sees it.
struct Heard {
  int64_t by, place;  // the listener, and which of its edges it is
};

// The open edges by source: those of j are edges[start[j]] to edges[start[j + 1]], in the order of their listeners.
struct Listeners {
  std::vector<int64_t> start;
  std::vector<Heard> edges;

  explicit Listeners(const Messages& op) : start(op.N + 1) {
    for (int64_t e = 0; e < op.M * op.K; e++)
      if (op.open[e]) start[op.sources[e] + 1]++;
    for (int64_t n = 0; n < op.N; n++) start[n + 1] += start[n];
    edges.resize(start[op.N]);
    std::vector<int64_t> next(start.begin(), start.end() - 1);
    for (int64_t e = 0; e < op.M * op.K; e++)
      if (op.open[e]) edges[next[op.sources[e]]++] = {e / op.K, e % op.K};
  }
};

}  // namespace

void messages_forward(const Messages& op, const View& x, const View& y) {
  const int64_t F = op.K * op.D, wide = padded(op.I);
  for_each(op, op.M, [&] {
    Buffer buffer(F * wide + BLOCK * (F + wide) + (wide + 4) * W + 64);
    float *panels = buffer.take(F * wide), *given = buffer.take(BLOCK * F), *found = buffer.take(BLOCK * wide);
    float* sums = buffer.take((wide + 4) * W);
    return [&, F, wide, panels, given, found, sums, keep = std::move(buffer)](int64_t i, int64_t first, int64_t end) {
      const float* weight = op.weight + (op.P > 1 ? i : 0) * op.I * F;
      const bool turned = end - first >= FEW;
      if (turned) pack(panels, weight, F, 1, op.I, F);
      for (int64_t r = first; r < end; r += BLOCK) {
        const int64_t rows = std::min(BLOCK, end - r);
        listen(given, F, op, x, r, rows, i);
        if (!turned) few(found, wide, given, F, rows, weight, F, op.I, sums);
        for (int64_t p = 0; turned && p < op.I; p += PANEL)
          strip({given, F, 1}, rows, panels + p * F, PANEL, F, found + p, wide, std::min(PANEL, op.I - p), Start::zero);
        give(op, y, r, rows, i, op.I, found, wide);
      }
    };
  });
}

void messages_input_gradient(const Messages& op, const View& gy, const View& gx) {
  const int64_t F = op.K * op.D, wide = padded(op.D);
  const Listeners listeners(op);
  for_each(op, op.N, [&] {
    Buffer buffer(op.I * wide + BLOCK * (op.I + wide) + 64);
    float *panels = buffer.take(op.I * wide), *told = buffer.take(BLOCK * op.I), *sum = buffer.take(BLOCK * wide);
    return [&, F, wide, panels, told, sum, keep = std::move(buffer)](int64_t j, int64_t first, int64_t end) {
      for (int64_t r = first; r < end; r += BLOCK) {
        const int64_t rows = std::min(BLOCK, end - r);
        std::memset(sum, 0, rows * wide * 4);
        for (int64_t at = listeners.start[j]; at < listeners.start[j + 1]; at++) {
          const auto [i, e] = listeners.edges[at];
          const float* weight = op.weight + (op.P > 1 ? i : 0) * op.I * F + e * op.D;
          const float sign = op.signs ? op.signs[i * op.K + e] : 1.0f;
          take(told, op.I, op, gy, r, rows, i, op.I);
          for (int64_t c = 0; sign != 1.0f && c < rows * op.I; c++) told[c] *= sign;
          const bool aligned = op.D % W == 0;  // whole vectors can be read where they lie
          if (!aligned) pack(panels, weight, op.I, F, op.D, 1);
          for (int64_t p = 0; p < op.D; p += PANEL)
            strip({told, op.I, 1}, rows, aligned ? weight + p : panels + p * op.I, aligned ? F : PANEL, op.I, sum + p, wide,
                  std::min(PANEL, op.D - p), Start::sum);
        }
        give(op, gx, r, rows, j, op.D, sum, wide);
      }
    };
  });
}

void messages_weight_gradient(const Messages& op, const View& gy, const View& x, float* gweight) {
  const int64_t F = op.K * op.D, wide = padded(F), size = op.I * F, all = samples(op);
  const int64_t parts = op.P > 1 ? op.M : std::min<int64_t>(op.M, 16);  // listeners that share weights are summed in parts
  Buffer shared(op.P > 1 ? 0 : parts * size);
  float* to = op.P > 1 ? gweight : shared.take(parts * size);
  parallel(parts, op.threads, all * size, [&] {
    Buffer buffer(BLOCK * (wide + op.I) + 32);
    float *given = buffer.take(BLOCK * wide), *told = buffer.take(BLOCK * op.I);
    return [&, given, told, keep = std::move(buffer)](int64_t part) {
      float* sum = to + part * size;
      bool fresh = true;
      for (int64_t i = part * op.M / parts; i < (part + 1) * op.M / parts; i++)
        for (int64_t r = 0; r < all; r += BLOCK, fresh = false) {
          const int64_t rows = std::min(BLOCK, all - r);
          listen(given, wide, op, x, r, rows, i);
          take(told, op.I, op, gy, r, rows, i, op.I);
          for (int64_t p = 0; p < F; p += PANEL)
            strip({told, 1, op.I}, op.I, given + p, wide, rows, sum + p, F, std::min(PANEL, F - p),
                  fresh ? Start::zero : Start::sum);
        }
    };
  });
  if (op.P > 1) return;
  std::memcpy(gweight, to, size * 4);
  for (int64_t part = 1; part < parts; part++)
    for (int64_t c = 0; c < size; c++) gweight[c] += to[part * size + c];
}

}  // namespace inn
