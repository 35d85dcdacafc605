// W rows of one neuron at a time, copied as floats into the first cache and padded there to whole vectors: sums over a
// row's numbers are taken lane by lane, then across lanes for W rows at once by a transpose. Mean and deviation are
// computed again in the backward pass, which has to read the rows anyway.

#include "norm.h"

#include <cmath>
#include <cstring>

namespace inn {
namespace {

// The rows b T + t = first .. first + count - 1 of neuron n, at most W.
struct Block {
  const Norm& op;
  int64_t n, first, count, wide;  // `wide`: D rounded up to whole vectors

  int64_t set() const { return op.P > 1 ? n : 0; }

  void fetch(float* to, const View& v) const {
    if (wide > op.D || count < W) std::memset(to, 0, W * wide * 4);
    each(v, [&](int64_t at, int64_t l) { read(to + l * wide, v, at, op.D); });
  }
  void put(const View& v, const float* from) const {
    each(v, [&](int64_t at, int64_t l) { write(v, at, from + l * wide, op.D); });
  }

  // The means of f(l, e) over the numbers of each row l, e going by whole vectors.
  template <class F>
  void means(float* to, const F& f) const {
    Vec sum[W];
    for (int64_t l = 0; l < W; l++) {
      sum[l] = Vec{};
      for (int64_t e = 0; e < wide; e += W) sum[l] += f(l, e);
    }
    transpose(sum);
    for (int l = 1; l < W; l++) sum[0] += sum[l];
    store(to, sum[0] / static_cast<float>(op.D));
  }

  // Takes the mean from each row, and gives one over the deviation. Padding stays zero.
  void centre(float* x, float* inverse) const {
    float mean[W], variance[W];
    means(mean, [&](int64_t l, int64_t e) { return load(x + l * wide + e); });
    for (int64_t l = 0; l < W; l++) {
      int64_t e = 0;
      for (; e + W <= op.D; e += W) store(x + l * wide + e, load(x + l * wide + e) - mean[l]);
      for (; e < op.D; e++) x[l * wide + e] -= mean[l];
    }
    means(variance, [&](int64_t l, int64_t e) { return load(x + l * wide + e) * load(x + l * wide + e); });
    for (int64_t l = 0; l < W; l++) inverse[l] = 1.0f / std::sqrt(variance[l] + op.epsilon);
  }

 private:
  template <class F>
  void each(const View& v, const F& f) const {
    int64_t b = first / op.T, t = first % op.T;
    for (int64_t l = 0; l < count; l++) {
      f(v.at(b, t, n), l);
      if (++t == op.T) {
        t = 0;
        b++;
      }
    }
  }
};

int64_t whole(int64_t D) { return (D + W - 1) / W * W; }

// A gain or bias, padded with zeros.
void padded(float* to, const float* from, int64_t D) {
  std::memcpy(to, from, D * 4);
  std::memset(to + D, 0, (whole(D) - D) * 4);
}

// Runs work(block, scratch) over slices of every neuron's rows; start(task, n, scratch) before and stop after each.
template <class Work, class Start, class Stop>
void for_each_block(const Norm& op, int64_t slices, int64_t scratch, const Start& start, const Work& work, const Stop& stop) {
  const int64_t rows = op.B * op.T;
  parallel(op.N * slices, op.threads, rows / slices * op.D * 8, [&] {
    Buffer buffer(scratch);
    float* own = buffer.take(scratch);
    return [&, own, buffer = std::move(buffer)](int64_t task) {
      const int64_t n = task / slices, s = task % slices, end = (s + 1) * rows / slices;
      start(n, own);
      for (int64_t r = s * rows / slices; r < end; r += W)
        work(Block{op, n, r, std::min<int64_t>(W, end - r), whole(op.D)}, own);
      stop(task, own);
    };
  });
}

// Slices of a neuron's rows, and so the order of sums over them, depend on the shapes alone.
int64_t slices(const Norm& op) { return std::clamp<int64_t>(op.B * op.T / 256, 1, std::max<int64_t>(1, 32 / op.N)); }

}  // namespace

void norm_forward(const Norm& op, const View& y) {
  const int64_t wide = whole(op.D);
  for_each_block(
      op, slices(op), (W + 2) * wide,
      [&](int64_t n, float* own) {
        const int64_t set = op.P > 1 ? n : 0;
        padded(own + W * wide, op.weight + set * op.D, op.D);
        padded(own + (W + 1) * wide, op.bias + set * op.D, op.D);
      },
      [&](const Block& at, float* x) {
        const float *gain = x + W * wide, *bias = gain + wide;
        float inverse[W];
        at.fetch(x, op.x);
        at.centre(x, inverse);
        for (int64_t l = 0; l < at.count; l++)
          for (int64_t e = 0; e < wide; e += W)
            store(x + l * wide + e, load(x + l * wide + e) * inverse[l] * load(gain + e) + load(bias + e));
        at.put(y, x);
      },
      [](int64_t, float*) {});
}

void norm_backward(const Norm& op, const View& gy, const View& gx, float* gweight, float* gbias) {
  const int64_t wide = whole(op.D), parts = slices(op), size = 2 * wide;
  Buffer buffer(op.N * parts * size);
  float* sums = buffer.take(op.N * parts * size);  // [N][slices][gain, bias][wide]
  for_each_block(
      op, parts, (2 * W + 3) * wide,
      [&](int64_t n, float* own) {
        padded(own + 2 * W * wide, op.weight + (op.P > 1 ? n : 0) * op.D, op.D);
        std::memset(own + (2 * W + 1) * wide, 0, size * 4);
      },
      [&](const Block& at, float* x) {
        float *g = x + W * wide, *gain = g + W * wide, *to_gain = gain + wide, *to_bias = to_gain + wide;
        float inverse[W], mean[W], along[W];
        at.fetch(x, op.x);
        at.centre(x, inverse);
        at.fetch(g, gy);
        for (int64_t l = 0; l < at.count; l++)
          for (int64_t e = 0; e < wide; e += W) {
            const Vec normal = load(x + l * wide + e) * inverse[l], change = load(g + l * wide + e);
            store(to_gain + e, load(to_gain + e) + change * normal);
            store(to_bias + e, load(to_bias + e) + change);
            store(x + l * wide + e, normal);
            store(g + l * wide + e, change * load(gain + e));
          }
        at.means(mean, [&](int64_t l, int64_t e) { return load(g + l * wide + e); });
        at.means(along, [&](int64_t l, int64_t e) { return load(g + l * wide + e) * load(x + l * wide + e); });
        for (int64_t l = 0; l < at.count; l++)
          for (int64_t e = 0; e < wide; e += W)
            store(g + l * wide + e, (load(g + l * wide + e) - mean[l] - load(x + l * wide + e) * along[l]) * inverse[l]);
        at.put(gx, g);
      },
      [&](int64_t task, float* own) { std::memcpy(sums + task * size, own + (2 * W + 1) * wide, size * 4); });
  for (int64_t n = 0; n < op.N; n++)
    for (int64_t s = 0; s < parts; s++)
      for (int64_t e = 0; e < op.D; e++) {
        const float* from = sums + (n * parts + s) * size;
        const bool first = s == 0 && (op.P > 1 || n == 0);
        const int64_t at = (op.P > 1 ? n : 0) * op.D + e;
        gweight[at] = (first ? 0.0f : gweight[at]) + from[e];
        gbias[at] = (first ? 0.0f : gbias[at]) + from[wide + e];
      }
}

}  // namespace inn
