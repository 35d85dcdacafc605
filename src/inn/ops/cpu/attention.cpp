// W steps of one stream lie side by side, so that every number of theirs is one vector and no sum is ever taken across
// it. The N x N routing weights of a head stay in the cache: the backward pass computes them again from queries and keys.
// A task is one head of W steps of one stream; tasks write disjoint rows.

#include "attention.h"

#include <cmath>
#include <cstring>
#include <limits>

namespace inn {
namespace {

constexpr float NOTHING = -std::numeric_limits<float>::infinity();

// A hash of (seed, place): whether a weight is dropped needs neither memory nor an order of computation (splitmix64).
inline uint32_t random_bits(uint64_t seed, uint64_t place) {
  uint64_t z = seed + (place + 1) * 0x9E3779B97F4A7C15ull;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return static_cast<uint32_t>((z ^ (z >> 31)) >> 32);
}

// W steps from t on of one head of one stream.
struct Block {
  const Attention& op;
  int64_t b, t, h;

  int64_t steps() const { return std::min<int64_t>(W, op.T - t); }
  int64_t tile() const { return op.N * op.d; }
  const bool* edges(int64_t i) const { return op.open ? op.open + i * op.N : nullptr; }

  // A tensor's rows as [N][d] vectors, one step per lane; lanes past the end are zero.
  void gather(Vec* to, const View& from, float scale = 1.0f) const {
    for (int64_t n = 0; n < op.N; n++)
      for (int64_t e = 0; e < op.d; e += W) {
        const int64_t wide = std::min<int64_t>(W, op.d - e);
        Vec r[W] = {};
        for (int64_t l = 0; l < steps(); l++) {
          float row[W] = {};
          read(row, from, from.at(b, t + l, n) + h * op.d + e, wide);
          r[l] = load(row);
        }
        transpose(r);
        for (int64_t c = 0; c < wide; c++) to[n * op.d + e + c] = r[c] * scale;
      }
  }

  void scatter(const View& to, const Vec* from) const {
    for (int64_t n = 0; n < op.N; n++)
      for (int64_t e = 0; e < op.d; e += W) {
        const int64_t wide = std::min<int64_t>(W, op.d - e);
        Vec r[W] = {};
        for (int64_t c = 0; c < wide; c++) r[c] = from[n * op.d + e + c];
        transpose(r);
        for (int64_t l = 0; l < steps(); l++) {
          float row[W];
          store(row, r[l]);
          write(to, to.at(b, t + l, n) + h * op.d + e, row, wide);
        }
      }
  }

  // What dropout multiplies the weight of edge j -> i by.
  Vec kept(int64_t i, int64_t j) const {
    if (op.dropout == 0) return all(1.0f);
    const uint64_t edges = op.H * op.N * op.N, first = ((b * op.T + t) * op.H + h) * op.N * op.N + i * op.N + j;
    const auto threshold = static_cast<uint32_t>(op.dropout * 4294967296.0);
    const auto scale = static_cast<float>(1.0 / (1.0 - op.dropout));
    float factor[W];
    for (int64_t l = 0; l < W; l++)
      factor[l] = random_bits(op.seed, first + l * edges) < threshold ? 0.0f : scale;
    return load(factor);
  }
};

inline Vec dot(const Vec* a, const Vec* b, int64_t d) {
  Vec even{}, odd{};  // two sums, so that one addition need not wait for the other
  int64_t e = 0;
  for (; e + 1 < d; e += 2) {
    even += a[e] * b[e];
    odd += a[e + 1] * b[e + 1];
  }
  return e < d ? even + a[e] * b[e] + odd : even + odd;
}

inline void add_scaled(Vec* to, const Vec* from, Vec by, int64_t d) {
  for (int64_t e = 0; e < d; e++) to[e] += by * from[e];
}

// The routing weights of one listener: softmax_j(q . k_j) over its open edges; zero where none is open.
void weigh(Vec* p, const Vec* q, const Vec* k, const bool* open, int64_t N, int64_t d) {
  Vec best = all(NOTHING), total{};
  bool deaf = true;
  for (int64_t j = 0; j < N; j++) {
    if (open && !open[j]) continue;
    deaf = false;
    p[j] = dot(q, k + j * d, d);
    best = p[j] > best ? p[j] : best;
  }
  for (int64_t j = 0; j < N; j++) {
    p[j] = open && !open[j] ? Vec{} : exp(p[j] - best);
    total += p[j];
  }
  if (deaf) return;
  const Vec inverse = 1.0f / total;
  for (int64_t j = 0; j < N; j++) p[j] *= inverse;
}

// Runs work(block, scratch) for every block, `vectors` of scratch for each thread.
template <class Work>
void for_each_block(const Attention& op, int64_t vectors, const Work& work) {
  const int64_t blocks = (op.T + W - 1) / W;
  parallel(op.B * blocks * op.H, op.threads, W * op.N * (op.N + 4) * (op.d + 8), [&] {
    const int64_t floats = (vectors * W + 15) / 16 * 16;
    Buffer buffer(floats);
    auto* scratch = reinterpret_cast<Vec*>(buffer.take(floats));
    return [&, scratch, buffer = std::move(buffer)](int64_t i) {
      work(Block{op, i / op.H / blocks, i / op.H % blocks * W, i % op.H}, scratch);
    };
  });
}

float scale(const Attention& op) { return 1.0f / std::sqrt(static_cast<float>(op.d)); }

}  // namespace

void attention_forward(const Attention& op, const View& out) {
  for_each_block(op, 4 * op.N * op.d + op.N, [&](const Block& at, Vec* scratch) {
    const int64_t N = op.N, d = op.d;
    Vec *q = scratch, *k = q + at.tile(), *v = k + at.tile(), *o = v + at.tile(), *p = o + at.tile();
    at.gather(q, op.q, scale(op));
    at.gather(k, op.k);
    at.gather(v, op.v);
    std::memset(o, 0, at.tile() * sizeof(Vec));
    for (int64_t i = 0; i < N; i++) {
      weigh(p, q + i * d, k, at.edges(i), N, d);
      for (int64_t j = 0; j < N; j++) add_scaled(o + i * d, v + j * d, p[j] * at.kept(i, j), d);
    }
    at.scatter(out, o);
  });
}

void attention_backward(const Attention& op, const View& gout, const View& gq, const View& gk, const View& gv) {
  for_each_block(op, 7 * op.N * op.d + 2 * op.N, [&](const Block& at, Vec* scratch) {
    const int64_t N = op.N, d = op.d;
    Vec *q = scratch, *k = q + at.tile(), *v = k + at.tile(), *g = v + at.tile();
    Vec *dq = g + at.tile(), *dk = dq + at.tile(), *dv = dk + at.tile(), *p = dv + at.tile(), *dp = p + N;
    at.gather(q, op.q, scale(op));
    at.gather(k, op.k);
    at.gather(v, op.v);
    at.gather(g, gout);
    std::memset(dq, 0, 3 * at.tile() * sizeof(Vec));
    for (int64_t i = 0; i < N; i++) {
      weigh(p, q + i * d, k, at.edges(i), N, d);
      Vec mean{};  // of dp under p: what the softmax takes out
      for (int64_t j = 0; j < N; j++) {
        const Vec kept = at.kept(i, j);
        add_scaled(dv + j * d, g + i * d, p[j] * kept, d);
        dp[j] = dot(g + i * d, v + j * d, d) * kept;
        mean += dp[j] * p[j];
      }
      for (int64_t j = 0; j < N; j++) {
        const Vec ds = p[j] * (dp[j] - mean);
        add_scaled(dq + i * d, k + j * d, ds * scale(op), d);
        add_scaled(dk + j * d, q + i * d, ds, d);
      }
    }
    at.scatter(gq, dq);
    at.scatter(gk, dk);
    at.scatter(gv, dv);
  });
}

}  // namespace inn
