// The maps read each weight once; what lies between them is small and stays in the first cache. Threads are woken only
// where there is work for far longer than that takes.

#include "step.h"

#include <cmath>
#include <cstring>
#include <memory>

namespace inn {
namespace {

// Reused from one step to the next, so that generating text does not allocate.
float* scratch(int64_t size) {
  static thread_local std::unique_ptr<Buffer> buffer;
  static thread_local int64_t room = 0;
  static thread_local float* start = nullptr;
  if (size > room) {
    buffer.reset();
    buffer = std::make_unique<Buffer>(size);
    start = buffer->take(size);
    room = size;
  }
  return start;
}

// The convolution's output in place of its input u [E], and its window moved on by one.
void convolve(float* u, float* window, const float* weight, const float* bias, int64_t E, int64_t K) {
  for (int64_t e = 0; e < E; e++) {
    float sum = bias[e] + u[e] * weight[e * K + K - 1];
    for (int64_t k = 0; k + 1 < K; k++) sum += window[k * E + e] * weight[e * K + k];
    if (K > 1) {
      for (int64_t k = 0; k + 2 < K; k++) window[k * E + e] = window[(k + 1) * E + e];
      window[(K - 2) * E + e] = u[e];
    }
    u[e] = sum;
  }
  int64_t e = 0;
  for (; e + W <= E; e += W) store(u + e, load(u + e) * sigmoid(load(u + e)));
  for (; e < E; e++) u[e] /= 1.0f + std::exp(-u[e]);
}

// One step of the scan for `count` <= W channels of one neuron; y may lie where u does.
void scan(float* y, const float* u, const float* dt, const float* z, const float* A_log, const float* B, const float* C,
          const float* skip, float* h, int64_t S, int64_t count) {
  float in[4][W] = {};
  std::memcpy(in[0], u, count * 4);
  std::memcpy(in[1], dt, count * 4);
  std::memcpy(in[2], z, count * 4);
  std::memcpy(in[3], skip, count * 4);
  Vec slope;
  const Vec step = softplus(load(in[1]), slope), written = step * load(in[0]);
  float steps[W], inputs[W];
  store(steps, step);
  store(inputs, written);
  Vec sum[W];
  for (int64_t i = 0; i < W; i++) sum[i] = Vec{};
  for (int64_t i = 0; i < count; i++)
    for (int64_t s = 0; s < S; s += W) {
      const int64_t wide = std::min<int64_t>(W, S - s);
      float part[4][W] = {};
      const auto some = [&](const float* from, int k) {
        if (wide == W) return load(from);
        std::memcpy(part[k], from, wide * 4);
        return load(part[k]);
      };
      const Vec decay = exp(-steps[i] * exp(some(A_log + i * S + s, 0)));
      const Vec now = decay * some(h + i * S + s, 1) + inputs[i] * some(B + s, 2);
      sum[i] += now * some(C + s, 3);
      if (wide == W) {
        store(h + i * S + s, now);
      } else {
        store(part[0], now);
        std::memcpy(h + i * S + s, part[0], wide * 4);
      }
    }
  transpose(sum);
  for (int i = 1; i < W; i++) sum[0] += sum[i];
  const Vec gate = load(in[2]);
  store(in[0], (sum[0] + load(in[3]) * load(in[0])) * gate * sigmoid(gate));
  std::memcpy(y, in[0], count * 4);
}

}  // namespace

void memory_step(const Step& op, const Rows& x, const Rows& y) {
  const int64_t D = op.D, E = op.E, S = op.S, R = op.R, M = op.B * op.N, rows = M / op.P, wide = R + 2 * S;
  const int64_t work = M * (3 * E * D + E * wide + E * R);
  const int threads = work < (W << 18) ? 1 : op.threads;
  float* u = scratch(M * (3 * E + wide) + 64);
  float *z = u + M * E, *dt = z + M * E, *dbc = dt + M * E;
  const auto dense = [&](float* data, int64_t width) { return Rows{data, width, rows * width}; };

  if (op.in)
    linear_forward({op.P, rows, D, 2 * E, {E, E}, threads}, x, op.in, nullptr, {dense(u, E), dense(z, E)});
  else
    for (int64_t i = 0; i < M; i++) {
      std::memcpy(u + i * E, x.at(i / rows, i % rows), E * 4);
      std::memcpy(z + i * E, x.at(i / rows, i % rows) + E, E * 4);
    }
  const auto each = [&](const auto& f) {  // f(row, neuron's set of weights, neuron's place in the state)
    parallel(M, threads, E * S * 8, [&] {
      return [&](int64_t i) {
        const int64_t g = i / rows, r = i % rows;
        f(i, g, op.P > 1 ? r * op.N + g : r);
      };
    });
  };
  each([&](int64_t i, int64_t p, int64_t place) {
    convolve(u + i * E, op.conv + place * (op.K - 1) * E, op.conv_weight + p * E * op.K, op.conv_bias + p * E, E, op.K);
  });
  linear_forward({op.P, rows, E, wide, {wide}, threads}, dense(u, E), op.to_scan, nullptr, {dense(dbc, wide)});
  linear_forward({op.P, rows, R, E, {E}, threads}, dense(dbc, wide), op.to_dt, op.dt_bias, {dense(dt, E)});
  each([&](int64_t i, int64_t p, int64_t place) {
    for (int64_t e = 0; e < E; e += W) {
      const int64_t at = i * E + e;
      scan(u + at, u + at, dt + at, z + at, op.A_log + (p * E + e) * S, dbc + i * wide + R, dbc + i * wide + R + S,
           op.skip + p * E + e, op.ssm + (place * E + e) * S, S, std::min<int64_t>(W, E - e));
    }
  });
  linear_forward({op.P, rows, E, D, {D}, threads}, dense(u, E), op.out, nullptr, {y});
}

}  // namespace inn
