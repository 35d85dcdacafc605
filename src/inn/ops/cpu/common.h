// What the kernels share: views of tensors, tiles of them as floats, threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

#ifdef __APPLE__
#include <sys/sysctl.h>
#else
#include <unistd.h>
#endif

#include "arena.h"
#include "simd.h"

namespace inn {

// A tensor [B, T, N, E]: any strides (in elements) but the last, which is 1; float32 or bfloat16.
struct View {
  void* data;
  int64_t b, t, n;
  bool bf16;

  int64_t at(int64_t ib, int64_t it, int64_t in) const { return ib * b + it * t + in * n; }
};

// Steps that do not follow one another by a stride: those of stream b and neuron n are the rows first[n x B + b] to
// first[n x B + b + 1] of tensors [R, E], whose views have strides b = n = 0. Null: all T steps of every one.
struct Listed {
  const int64_t* first = nullptr;

  int64_t begin(int64_t b, int64_t n, int64_t B) const { return first ? first[n * B + b] : 0; }
  int64_t steps(int64_t b, int64_t n, int64_t B, int64_t T) const {
    return first ? first[n * B + b + 1] - first[n * B + b] : T;
  }
};

// Aligned floats, handed out piece by piece and freed together.
class Buffer {
 public:
  explicit Buffer(int64_t size) : size_((size + 15) / 16 * 16), data_(make(size_ * 4), free) {
    if (!data_) throw std::bad_alloc();
  }
  // The next `size` floats, on a cache line's start; they are not set to anything.
  float* take(int64_t size) {
    float* p = data_.get() + used_;
    used_ += (size + 15) / 16 * 16;
    if (used_ > size_) std::abort();  // a mistake in a kernel's sum of sizes must not become somebody else's numbers
    return p;
  }

 private:
  static float* make(size_t bytes) {
    return static_cast<float*>(bytes < arena::LARGE ? std::aligned_alloc(64, bytes) : arena::take(bytes));
  }
  static void free(float* p) {
    if (!arena::give(p)) std::free(p);
  }

  int64_t size_, used_ = 0;
  std::unique_ptr<float, void (*)(float*)> data_;
};

// ---- rows of `count` numbers and tiles of `steps` x L of them, as floats ----

template <class T>
inline void read(float* to, const T* from, int64_t count) {
  int64_t i = 0;
  for (; i + W <= count; i += W) store(to + i, load(from + i));
  for (; i < count; i++) {
    if constexpr (sizeof(T) == 2)
      to[i] = widen(from[i]);
    else
      to[i] = from[i];
  }
}

template <class T>
inline void write(T* to, const float* from, int64_t count) {
  int64_t i = 0;
  for (; i + W <= count; i += W) store(to + i, load(from + i));
  for (; i < count; i++) {
    if constexpr (sizeof(T) == 2)
      to[i] = narrow(from[i]);
    else
      to[i] = from[i];
  }
}

inline void read(float* to, const View& v, int64_t offset, int64_t count) {
  if (v.bf16)
    read(to, static_cast<const uint16_t*>(v.data) + offset, count);
  else
    read(to, static_cast<const float*>(v.data) + offset, count);
}

inline void write(const View& v, int64_t offset, const float* from, int64_t count) {
  if (v.bf16)
    write(static_cast<uint16_t*>(v.data) + offset, from, count);
  else
    write(static_cast<float*>(v.data) + offset, from, count);
}

// ---- the machine ----

// Bytes of a core's second cache, by which kernels cut what they read again; no result depends on it.
inline int64_t second_cache() {
  static const int64_t size = [] {
    int64_t found = 0;
#if defined(__APPLE__)
    size_t wide = sizeof found;
    if (sysctlbyname("hw.perflevel0.l2cachesize", &found, &wide, nullptr, 0)) found = 0;
#elif defined(_SC_LEVEL2_CACHE_SIZE)
    found = sysconf(_SC_LEVEL2_CACHE_SIZE);
#endif
    return found >= 1 << 17 ? found : int64_t(1) << 20;  // some systems do not tell
  }();
  return size;
}

// ---- threads ----

// Runs worker(i) for i in 0..count-1, each thread with a worker of its own from make(). Tasks are handed out one by
// one, because cores are seldom equally fast; no result may depend on which thread ran a task. `cost` is about the
// number of multiply-adds in a task: threads are not woken for less than they take to wake, some thousand vectors' worth.
template <class Make>
void parallel(int64_t count, int threads, int64_t cost, const Make& make) {
#ifdef _OPENMP
  const int team = static_cast<int>(std::min<int64_t>({threads, count, count * cost / (4096 * W)}));
  if (team > 1) {
#pragma omp parallel num_threads(team)
    {
      auto worker = make();
#pragma omp for schedule(dynamic, 1) nowait
      for (int64_t i = 0; i < count; i++) worker(i);
    }
    return;
  }
#endif
  auto worker = make();
  for (int64_t i = 0; i < count; i++) worker(i);
}

}  // namespace inn
