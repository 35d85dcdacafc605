// What goes along listed edges by numbers that differ from step to step.

#include "samples.h"

#include <cstring>

namespace inn {
namespace {

// The numbers of listener i's edges, [K], from or to [B, T, H, N, K].
template <class Number, class Work>
void rows_of(Number* numbers, const Samples& at, int64_t h, int64_t i, const Work& work) {
  const Neighbours& op = at.op;
  Number* row = numbers + ((at.first * op.H + h) * op.N + i) * op.K;
  for (int64_t e = 0; e < op.K; e += W) work(row + e, op.H * op.N * op.K, e, std::min<int64_t>(W, op.K - e));
}

void take(Vec* p, const float* numbers, const Samples& at, int64_t h, int64_t i) {
  const int64_t some = at.count();
  rows_of(numbers, at, h, i, [&](const float* row, int64_t sample, int64_t e, int64_t wide) {
    Vec r[W];
    for (int64_t l = 0; l < W; l++) {
      float part[W] = {};
      if (l < some) std::memcpy(part, row + l * sample, wide * 4);
      r[l] = load(part);
    }
    transpose(r);
    for (int64_t c = 0; c < wide; c++) p[e + c] = r[c];
  });
}

void give(float* numbers, const Samples& at, const Vec* p, int64_t h, int64_t i) {
  const int64_t some = at.count();
  rows_of(numbers, at, h, i, [&](float* row, int64_t sample, int64_t e, int64_t wide) {
    Vec r[W] = {};
    for (int64_t c = 0; c < wide; c++) r[c] = p[e + c];
    transpose(r);
    for (int64_t l = 0; l < some; l++) {
      float part[W];
      store(part, r[l]);
      std::memcpy(row + l * sample, part, wide * 4);
    }
  });
}

// Adds w_ie from_a to to_b for every open edge, where (a, b) is (source, listener), or the other way round.
void along(const Neighbours& op, const float* weights, const View& out, bool back) {
  const int64_t tile = op.N * op.H * op.d;
  for_each_block(op, 2, 1, [&](const Samples& at, int64_t, Vec* scratch) {
    Vec *v = scratch, *o = v + tile, *p = o + tile;
    at.gather(v, op.v);
    std::memset(o, 0, tile * sizeof(Vec));
    with_width(op.d, [&](auto d) {
      for (int64_t h = 0; h < op.H; h++)
        for (int64_t i = 0, from = h * op.N * d(); i < op.N; i++) {
          take(p, weights, at, h, i);
          for (int64_t e = 0, edge = i * op.K; e < op.K; e++, edge++) {
            const int64_t own = from + i * d(), other = from + op.sources[edge] * d();
            if (op.open[edge]) add(o + (back ? other : own), p[e], v + (back ? own : other), d);
          }
        }
    });
    at.scatter(out, o);
  });
}

}  // namespace

void neighbour_mix(const Neighbours& op, const float* weights, const View& out) { along(op, weights, out, false); }
void neighbour_spread(const Neighbours& op, const float* weights, const View& out) { along(op, weights, out, true); }

void neighbour_scores(const Neighbours& op, float* scores) {
  const int64_t tile = op.N * op.H * op.d;
  for_each_block(op, 2, 1, [&](const Samples& at, int64_t, Vec* scratch) {
    Vec *q = scratch, *k = q + tile, *p = k + tile;
    at.gather(q, op.q);
    at.gather(k, op.k);
    with_width(op.d, [&](auto d) {
      for (int64_t h = 0; h < op.H; h++)
        for (int64_t i = 0, from = h * op.N * d(); i < op.N; i++) {
          for (int64_t e = 0, edge = i * op.K; e < op.K; e++, edge++)
            p[e] = op.open[edge] ? dot(q + from + i * d(), k + from + op.sources[edge] * d(), d) : Vec{};
          give(scores, at, p, h, i);
        }
    });
  });
}

}  // namespace inn
