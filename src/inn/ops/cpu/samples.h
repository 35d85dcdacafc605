// W samples (steps of streams) lie side by side, so that every number of theirs is one vector: an edge's product is
// some multiply-adds of whole vectors, no sum is taken across lanes, and nothing is gathered per edge. The numbers of
// one head lie together, [H][N][d], so that the sources of a head fit into the second cache.
//
// A task is W samples; tasks write disjoint rows.
#pragma once

#include "neighbours.h"

namespace inn {
namespace {

// W samples from `first` on.
struct Samples {
  const Neighbours& op;
  int64_t first;
  Vec* alive;  // [N], 1 where a neuron is there; null where all are

  int64_t count() const { return std::min<int64_t>(W, op.B * op.T - first); }
  int64_t at(const View& v, int64_t l) const { return v.at((first + l) / op.T, (first + l) % op.T, 0); }

  Samples everyone() const { return {op, first, nullptr}; }  // who listens, there or not

  void look() const {
    for (int64_t n = 0; alive && n < op.N; n++) {
      float is[W] = {};
      for (int64_t l = 0; l < count(); l++) is[l] = op.present[(first + l) * op.N + n];
      alive[n] = load(is);
    }
  }

  // Rows as [H][N][d] vectors; lanes past the end and neurons that are not there are zero.
  void gather(Vec* to, const View& v, float scale = 1.0f) const {
    if (v.bf16)
      gather(to, static_cast<const uint16_t*>(v.data), v, scale);
    else
      gather(to, static_cast<const float*>(v.data), v, scale);
  }
  void scatter(const View& v, const Vec* from, float scale = 1.0f) const {
    if (v.bf16)
      scatter(static_cast<uint16_t*>(v.data), v, from, scale);
    else
      scatter(static_cast<float*>(v.data), v, from, scale);
  }

 private:
  // Runs work(e, c, place) for the columns e + c of neuron n, `place` being theirs in [H][N][d].
  template <class Work>
  void columns(int64_t n, int64_t e, const Work& work) const {
    int64_t h = e / op.d, c = e % op.d;
    for (int64_t j = 0; j < std::min<int64_t>(W, op.H * op.d - e); j++) {
      work(j, (h * op.N + n) * op.d + c);
      if (++c == op.d) c = 0, h++;
    }
  }

  template <class T>
  void gather(Vec* to, const T* data, const View& v, float scale) const {
    const int64_t wide = op.H * op.d, some = count();
    const T* from[W];
    for (int64_t l = 0; l < W; l++) from[l] = data + at(v, std::min(l, some - 1));
    for (int64_t n = 0; n < op.N; n++)
      for (int64_t e = 0; e < wide; e += W) {
        Vec r[W];
        const int64_t place = n * v.n + e;
        if (some == W && e + W <= wide) {
#pragma GCC unroll 16
          for (int l = 0; l < W; l++) r[l] = load(from[l] + place);
        } else {
          for (int64_t l = 0; l < W; l++) {
            float part[W] = {};
            if (l < some) read(part, from[l] + place, std::min<int64_t>(W, wide - e));
            r[l] = load(part);
          }
        }
        transpose(r);
        const Vec zero{};
        columns(n, e, [&](int64_t c, int64_t to_) {
          to[to_] = alive ? (alive[n] != zero ? r[c] * scale : zero) : r[c] * scale;
        });
      }
  }

  template <class T>
  void scatter(T* data, const View& v, const Vec* from, float scale) const {
    const int64_t wide = op.H * op.d, some = count();
    for (int64_t n = 0; n < op.N; n++)
      for (int64_t e = 0; e < wide; e += W) {
        Vec r[W] = {};
        columns(n, e, [&](int64_t c, int64_t from_) { r[c] = from[from_] * scale; });
        transpose(r);
        for (int64_t l = 0; l < some; l++) {
          T* to = data + at(v, l) + n * v.n + e;
          if (e + W <= wide) {
            store(to, r[l]);
          } else {
            float part[W];
            store(part, r[l]);
            write(to, part, wide - e);
          }
        }
      }
  }
};

// The width of a head: a number that the compiler knows, or `any`.
template <int D>
struct Width {
  static constexpr int known = D;
  int64_t any;
  int64_t operator()() const { return D ? D : any; }
};

template <class Work>
void with_width(int64_t d, const Work& work) {
  if (d == 4)
    work(Width<4>{d});
  else if (d == 8)
    work(Width<8>{d});
  else if (d == 16)
    work(Width<16>{d});
  else
    work(Width<0>{d});
}

template <class D>
inline Vec dot(const Vec* a, const Vec* b, D d) {
  Vec total = a[0] * b[0];
  for (int64_t c = 1; c < d(); c++) total += a[c] * b[c];
  return total;
}

template <class D>
inline void add(Vec* to, Vec factor, const Vec* from, D d) {
  for (int64_t c = 0; c < d(); c++) to[c] += factor * from[c];
}

// The vectors of one neuron while its edges are gone through: of a known width they stay in registers.
template <class D>
struct Own {
  Vec* place;
  D d;
  Vec local[D::known ? D::known : 1];

  Own(Vec* place, D d) : place(place), d(d) {
    if constexpr (D::known)
      for (int64_t c = 0; c < D::known; c++) local[c] = place[c];
  }
  Vec* vectors() { return D::known ? local : place; }
  void put_back() {
    if constexpr (D::known)
      for (int64_t c = 0; c < D::known; c++) place[c] = local[c];
  }
};

// Runs work(samples, block, scratch) for every block, with `tiles` x [H][N][d] and `rows` x [K] vectors per thread.
template <class Work>
void for_each_block(const Neighbours& op, int64_t tiles, int64_t rows, const Work& work) {
  const int64_t wide = op.H * op.d;
  parallel(neighbour_blocks(op), op.threads, W * op.N * (op.K + 4) * wide, [&] {
    const int64_t floats = (tiles * op.N * wide + rows * op.K + op.N) * W;
    Buffer buffer(floats);
    auto* scratch = reinterpret_cast<Vec*>(buffer.take(floats));
    return [&, scratch, buffer = std::move(buffer)](int64_t block) {
      const Samples at{op, block * W, op.present ? scratch : nullptr};
      at.look();
      work(at, block, scratch + op.N);
    };
  });
}

}  // namespace
}  // namespace inn
