// What all samples share (gradients of log_weights and of weights of sums) is left as a partial sum per task, so that it
// depends on no order.

#include "samples.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace inn {
namespace {

constexpr float NOTHING = -std::numeric_limits<float>::infinity();

// The routing weights of listener i, [K]: a softmax over its open edges from neurons that are there, or nothing.
template <class D>
void weigh(Vec* p, const Neighbours& op, int64_t i, const Vec* q, const Vec* k, const Vec* alive, D d) {
  const int64_t* sources = op.sources + i * op.K;
  const bool* open = op.open + i * op.K;
  const Vec zero{}, nothing = all(NOTHING);
  Vec best = nothing, total{};
  for (int64_t e = 0; e < op.K; e++) {
    if (!open[e]) continue;
    Vec s = dot(q, k + sources[e] * d(), d);
    if (op.log_weights) s += all(op.log_weights[i * op.K + e]);
    if (alive) s = alive[sources[e]] != zero ? s : nothing;
    p[e] = s;
    best = s > best ? s : best;
  }
  best = best == nothing ? zero : best;
  for (int64_t e = 0; e < op.K; e++) {
    p[e] = open[e] ? exp(p[e] - best) : zero;
    if (alive && open[e]) p[e] = alive[sources[e]] != zero ? p[e] : zero;
    total += p[e];
  }
  const Vec inverse = total == zero ? zero : 1.0f / total;
  for (int64_t e = 0; e < op.K; e++) p[e] *= inverse;
}

void hand_out(float* weights, const Samples& at, const Vec* p, int64_t h, int64_t i) {
  const Neighbours& op = at.op;
  for (int64_t e = 0; e < op.K; e++) {
    float part[W];
    store(part, p[e]);
    for (int64_t l = 0; l < at.count(); l++) weights[(((at.first + l) * op.H + h) * op.N + i) * op.K + e] = part[l];
  }
}

float scale(const Neighbours& op) { return 1.0f / std::sqrt(static_cast<float>(op.d)); }

}  // namespace

int64_t neighbour_blocks(const Neighbours& op) { return (op.B * op.T + W - 1) / W; }

void neighbour_attention_forward(const Neighbours& op, const View& out, float* weights) {
  const int64_t tile = op.N * op.H * op.d;
  for_each_block(op, 4, 1, [&](const Samples& at, int64_t, Vec* scratch) {
    Vec *q = scratch, *k = q + tile, *v = k + tile, *o = v + tile, *p = o + tile;
    at.everyone().gather(q, op.q, scale(op));
    at.gather(k, op.k);
    at.gather(v, op.v);
    std::memset(o, 0, tile * sizeof(Vec));
    with_width(op.d, [&](auto d) {
      for (int64_t h = 0; h < op.H; h++)
        for (int64_t i = 0, from = h * op.N * d(); i < op.N; i++) {
          Own asks(q + from + i * d(), d), hears(o + from + i * d(), d);
          weigh(p, op, i, asks.vectors(), k + from, at.alive, d);
          if (weights) hand_out(weights, at, p, h, i);
          for (int64_t e = 0, edge = i * op.K; e < op.K; e++, edge++)
            if (op.open[edge])
              add(hears.vectors(), op.signs ? p[e] * op.signs[edge] : p[e], v + from + op.sources[edge] * d(), d);
          hears.put_back();
        }
    });
    at.scatter(out, o);
  });
}

void neighbour_attention_backward(const Neighbours& op, const View& gout, const View& gq, const View& gk,
                                  const View& gv, float* partial) {
  const int64_t tile = op.N * op.H * op.d;
  for_each_block(op, 7, 2, [&](const Samples& at, int64_t block, Vec* scratch) {
    Vec *q = scratch, *k = q + tile, *v = k + tile, *g = v + tile, *dq = g + tile, *dk = dq + tile, *dv = dk + tile;
    Vec *p = dv + tile, *change = p + op.K;
    at.everyone().gather(q, op.q, scale(op));
    at.gather(k, op.k);
    at.gather(v, op.v);
    at.everyone().gather(g, gout);
    std::memset(dq, 0, 3 * tile * sizeof(Vec));
    float* shared = partial ? partial + block * op.N * op.K : nullptr;
    if (shared) std::memset(shared, 0, op.N * op.K * sizeof(float));
    std::vector<float> sums(op.K);
    with_width(op.d, [&](auto d) {
      for (int64_t h = 0; h < op.H; h++)
        for (int64_t i = 0, from = h * op.N * d(); i < op.N; i++) {
          const int64_t own = from + i * d(), first = i * op.K;
          Own asks(q + own, d), told(g + own, d), change_of(dq + own, d);
          Vec *qi = asks.vectors(), *gi = told.vectors(), *dqi = change_of.vectors();
          weigh(p, op, i, qi, k + from, at.alive, d);
          Vec mean{};
          for (int64_t e = 0; e < op.K; e++) {
            if (!op.open[first + e]) continue;
            const int64_t j = from + op.sources[first + e] * d();
            const float sign = op.signs ? op.signs[first + e] : 1.0f;
            change[e] = dot(gi, v + j, d) * sign;
            mean += change[e] * p[e];
            add(dv + j, p[e] * sign, gi, d);
          }
          for (int64_t e = 0; e < op.K; e++) {
            if (!op.open[first + e]) continue;
            const int64_t j = from + op.sources[first + e] * d();
            change[e] = p[e] * (change[e] - mean);
            add(dk + j, change[e], qi, d);
            add(dqi, change[e], k + j, d);
          }
          change_of.put_back();
          if (!shared) continue;
          add_lanes(sums.data(), reinterpret_cast<const float*>(change), op.K);
          for (int64_t e = 0; e < op.K; e++) shared[first + e] += op.open[first + e] ? sums[e] : 0.0f;
        }
    });
    at.scatter(gq, dq, scale(op));
    at.scatter(gk, dk);
    at.scatter(gv, dv);
  });
}

void neighbour_sum_forward(const Neighbours& op, const View& out) {
  const int64_t tile = op.N * op.d;
  for_each_block(op, 2, 0, [&](const Samples& at, int64_t, Vec* scratch) {
    Vec *v = scratch, *o = v + tile;
    at.gather(v, op.v);
    std::memset(o, 0, tile * sizeof(Vec));
    with_width(op.d, [&](auto d) {
      for (int64_t i = 0, edge = 0; i < op.N; i++)
        for (int64_t e = 0; e < op.K; e++, edge++)
          if (op.open[edge]) add(o + i * d(), all(op.signs[edge]), v + op.sources[edge] * d(), d);
    });
    at.scatter(out, o);
  });
}

void neighbour_sum_backward(const Neighbours& op, const View& gout, const View& gv, float* partial) {
  const int64_t tile = op.N * op.d;
  for_each_block(op, 3, 1, [&](const Samples& at, int64_t block, Vec* scratch) {
    Vec *v = scratch, *g = v + tile, *dv = g + tile, *change = dv + tile;
    at.gather(v, op.v);
    at.gather(g, gout);
    std::memset(dv, 0, tile * sizeof(Vec));
    with_width(op.d, [&](auto d) {
      for (int64_t i = 0; i < op.N; i++) {
        for (int64_t e = 0, edge = i * op.K; e < op.K; e++, edge++) {
          const int64_t j = op.sources[edge] * d();
          change[e] = partial && op.open[edge] ? dot(g + i * d(), v + j, d) : Vec{};
          if (op.open[edge]) add(dv + j, all(op.signs[edge]), g + i * d(), d);
        }
        if (partial)
          add_lanes(partial + (block * op.N + i) * op.K, reinterpret_cast<const float*>(change), op.K);
      }
    });
    at.scatter(gv, dv);
  });
}

}  // namespace inn
