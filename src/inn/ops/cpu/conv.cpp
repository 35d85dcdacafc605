// Steps that the mask leaves out enter no window, so a row is worked on as the list of its other steps: "places" 0, 1,
// ... in that list, and the state before them at places -H .. -1 (H = taps - 1). Whole stretches of channels are
// handled at once, because here, unlike in the scan, it is memory that limits.

#include "conv.h"

#include <cstring>
#include <vector>

namespace inn {
namespace {

constexpr int64_t WIDTH = 256;  // channels at once
constexpr int64_t STEPS = 16;   // steps at once

// The steps of one row that count, and how many inputs before each of them its window may see.
struct Places {
  std::vector<int64_t> step, reach;
  int64_t after;  // how many inputs a window after the last step may see
  bool all;       // no step is left out

  Places(const Conv& op, int64_t b, int64_t n) : after(op.K - 1) {
    const int64_t before = op.K - 1, T = op.listed.steps(b, n, op.B, op.T), begin = op.listed.begin(b, n, op.B);
    for (int64_t t = 0; t < T; t++) {
      if (op.reset && op.reset[b * op.T + t]) after = 0;
      if (op.mask && !op.mask[b * op.T + t]) continue;
      step.push_back(begin + t);
      reach.push_back(after);
      after = std::min(after + 1, before);
    }
    all = count() == T;
  }
  int64_t count() const { return static_cast<int64_t>(step.size()); }
};

struct Channels {
  const Conv& op;
  int64_t b, n, first, count, width;  // a row's channels first .. first + count - 1, padded to a width of whole vectors

  Channels(const Conv& op, int64_t b, int64_t n, int64_t part)
      : op(op), b(b), n(n), first(part * WIDTH), count(std::min(WIDTH, op.E - part * WIDTH)),
        width((count + W - 1) / W * W) {}

  const float* state(const float* of, int64_t place) const {  // place -H .. -1
    const int64_t H = op.K - 1;
    return of + ((b * op.N + n) * H + H + place) * op.E + first;
  }
  // The inputs at places from .. to - 1, [to - from][width].
  void window(float* tile, const Places& places, int64_t from, int64_t to) const {
    for (int64_t j = from; j < to; j++, tile += width) {
      if (j < 0)
        std::memcpy(tile, state(op.state, j), count * sizeof(float));
      else
        read(tile, op.x, op.x.at(b, places.step[j], n) + first, count);
      for (int64_t i = count; i < width; i++) tile[i] = 0.0f;
    }
  }
  void clear(const View& v, const Places& places, const float* zeros) const {
    if (places.all) return;
    for (int64_t t = 0, j = 0; t < op.T; t++) {
      if (j < places.count() && places.step[j] == t)
        j++;
      else
        write(v, v.at(b, t, n) + first, zeros, count);
    }
  }
};

// What K taps see at one place: a window that starts at `x`, rows `width` apart, of which the last `reach` + 1 count.
template <int K>
inline Vec taps(const Vec* w, Vec bias, const float* x, int64_t width, int64_t reach) {
  if (reach >= K - 1) {
#pragma GCC unroll 8
    for (int k = 0; k < K; k++) bias += w[k] * load(x + k * width);
  } else {
    for (int64_t k = K - 1 - reach; k < K; k++) bias += w[k] * load(x + k * width);
  }
  return bias;
}

// weight [P, E, K] -> [P][K + 1][padded E], the bias last; channels past E are zero.
void arrange(float* to, const Conv& op, int64_t padded) {
  std::memset(to, 0, op.P * (op.K + 1) * padded * sizeof(float));
  for (int64_t p = 0; p < op.P; p++, to += (op.K + 1) * padded) {
    for (int64_t k = 0; k < op.K; k++)
      for (int64_t e = 0; e < op.E; e++) to[k * padded + e] = op.weight[(p * op.E + e) * op.K + k];
    std::memcpy(to + op.K * padded, op.bias + p * op.E, op.E * sizeof(float));
  }
}

int64_t parts_of(const Conv& op) { return (op.E + WIDTH - 1) / WIDTH; }

template <int K>
void forward(const Conv& op, View y, float* last) {
  constexpr int64_t H = K - 1;
  const int64_t parts = parts_of(op), padded = parts * WIDTH;
  Buffer shared(op.P * (K + 1) * padded);
  float* weights = shared.take(op.P * (K + 1) * padded);
  arrange(weights, op, padded);

  parallel(op.B * op.N * parts, op.threads, op.T * std::min(WIDTH, op.E) * 4, [&] {
    Buffer buffer((H + 2 * STEPS) * WIDTH);
    float *tile = buffer.take((H + STEPS) * WIDTH), *out = buffer.take(STEPS * WIDTH);
    return [=, &op, buffer = std::move(buffer)](int64_t task) {
      const int64_t row = task / parts;
      const Channels at(op, row / op.N, row % op.N, task % parts);
      const Places places(op, at.b, at.n);
      const float* w = weights + (op.P > 1 ? at.n : 0) * (K + 1) * padded + at.first;
      for (int64_t j = 0; j < places.count(); j += STEPS) {
        const int64_t steps = std::min(STEPS, places.count() - j);
        at.window(tile, places, j - H, j + steps);
        for (int64_t i = 0; i < at.width; i += W) {
          Vec wi[K];
          for (int k = 0; k < K; k++) wi[k] = load(w + k * padded + i);
          const Vec bias = load(w + K * padded + i);
          for (int64_t s = 0; s < steps; s++) {
            const Vec a = taps<K>(wi, bias, tile + s * at.width + i, at.width, places.reach[j + s]);
            store(out + s * at.width + i, a * sigmoid(a));
          }
        }
        for (int64_t s = 0; s < steps; s++)
          write(y, y.at(at.b, places.step[j + s], at.n) + at.first, out + s * at.width, at.count);
      }
      std::memset(out, 0, WIDTH * sizeof(float));
      at.clear(y, places, out);
      at.window(tile, places, places.count() - H, places.count());
      for (int64_t i = 0; i < H; i++)
        std::memcpy(const_cast<float*>(at.state(last, i - H)), H - i <= places.after ? tile + i * at.width : out,
                    at.count * sizeof(float));
    };
  });
}

template <int K>
void backward(const Conv& op, View gy, const float* last, const ConvGradients& to) {
  constexpr int64_t H = K - 1;
  const int64_t parts = parts_of(op), padded = parts * WIDTH, rows = op.B * op.N / op.P;
  // As in the scan: how the sums are cut depends on the shapes alone.
  const int64_t slots = std::min(rows, std::max<int64_t>(1, 128 / (op.P * parts)));
  const int64_t size = (K + 1) * padded;
  Buffer shared(op.P * size * (1 + slots) + 16);
  float* weights = shared.take(op.P * size);
  float* sums = shared.take(op.P * slots * size);  // [P][slots][K + 1][padded]
  std::memset(sums, 0, op.P * slots * size * sizeof(float));
  arrange(weights, op, padded);

  parallel(op.P * slots * parts, op.threads, rows / slots * op.T * std::min(WIDTH, op.E) * 8, [&] {
    Buffer buffer((3 * H + 3 * STEPS) * WIDTH);
    float *tile = buffer.take((H + STEPS) * WIDTH), *gtile = buffer.take((H + STEPS) * WIDTH);
    float *gys = buffer.take(STEPS * WIDTH), *carry = buffer.take(H * WIDTH);
    return [=, &op, &to, buffer = std::move(buffer)](int64_t task) {
      const int64_t part = task % parts, slot = task / parts % slots, p = task / parts / slots;
      const float* w = weights + p * size + part * WIDTH;
      float* total = sums + (p * slots + slot) * size + part * WIDTH;
      for (int64_t r = slot * rows / slots; r < (slot + 1) * rows / slots; r++) {
        const Channels at(op, op.P > 1 ? r : r / op.N, op.P > 1 ? p : r % op.N, part);
        const Places places(op, at.b, at.n);
        const int64_t width = at.width;
        std::memset(carry, 0, H * width * sizeof(float));  // gradient of the last H inputs of the steps at hand
        for (int64_t i = 0; i < H && last; i++)
          if (H - i <= places.after) std::memcpy(carry + i * width, at.state(last, i - H), at.count * sizeof(float));
        for (int64_t j = (places.count() - 1) / STEPS * STEPS; j >= 0 && places.count(); j -= STEPS) {
          const int64_t steps = std::min(STEPS, places.count() - j);
          at.window(tile, places, j - H, j + steps);
          for (int64_t s = 0; s < steps; s++) {
            read(gys + s * width, gy, gy.at(at.b, places.step[j + s], at.n) + at.first, at.count);
            for (int64_t i = at.count; i < width; i++) gys[s * width + i] = 0.0f;
          }
          std::memset(gtile, 0, steps * width * sizeof(float));
          std::memcpy(gtile + steps * width, carry, H * width * sizeof(float));
          for (int64_t i = 0; i < width; i += W) {
            Vec wi[K], gw[K];
            for (int k = 0; k < K; k++) wi[k] = load(w + k * padded + i), gw[k] = load(total + k * padded + i);
            const Vec bias = load(w + K * padded + i);
            Vec gb = load(total + K * padded + i);
            for (int64_t s = 0; s < steps; s++) {
              const float* x = tile + s * width + i;
              const int64_t reach = places.reach[j + s];
              const Vec a = taps<K>(wi, bias, x, width, reach), sig = sigmoid(a);
              const Vec g = load(gys + s * width + i) * sig * (1.0f + a * (1.0f - sig));
              gb += g;
              float* gx = gtile + s * width + i;
#pragma GCC unroll 8
              for (int k = 0; k < K; k++)
                if (k >= K - 1 - reach) {
                  gw[k] += g * load(x + k * width);
                  store(gx + k * width, load(gx + k * width) + g * wi[k]);
                }
            }
            for (int k = 0; k < K; k++) store(total + k * padded + i, gw[k]);
            store(total + K * padded + i, gb);
          }
          for (int64_t s = 0; s < steps; s++)
            write(to.x, to.x.at(at.b, places.step[j + s], at.n) + at.first, gtile + (H + s) * width, at.count);
          std::memcpy(carry, gtile, H * width * sizeof(float));
        }
        std::memset(gys, 0, WIDTH * sizeof(float));
        at.clear(to.x, places, gys);
        for (int64_t i = 0; i < H; i++)
          std::memcpy(const_cast<float*>(at.state(to.state, i - H)), carry + i * width, at.count * sizeof(float));
      }
    };
  });

  for (int64_t p = 0; p < op.P; p++) {
    float* total = sums + p * slots * size;
    for (int64_t slot = 1; slot < slots; slot++)
      for (int64_t i = 0; i < size; i++) total[i] += total[slot * size + i];
    for (int64_t e = 0; e < op.E; e++)
      for (int64_t k = 0; k < K; k++) to.weight[(p * op.E + e) * K + k] = total[k * padded + e];
    std::memcpy(to.bias + p * op.E, total + K * padded, op.E * sizeof(float));
  }
}

template <int... K, class Run>
void with_taps(int64_t taps, std::integer_sequence<int, K...>, const Run& run) {
  (void)((taps == K + 1 && (run(std::integral_constant<int, K + 1>()), true)) || ...);
}

}  // namespace

void conv_forward(const Conv& op, View y, float* last) {
  with_taps(op.K, std::make_integer_sequence<int, MAX_TAPS>(), [&](auto K) { forward<K()>(op, y, last); });
}

void conv_backward(const Conv& op, View gy, const float* last, const ConvGradients& to) {
  with_taps(op.K, std::make_integer_sequence<int, MAX_TAPS>(), [&](auto K) { backward<K()>(op, gy, last, to); });
}

}  // namespace inn
