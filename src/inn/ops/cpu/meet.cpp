// W listeners of one meeting lie side by side; keys and values are one number for all lanes, so that nothing is summed
// across lanes but the gradients of keys and values, at the end. A task is some meetings, whose rows nobody else writes.

#include "meet.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace inn {
namespace {

constexpr int64_t TASK = 16;  // meetings of a task

// One meeting's rows of one head, as floats.
struct Rows {
  const int64_t* order;
  int64_t count;

  int64_t at(const View& v, int64_t i, int64_t h, int64_t d) const { return v.at(0, order[i], 0) + h * d; }
  // [count][d]
  void gather(float* to, const View& v, int64_t h, int64_t d) const {
    for (int64_t i = 0; i < count; i++) read(to + i * d, v, at(v, i, h, d), d);
  }
  void scatter(const View& v, const float* from, int64_t h, int64_t d) const {
    for (int64_t i = 0; i < count; i++) write(v, at(v, i, h, d), from + i * d, d);
  }
};

// W rows of [count][d] from i on, turned: [d] vectors; lanes past the end are zero.
void turn(Vec* to, const float* from, int64_t i, int64_t count, int64_t d, float scale) {
  for (int64_t c = 0; c < d; c++) {
    float part[W] = {};
    for (int64_t l = 0; l < W && i + l < count; l++) part[l] = from[(i + l) * d + c] * scale;
    to[c] = load(part);
  }
}

void turn_back(float* to, const Vec* from, int64_t i, int64_t count, int64_t d, float scale) {
  for (int64_t c = 0; c < d; c++) {
    float part[W];
    store(part, from[c]);
    for (int64_t l = 0; l < W && i + l < count; l++) to[(i + l) * d + c] = part[l] * scale;
  }
}

inline Vec dot(const Vec* a, const float* b, int64_t d) {
  Vec sum = a[0] * b[0];
  for (int64_t c = 1; c < d; c++) sum += a[c] * b[c];
  return sum;
}

// What W listeners give each of `count` rows: a softmax over all.
void weigh(Vec* p, const Vec* q, const float* k, int64_t count, int64_t d) {
  Vec best = all(-std::numeric_limits<float>::infinity()), total{};
  for (int64_t j = 0; j < count; j++) {
    p[j] = dot(q, k + j * d, d);
    best = p[j] > best ? p[j] : best;
  }
  for (int64_t j = 0; j < count; j++) total += p[j] = exp(p[j] - best);
  const Vec inverse = 1.0f / total;
  for (int64_t j = 0; j < count; j++) p[j] *= inverse;
}

// Runs work(rows, h, floats, vectors) for every meeting and head, with so many [most][d] of floats and vectors, and
// [most] and [d] vectors besides.
template <class Work>
void for_each(const Meet& op, int64_t floats, int64_t vectors, int64_t rows, int64_t wide, const Work& work) {
  const int64_t tile = (op.most * op.d + 15) / 16 * 16;
  parallel((op.M + TASK - 1) / TASK, op.threads, TASK * op.H * op.most * op.most * op.d * 4, [&] {
    const int64_t lanes = vectors * op.most * op.d + rows * op.most + wide * op.d;
    Buffer buffer(floats * tile + lanes * W + 32);
    float* numbers = buffer.take(floats * tile);
    auto* scratch = reinterpret_cast<Vec*>(buffer.take(lanes * W));
    return [&, numbers, scratch, tile, buffer = std::move(buffer)](int64_t task) {
      for (int64_t m = task * TASK; m < std::min(op.M, (task + 1) * TASK); m++)
        for (int64_t h = 0; h < op.H; h++)
          work(Rows{op.order + op.first[m], op.first[m + 1] - op.first[m]}, h, numbers, tile, scratch);
    };
  });
}

float scale(const Meet& op) { return 1.0f / std::sqrt(static_cast<float>(op.d)); }

}  // namespace

void meet_forward(const Meet& op, const View& out) {
  for_each(op, 4, 0, 1, 2, [&](const Rows& at, int64_t h, float* numbers, int64_t tile, Vec* scratch) {
    const int64_t d = op.d;
    float *q = numbers, *k = q + tile, *v = k + tile, *o = v + tile;
    Vec *p = scratch, *ask = p + op.most, *told = ask + d;
    at.gather(q, op.q, h, d);
    at.gather(k, op.k, h, d);
    at.gather(v, op.v, h, d);
    for (int64_t i = 0; i < at.count; i += W) {
      turn(ask, q, i, at.count, d, scale(op));
      weigh(p, ask, k, at.count, d);
      std::memset(told, 0, d * sizeof(Vec));
      for (int64_t j = 0; j < at.count; j++)
        for (int64_t c = 0; c < d; c++) told[c] += p[j] * v[j * d + c];
      turn_back(o, told, i, at.count, d, 1.0f);
    }
    at.scatter(out, o, h, d);
  });
}

void meet_backward(const Meet& op, const View& gout, const View& gq, const View& gk, const View& gv) {
  for_each(op, 7, 2, 2, 3, [&](const Rows& at, int64_t h, float* numbers, int64_t tile, Vec* scratch) {
    const int64_t d = op.d;
    float *q = numbers, *k = q + tile, *v = k + tile, *g = v + tile, *dq = g + tile, *dk = dq + tile, *dv = dk + tile;
    Vec *to_k = scratch, *to_v = to_k + op.most * d, *p = to_v + op.most * d, *change = p + op.most;
    Vec *ask = change + op.most, *back = ask + d, *to_q = back + d;
    at.gather(q, op.q, h, d);
    at.gather(k, op.k, h, d);
    at.gather(v, op.v, h, d);
    at.gather(g, gout, h, d);
    std::memset(to_k, 0, at.count * d * sizeof(Vec));
    std::memset(to_v, 0, at.count * d * sizeof(Vec));
    for (int64_t i = 0; i < at.count; i += W) {
      turn(ask, q, i, at.count, d, scale(op));
      turn(back, g, i, at.count, d, 1.0f);  // zero in the lanes past the end, and so is all that they add
      weigh(p, ask, k, at.count, d);
      Vec mean{};
      for (int64_t j = 0; j < at.count; j++) {
        change[j] = dot(back, v + j * d, d);
        mean += change[j] * p[j];
        for (int64_t c = 0; c < d; c++) to_v[j * d + c] += p[j] * back[c];
      }
      std::memset(to_q, 0, d * sizeof(Vec));
      for (int64_t j = 0; j < at.count; j++) {
        const Vec s = p[j] * (change[j] - mean);
        for (int64_t c = 0; c < d; c++) {
          to_q[c] += s * k[j * d + c];
          to_k[j * d + c] += s * ask[c];
        }
      }
      turn_back(dq, to_q, i, at.count, d, scale(op));
    }
    add_lanes(dk, reinterpret_cast<const float*>(to_k), at.count * d);
    add_lanes(dv, reinterpret_cast<const float*>(to_v), at.count * d);
    at.scatter(gq, dq, h, d);
    at.scatter(gk, dk, h, d);
    at.scatter(gv, dv, h, d);
  });
}

}  // namespace inn
