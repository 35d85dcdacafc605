// Vectors of floats for whatever the machine has (AVX-512, AVX2, SSE2, NEON), and the few functions the kernels need.
//
// These are the compiler's own vector types (GCC and Clang): plain operators, no table of intrinsics per machine.
// Multiply-adds are contracted to FMA by the compiler where there is one.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__AVX512F__)
#include <immintrin.h>
#define INN_LANES 16
#elif defined(__AVX__)
#define INN_LANES 8
#else
#define INN_LANES 4
#endif

namespace inn {

constexpr int W = INN_LANES;  // floats in one register

typedef float Vec __attribute__((vector_size(W * 4)));
typedef int32_t Int __attribute__((vector_size(W * 4)));
typedef uint32_t Bits __attribute__((vector_size(W * 4)));
typedef uint16_t Half __attribute__((vector_size(W * 2)));  // bfloat16, as bits

inline Vec load(const float* p) {
  Vec v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

inline void store(float* p, Vec v) { std::memcpy(p, &v, sizeof v); }

inline Vec all(float a) { return a - Vec{}; }  // minus, because 0 + a is not a when a is -0

// bfloat16 is the upper half of a float; rounded to nearest even, NaN stays NaN.
inline float widen(uint16_t a) {
  const uint32_t bits = uint32_t(a) << 16;
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}

inline uint16_t narrow(float f) {
  uint32_t bits;
  std::memcpy(&bits, &f, 4);
  return f != f ? 0x7fc0 : uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

inline Vec load(const uint16_t* p) {
  Half h;
  std::memcpy(&h, p, sizeof h);
  return (Vec)(__builtin_convertvector(h, Bits) << 16);
}

inline void store(uint16_t* p, Vec v) {
  const Bits bits = (Bits)v;
  const Bits rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const Half h = __builtin_convertvector(v == v ? rounded : Bits{} + 0x7fc0, Half);
  std::memcpy(p, &h, sizeof h);
}

// 2^v to 1.5 units in the last place. 2^f on [-1/2, 1/2] is 1 + f q(f), q fitted for the smallest relative error; the
// constant 1 is exact, so that a decay close to 1 keeps its distance from 1 (a long memory lives on it).
inline Vec exp2(Vec v) {
#if defined(__AVX512F__)
  const Vec n = _mm512_roundscale_ps(v, 0x08);
#else
  // Outside this range the result is 0 or infinity for every purpose here; NaN passes both tests.
  v = v < all(-126.0f) ? all(-126.0f) : v;
  v = v > all(127.4f) ? all(127.4f) : v;
  const Vec magic = all(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  const Vec n = (v + magic) - magic;
#endif
  const Vec f = v - n;
  Vec p = all(0.001326472731307149f);
  p = p * f + 0.009671512991189957f;
  p = p * f + 0.05550733581185341f;
  p = p * f + 0.24022242426872253f;
  p = p * f + 0.6931470036506653f;
  p = p * f + 1.0f;
#if defined(__AVX512F__)
  return _mm512_scalef_ps(p, n);
#else
  return (Vec)((Int)p + (__builtin_convertvector(n, Int) << 23));
#endif
}

constexpr float LOG2E = 1.44269504088896341f;
constexpr float LN2 = 0.69314718055994531f;

inline Vec exp(Vec v) { return exp2(v * LOG2E); }

inline Vec sigmoid(Vec v) { return 1.0f / (1.0f + exp(-v)); }

// tanh v = e / (e + 2) of e = exp(2 v) - 1, which is taken apart as in exp2: a small v keeps its *relative* precision.
inline Vec tanh(Vec v) {
  v = v > all(9.5f) ? all(9.5f) : v;  // where it is 1; NaN passes
  v = v < all(-9.5f) ? all(-9.5f) : v;
  const Vec scaled = v * (2.0f * LOG2E);
#if defined(__AVX512F__)
  const Vec n = _mm512_roundscale_ps(scaled, 0x08), power = _mm512_scalef_ps(all(1.0f), n);
#else
  const Vec magic = all(12582912.0f);
  const Vec n = (scaled + magic) - magic;
  const Vec power = (Vec)((Int)all(1.0f) + (__builtin_convertvector(n, Int) << 23));
#endif
  const Vec f = scaled - n;
  Vec p = all(0.001326472731307149f);
  p = p * f + 0.009671512991189957f;
  p = p * f + 0.05550733581185341f;
  p = p * f + 0.24022242426872253f;
  p = p * f + 0.6931470036506653f;
  const Vec e = power * (f * p) + (power - 1.0f);
  return e / (e + 2.0f);
}

// log(1 + w) for w in [0, 1], with a small *relative* error however small w is: 2 atanh(w / (2 + w)).
inline Vec log1p(Vec w) {
  const Vec a = w / (2.0f + w);
  const Vec u = a * a;
  Vec p = all(0.12212454527616501f);
  p = p * u + 0.1069498062133789f;
  p = p * u + 0.14310520887374878f;
  p = p * u + 0.19999338686466217f;
  p = p * u + 0.33333340287208557f;
  p = p * u + 1.0f;
  return 2.0f * a * p;
}

// softplus(v) = log(1 + e^v), and its derivative, the sigmoid.
inline Vec softplus(Vec v, Vec& slope) {
  const Vec zero = all(0.0f);
  const Vec w = exp(v > zero ? -v : v);
  const Vec inverse = 1.0f / (1.0f + w);
  slope = v > zero ? inverse : w * inverse;
  const Vec low = log1p(w);
  return v > zero ? v + low : low;
}

// ---- transposing W x W numbers in registers ----

#if defined(__clang__) || __GNUC__ >= 12
template <int k, int... j>
inline void exchange(Vec& a, Vec& b, std::integer_sequence<int, j...>) {
  const Vec low = __builtin_shufflevector(a, b, ((j & k) ? W + j - k : j)...);
  const Vec high = __builtin_shufflevector(a, b, ((j & k) ? W + j : j + k)...);
  a = low;
  b = high;
}
#else
template <int k, int... j>
inline void exchange(Vec& a, Vec& b, std::integer_sequence<int, j...>) {
  const Vec low = __builtin_shuffle(a, b, Int{((j & k) ? W + j - k : j)...});
  const Vec high = __builtin_shuffle(a, b, Int{((j & k) ? W + j : j + k)...});
  a = low;
  b = high;
}
#endif

template <int k = 1>
inline void transpose(Vec* r) {
  if constexpr (k < W) {
#pragma GCC unroll 16
    for (int i = 0; i < W; i++)
      if (!(i & k)) exchange<k>(r[i], r[i + k], std::make_integer_sequence<int, W>{});
    transpose<2 * k>(r);
  }
}

// Sums over the lanes: [count][W] -> [count].
inline void add_lanes(float* to, const float* sums, int64_t count) {
  int64_t i = 0;
  for (; i + W <= count; i += W) {
    Vec r[W];
    for (int j = 0; j < W; j++) r[j] = load(sums + (i + j) * W);
    transpose(r);
    for (int j = 1; j < W; j++) r[0] += r[j];
    store(to + i, r[0]);
  }
  for (; i < count; i++) {
    to[i] = sums[i * W];
    for (int j = 1; j < W; j++) to[i] += sums[i * W + j];
  }
}

}  // namespace inn
