#include "recall.h"

#include <algorithm>
#include <vector>

#include "common.h"

namespace inn {
namespace {

constexpr int32_t EMPTY = -1, LAST_RUN = 7;

uint32_t hash(const int64_t* context, int64_t k) {
  uint32_t h = 0;
  for (int64_t i = 0; i < k; i++) h = h * 0x9E3779B1u + static_cast<uint32_t>(context[i] + 1);
  h = (h ^ h >> 15) * 0x2C1B3C6Du;
  h = (h ^ h >> 12) * 0x297A2D39u;
  return h ^ h >> 15;
}

// One stream; its last symbols lie before its new ones, so that every context is a stretch of one array.
void stream(const Recall& op, int64_t b, int64_t* found) {
  std::vector<int64_t> text(op.recent + b * op.L, op.recent + (b + 1) * op.L);
  text.reserve(op.L + op.T);
  int32_t* tables = op.table + b * op.K * op.slots;
  for (int64_t t = 0; t < op.T; t++) {
    int64_t* out = found + (b * op.T + t) * op.K;
    std::fill(out, out + op.K, EMPTY);
    if (op.reset && op.reset[b * op.T + t]) {
      std::fill(tables, tables + op.K * op.slots, EMPTY);
      text.assign(op.L, EMPTY);
    }
    if (op.mask && !op.mask[b * op.T + t]) continue;
    const int64_t symbol = op.tokens[b * op.T + t];
    text.push_back(symbol);
    const int64_t* end = text.data() + text.size();
    for (int64_t i = 0; i < op.K; i++) {
      int32_t* table = tables + i * op.slots;
      const int64_t k = op.orders[i];
      if (op.learn) {
        const uint32_t h = hash(end - 1 - k, k);
        int32_t& old = table[h % op.slots];
        const bool right = old >= 0 && static_cast<uint32_t>(old) >> 3 == ((h >> 25) << 21 | symbol);
        const int32_t run = right ? std::min((old & LAST_RUN) + 1, LAST_RUN) : 0;
        old = static_cast<int32_t>((h >> 25) << 24 | symbol << 3 | run);
      }
      const uint32_t h = hash(end - k, k);
      const int32_t now = table[h % op.slots];
      if (now >= 0 && static_cast<uint32_t>(now) >> 24 == h >> 25) out[i] = now & 0xFFFFFF;
    }
  }
  std::copy(text.end() - op.L, text.end(), op.recent + b * op.L);
}

}  // namespace

void recall(const Recall& op, int64_t* found) {
  parallel(op.B, op.threads, op.T * op.K * 64, [&] { return [&](int64_t b) { stream(op, b, found); }; });
}

}  // namespace inn
