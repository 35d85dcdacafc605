// Slot by slot: symbols and buckets of its followers into the first cache, then what is asked of them. Nothing is kept
// for the backward pass, which finds the buckets again. Gradients that many steps add to, those of the table and of the
// symbols, are summed in parts of the steps that depend on the shapes alone, and the parts in order.

#include "votes.h"

#include <array>
#include <cstring>
#include <vector>

#include "common.h"

namespace inn {
namespace {

constexpr int32_t COUNTS = 256, LEVELS = 16;

constexpr auto LEVEL = [] {
  constexpr int32_t starts[LEVELS] = {0, 1, 2, 3, 4, 5, 6, 7, 9, 12, 16, 24, 36, 60, 100, 180};
  std::array<uint8_t, COUNTS> levels{};
  for (int32_t n = 0; n < COUNTS; n++)
    for (int32_t l = 0; l < LEVELS; l++)
      if (n >= starts[l]) levels[n] = l;
  return levels;
}();
constexpr uint8_t SURE[8] = {1, 2, 2, 3, 3, 3, 3, 3};  // by the run of the last symbol

// The followers of one slot.
struct Slot {
  int64_t count = 0;
  std::vector<int32_t> symbol, bucket;

  explicit Slot(int64_t F) : symbol(F), bucket(F) {}

  void read(const Votes& op, int64_t slot) {
    const int32_t *found = op.found + slot * op.F, last = op.last[slot], sure = SURE[last & 7];
    int32_t total = 0;
    for (int64_t f = 0; f < op.F; f++) total += found[f] < 0 ? 0 : found[f] & (COUNTS - 1);
    count = 0;
    for (int64_t f = 0; f < op.F; f++) {
      if (found[f] < 0) continue;
      const int32_t c = found[f] & (COUNTS - 1), s = found[f] >> 8, level = LEVEL[std::min(total - c, COUNTS - 1)];
      symbol[count] = s;
      bucket[count++] = (LEVEL[c] * LEVELS + level) * 4 + (s == last >> 3 ? sure : 0);
    }
  }
};

constexpr int64_t STEPS = 32;  // of a forward task

// Runs work(step, slot) for all steps.
template <class Work>
void for_each_step(const Votes& op, int64_t cost, const Work& work) {
  parallel((op.R + STEPS - 1) / STEPS, op.threads, STEPS * op.K * op.F * cost, [&] {
    return [&, slot = Slot(op.F)](int64_t task) mutable {
      const int64_t end = std::min(op.R, (task + 1) * STEPS);
      for (int64_t r = task * STEPS; r < end; r++) work(r, slot);
    };
  });
}

// Runs work(step, slot, sums, scratch) for all steps, which adds about `products` products each to `size` sums; parts
// hold no more sums than there are products.
template <class Work>
void sum_over_steps(const Votes& op, int64_t products, int64_t size, int64_t scratch, float* total, const Work& work) {
  const int64_t parts = std::clamp<int64_t>(op.R * products / size, 1, std::min<int64_t>(op.R, 32));
  Buffer buffer(parts * size);
  float* sums = buffer.take(parts * size);
  parallel(parts, op.threads, op.R * products / parts * 4, [&] {
    return [&, slot = Slot(op.F), own = std::vector<float>(scratch)](int64_t part) mutable {
      float* to = sums + part * size;
      std::memset(to, 0, size * 4);
      const int64_t end = (part + 1) * op.R / parts;
      for (int64_t r = part * op.R / parts; r < end; r++) work(r, slot, to, own.data());
    };
  });
  std::memcpy(total, sums, size * 4);
  for (int64_t p = 1; p < parts; p++)
    for (int64_t i = 0; i < size; i++) total[i] += sums[p * size + i];
}

int64_t whole(int64_t E) { return (E + W - 1) / W * W; }

// The vectors of the symbols, padded with zeros to whole ones.
float* padded(const Votes& op, Buffer& buffer) {
  const int64_t wide = whole(op.E);
  float* to = buffer.take(op.V * wide);
  for (int64_t v = 0; v < op.V; v++) {
    std::memcpy(to + v * wide, op.symbols + v * op.E, op.E * 4);
    std::memset(to + v * wide + op.E, 0, (wide - op.E) * 4);
  }
  return to;
}

}  // namespace

int64_t largest_symbol(const Votes& op) {
  int32_t most = -1;
  for (int64_t i = 0; i < op.R * op.K * op.F; i++) most = std::max(most, op.found[i]);
  return most >> 8;
}

void votes_forward(const Votes& op, float* y) {
  for_each_step(op, 8, [&](int64_t r, Slot& slot) {
    float* to = y + r * op.V;
    std::memset(to, 0, op.V * 4);
    for (int64_t k = 0; k < op.K; k++) {
      slot.read(op, r * op.K + k);
      const float weight = op.weights[r * op.K + k], *said = op.table + k * BUCKETS;
      for (int64_t i = 0; i < slot.count; i++) to[slot.symbol[i]] += weight * said[slot.bucket[i]];
    }
  });
}

void votes_backward(const Votes& op, const float* gy, float* gtable, float* gweights) {
  sum_over_steps(op, op.K * op.F, op.K * BUCKETS, 0, gtable, [&](int64_t r, Slot& slot, float* sums, float*) {
    const float* from = gy + r * op.V;
    for (int64_t k = 0; k < op.K; k++) {
      slot.read(op, r * op.K + k);
      const float weight = op.weights[r * op.K + k], *said = op.table + k * BUCKETS;
      float along = 0, *to = sums + k * BUCKETS;
      for (int64_t i = 0; i < slot.count; i++) {
        const float g = from[slot.symbol[i]];
        along += said[slot.bucket[i]] * g;
        to[slot.bucket[i]] += weight * g;
      }
      gweights[r * op.K + k] = along;
    }
  });
}

void expected_forward(const Votes& op, float* y) {
  const int64_t wide = whole(op.E);
  Buffer buffer(op.V * wide);
  const float* vectors = padded(op, buffer);
  for_each_step(op, 8 + op.E, [&](int64_t r, Slot& slot) {
    for (int64_t k = 0; k < op.K; k++) {
      slot.read(op, r * op.K + k);
      const float* said = op.table + k * BUCKETS;
      float* to = y + (r * op.K + k) * op.E;
      for (int64_t e = 0; e < wide; e += W) {
        Vec sum{};
        for (int64_t i = 0; i < slot.count; i++)
          sum += said[slot.bucket[i]] * load(vectors + slot.symbol[i] * wide + e);
        std::memcpy(to + e, &sum, std::min<int64_t>(W, op.E - e) * 4);
      }
    }
  });
}

void expected_backward(const Votes& op, const float* gy, float* gtable, float* gsymbols) {
  const int64_t wide = whole(op.E), tables = op.K * BUCKETS, size = tables + op.V * wide;
  Buffer buffer(op.V * wide + size + 32);
  const float* vectors = padded(op, buffer);
  float* total = buffer.take(size);
  const int64_t scratch = wide + op.F * W + op.F;  // the gradient, its products with each vector, their sums
  sum_over_steps(op, op.K * op.F * op.E, size, scratch, total, [&](int64_t r, Slot& slot, float* sums, float* own) {
    float *g = own, *products = own + wide, *along = products + op.F * W;
    std::memset(g + op.E, 0, (wide - op.E) * 4);
    for (int64_t k = 0; k < op.K; k++) {
      slot.read(op, r * op.K + k);
      const float* said = op.table + k * BUCKETS;
      std::memcpy(g, gy + (r * op.K + k) * op.E, op.E * 4);
      for (int64_t i = 0; i < slot.count; i++) {
        const float *vector = vectors + slot.symbol[i] * wide, p = said[slot.bucket[i]];
        float* to = sums + tables + slot.symbol[i] * wide;
        Vec sum{};
        for (int64_t e = 0; e < wide; e += W) {
          sum += load(g + e) * load(vector + e);
          store(to + e, load(to + e) + p * load(g + e));
        }
        store(products + i * W, sum);
      }
      add_lanes(along, products, slot.count);
      for (int64_t i = 0; i < slot.count; i++) sums[k * BUCKETS + slot.bucket[i]] += along[i];
    }
  });
  std::memcpy(gtable, total, tables * 4);
  for (int64_t v = 0; v < op.V; v++) std::memcpy(gsymbols + v * op.E, total + tables + v * wide, op.E * 4);
}

}  // namespace inn
