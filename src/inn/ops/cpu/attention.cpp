// W steps of one stream lie side by side, so that every number of theirs is one vector and no sum is ever taken across
// it. The N x N routing weights of a head never leave the cache: only those of four listeners are there at a time, and
// the backward pass computes them again from queries and keys. Products are done in blocks of 4 x 4 vectors.
//
// A task is W steps of one stream and a few heads (as many as fill a vector when rows are read); tasks write disjoint
// rows. Neurons are padded with zeros to a multiple of four.

#include "attention.h"

#include <algorithm>
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

// W steps from t on of one stream, and `heads` heads from h on.
struct Block {
  const Attention& op;
  int64_t b, t, h, heads;

  int64_t steps() const { return std::min<int64_t>(W, op.T - t); }
  int64_t width() const { return heads * op.d; }

  // A tensor's rows as [N][width] vectors, one step per lane; lanes past the end and neurons past N are zero.
  void gather(Vec* to, const View& from, float scale = 1.0f) const {
    std::memset(to + op.N * width(), 0, (padded(op.N) - op.N) * width() * sizeof(Vec));
    if (from.bf16)
      gather(to, static_cast<const uint16_t*>(from.data) + from.at(b, t, 0) + h * op.d, from, scale);
    else
      gather(to, static_cast<const float*>(from.data) + from.at(b, t, 0) + h * op.d, from, scale);
  }

  void scatter(const View& to, const Vec* from, float scale = 1.0f) const {
    if (to.bf16)
      scatter(static_cast<uint16_t*>(to.data) + to.at(b, t, 0) + h * op.d, to, from, scale);
    else
      scatter(static_cast<float*>(to.data) + to.at(b, t, 0) + h * op.d, to, from, scale);
  }

  // The factors by which dropout multiplies the weights of listener i, [N].
  void keep(Vec* to, int64_t head, int64_t i) const {
    const uint64_t edges = op.H * op.N * op.N;
    const uint64_t first = ((b * op.T + t) * op.H + h + head) * op.N * op.N + i * op.N;
    const auto threshold = static_cast<uint32_t>(op.dropout * 4294967296.0);
    const auto scale = static_cast<float>(1.0 / (1.0 - op.dropout));
    for (int64_t j = 0; j < op.N; j++) {
      float factor[W];
      for (int64_t l = 0; l < W; l++)
        factor[l] = random_bits(op.seed, first + j + l * edges) < threshold ? 0.0f : scale;
      to[j] = load(factor);
    }
  }

  // Writes the routing weights of listener i, [N], to where [B, T, H, N, N] has them.
  void hand_out(float* weights, const Vec* p, int64_t head, int64_t i) const {
    const int64_t N = op.N;
    for (int64_t j = 0; j < N; j += W) {
      const int64_t wide = std::min<int64_t>(W, N - j);
      Vec r[W];
      for (int64_t c = 0; c < W; c++) r[c] = c < wide ? p[j + c] : Vec{};
      transpose(r);
      for (int64_t l = 0; l < steps(); l++) {
        float part[W];
        store(part, r[l]);
        std::memcpy(weights + ((((b * op.T + t + l) * op.H + h + head) * N + i) * N + j), part, wide * 4);
      }
    }
  }

  static int64_t padded(int64_t neurons) { return (neurons + 3) / 4 * 4; }

 private:
  template <class T>
  void gather(Vec* to, const T* first, const View& v, float scale) const {
    const int64_t count = steps(), wide = width();
    for (int64_t n = 0; n < op.N; n++)
      for (int64_t e = 0; e < wide; e += W) {
        const T* from = first + n * v.n + e;
        Vec r[W];
        if (count == W && e + W <= wide) {
#pragma GCC unroll 16
          for (int l = 0; l < W; l++) r[l] = load(from + l * v.t);
          if (n + 1 < op.N)  // what lies this far apart is not fetched by itself
#pragma GCC unroll 16
            for (int l = 0; l < W; l++) __builtin_prefetch(from + v.n + l * v.t);
        } else {
          for (int64_t l = 0; l < W; l++) {
            float part[W] = {};
            if (l < count) read(part, from + l * v.t, std::min<int64_t>(W, wide - e));
            r[l] = load(part);
          }
        }
        transpose(r);
        Vec* place = to + n * wide + e;
        for (int64_t c = 0; c < std::min<int64_t>(W, wide - e); c++) place[c] = r[c] * scale;
      }
  }

  template <class T>
  void scatter(T* first, const View& v, const Vec* from, float scale) const {
    const int64_t count = steps(), wide = width();
    for (int64_t n = 0; n < op.N; n++)
      for (int64_t e = 0; e < wide; e += W) {
        T* to = first + n * v.n + e;
        const Vec* place = from + n * wide + e;
        Vec r[W];
        if (count == W && e + W <= wide) {
#pragma GCC unroll 16
          for (int c = 0; c < W; c++) r[c] = place[c] * scale;
          transpose(r);
#pragma GCC unroll 16
          for (int l = 0; l < W; l++) store(to + l * v.t, r[l]);
        } else {
          const int64_t some = std::min<int64_t>(W, wide - e);
          for (int64_t c = 0; c < W; c++) r[c] = c < some ? place[c] * scale : Vec{};
          transpose(r);
          for (int64_t l = 0; l < count; l++) {
            float part[W];
            store(part, r[l]);
            write(to + l * v.t, part, some);
          }
        }
      }
  }
};

// p[i][j] = a_i . b_j for four listeners i and all j: [4][M]; `row` vectors from one neuron to the next, d of them count.
void dots(Vec* p, const Vec* a, const Vec* b, int64_t row, int64_t d, int64_t M) {
  for (int64_t j = 0; j < M; j += 4) {
    Vec sum[4][4] = {};
    for (int64_t e = 0; e < d; e++) {
      Vec bj[4];
      for (int k = 0; k < 4; k++) bj[k] = b[(j + k) * row + e];
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++) {
        const Vec ai = a[i * row + e];
        for (int k = 0; k < 4; k++) sum[i][k] += ai * bj[k];
      }
    }
    for (int i = 0; i < 4; i++)
      for (int k = 0; k < 4; k++) p[i * M + j + k] = sum[i][k];
  }
}

// to_i = sum_j p[i][j] b_j for four listeners i; E numbers of their width at once.
template <int E>
void mix(Vec* to, const Vec* p, const Vec* b, int64_t row, int64_t M) {
  Vec sum[4][E] = {};
  for (int64_t j = 0; j < M; j++)
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
      for (int e = 0; e < E; e++) sum[i][e] += p[i * M + j] * b[j * row + e];
  for (int i = 0; i < 4; i++)
    for (int e = 0; e < E; e++) to[i * row + e] = sum[i][e];
}

void mix(Vec* to, const Vec* p, const Vec* b, int64_t row, int64_t d, int64_t M) {
  int64_t e = 0;
  for (; e + 4 <= d; e += 4) mix<4>(to + e, p, b + e, row, M);
  for (; e < d; e++) mix<1>(to + e, p, b + e, row, M);
}

// to_j += sum over four listeners i of p[i][j] a_i, for all j; E numbers of their width at once.
template <int E>
void spread(Vec* to, const Vec* p, const Vec* a, int64_t row, int64_t M) {
  Vec ai[4][E];
  for (int i = 0; i < 4; i++)
    for (int e = 0; e < E; e++) ai[i][e] = a[i * row + e];
  for (int64_t j = 0; j < M; j++) {
    Vec sum[E];
    for (int e = 0; e < E; e++) sum[e] = to[j * row + e];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
      for (int e = 0; e < E; e++) sum[e] += p[i * M + j] * ai[i][e];
    for (int e = 0; e < E; e++) to[j * row + e] = sum[e];
  }
}

void spread(Vec* to, const Vec* p, const Vec* a, int64_t row, int64_t d, int64_t M) {
  int64_t e = 0;
  for (; e + 4 <= d; e += 4) spread<4>(to + e, p, a + e, row, M);
  for (; e < d; e++) spread<1>(to + e, p, a + e, row, M);
}

// Turns the scores of a listener into its routing weights: softmax over its open edges, zero where none is open.
void softmax(Vec* p, const bool* open, int64_t N, int64_t M) {
  Vec best = all(NOTHING), total{};
  for (int64_t j = 0; j < N; j++)
    if (!open || open[j]) best = p[j] > best ? p[j] : best;
  for (int64_t j = 0; j < N; j++) {
    p[j] = open && !open[j] ? Vec{} : exp(p[j] - best);
    total += p[j];
  }
  for (int64_t j = N; j < M; j++) p[j] = Vec{};
  const bool deaf = open && !std::any_of(open, open + N, [](bool is) { return is; });
  const Vec inverse = deaf ? Vec{} : 1.0f / total;
  for (int64_t j = 0; j < N; j++) p[j] *= inverse;
}

// The routing weights of the four listeners from i on: [4][M]; those past N have none.
void weigh(Vec* p, const Block& at, int64_t i, const Vec* q, const Vec* k) {
  const int64_t N = at.op.N, M = Block::padded(N);
  dots(p, q + i * at.width(), k, at.width(), at.op.d, M);
  for (int64_t r = 0; r < 4; r++) {
    if (i + r < N)
      softmax(p + r * M, at.op.open ? at.op.open + (i + r) * N : nullptr, N, M);
    else
      std::memset(p + r * M, 0, M * sizeof(Vec));
  }
}

// Runs work(block, scratch) for every block, with `tiles` x [N][width] and `rows` x [N] vectors of scratch per thread.
template <class Work>
void for_each_block(const Attention& op, int64_t tiles, int64_t rows, const Work& work) {
  const int64_t heads = std::min<int64_t>(op.H, op.d < W ? (W + op.d - 1) / op.d : 1), groups = (op.H + heads - 1) / heads;
  const int64_t blocks = (op.T + W - 1) / W, M = Block::padded(op.N);
  parallel(op.B * blocks * groups, op.threads, W * op.N * (op.N + 4) * (op.d * heads + 8), [&] {
    const int64_t floats = (tiles * heads * op.d + rows) * M * W;
    Buffer buffer(floats);
    auto* scratch = reinterpret_cast<Vec*>(buffer.take(floats));
    return [&, scratch, buffer = std::move(buffer)](int64_t i) {
      const int64_t h = i % groups * heads;
      work(Block{op, i / groups / blocks, i / groups % blocks * W, h, std::min(heads, op.H - h)}, scratch);
    };
  });
}

float scale(const Attention& op) { return 1.0f / std::sqrt(static_cast<float>(op.d)); }

}  // namespace

void attention_forward(const Attention& op, const View& out, float* weights) {
  for_each_block(op, 4, 8, [&](const Block& at, Vec* scratch) {
    const int64_t N = op.N, M = Block::padded(N), row = at.width();
    Vec *q = scratch, *k = q + M * row, *v = k + M * row, *o = v + M * row, *p = o + M * row, *keep = p + 4 * M;
    at.gather(q, op.q, scale(op));
    at.gather(k, op.k);
    at.gather(v, op.v);
    for (int64_t head = 0; head < at.heads; head++)
      for (int64_t i = 0; i < N; i += 4) {
        const int64_t e = head * op.d;
        weigh(p, at, i, q + e, k + e);
        for (int64_t r = 0; weights && r < std::min<int64_t>(4, N - i); r++) at.hand_out(weights, p + r * M, head, i + r);
        for (int64_t r = 0; op.dropout > 0 && r < std::min<int64_t>(4, N - i); r++) {
          at.keep(keep, head, i + r);
          for (int64_t j = 0; j < N; j++) p[r * M + j] *= keep[j];
        }
        mix(o + i * row + e, p, v + e, row, op.d, M);
      }
    at.scatter(out, o);
  });
}

void attention_backward(const Attention& op, const View& gout, const View& gq, const View& gk, const View& gv) {
  for_each_block(op, 7, 12, [&](const Block& at, Vec* scratch) {
    const int64_t N = op.N, M = Block::padded(N), row = at.width(), tile = M * row;
    Vec *q = scratch, *k = q + tile, *v = k + tile, *g = v + tile, *dq = g + tile, *dk = dq + tile, *dv = dk + tile;
    Vec *p = dv + tile, *dp = p + 4 * M, *keep = dp + 4 * M;
    at.gather(q, op.q, scale(op));
    at.gather(k, op.k);
    at.gather(v, op.v);
    at.gather(g, gout);
    std::memset(dk, 0, 2 * tile * sizeof(Vec));
    for (int64_t head = 0; head < at.heads; head++)
      for (int64_t i = 0; i < N; i += 4) {
        const int64_t e = head * op.d, from = i * row + e;
        weigh(p, at, i, q + e, k + e);
        dots(dp, g + from, v + e, row, op.d, M);
        for (int64_t r = 0; r < std::min<int64_t>(4, N - i); r++) {
          Vec *weight = p + r * M, *change = dp + r * M, mean{};  // of the change under the weights
          if (op.dropout > 0) at.keep(keep, head, i + r);
          for (int64_t j = 0; j < N; j++) {
            if (op.dropout > 0) change[j] *= keep[j];
            mean += change[j] * weight[j];
          }
          for (int64_t j = 0; j < N; j++) {
            change[j] = weight[j] * (change[j] - mean);
            if (op.dropout > 0) weight[j] *= keep[j];
          }
        }
        spread(dv + e, p, g + from, row, op.d, M);
        spread(dk + e, dp, q + from, row, op.d, M);
        mix(dq + from, dp, k + e, row, op.d, M);
      }
    at.scatter(gq, dq, scale(op));
    at.scatter(gk, dk);
    at.scatter(gv, dv);
  });
}

}  // namespace inn
