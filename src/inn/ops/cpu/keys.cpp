#include "keys.h"

#include <algorithm>
#include <vector>

#include "common.h"

namespace inn {
namespace {

constexpr int64_t EMPTY = -1, BLOCK = 256;
enum Kind : int64_t { LAST, WORD, COLUMN };

uint64_t fold(uint64_t h, int64_t number) {
  h = (h ^ (static_cast<uint64_t>(number) + 1 + 0x9E3779B97F4A7C15u + (h << 6) + (h >> 2))) * 0xD6E8FEB86659FD93u;
  return h ^ h >> 32;
}

// What a stream has read: `count` symbols, the newest last; what lies further back is not there.
struct History {
  const int64_t* newest;
  int64_t count;

  int64_t operator[](int64_t back) const { return back < count ? newest[-back] : EMPTY; }
};

uint64_t word(uint64_t h, const History& history, int64_t words, const Keys& op) {
  bool inside = true;
  for (int64_t i = 0; i < history.count; i++) {
    const int64_t symbol = history.newest[-i];
    if (symbol >= 0 && symbol < op.V && op.letters[symbol]) {
      if (!inside) {
        if (words-- == 0) break;
        inside = true;
        h = fold(h, EMPTY);
      }
      h = fold(h, symbol);
    } else {
      inside = false;
    }
  }
  return h;
}

uint64_t column(uint64_t h, const History& history, int64_t newline) {
  int64_t last = EMPTY, older = EMPTY;
  for (int64_t i = 0; i < history.count && newline >= 0 && older < 0; i++)
    if (history.newest[-i] == newline) (last < 0 ? last : older) = i;
  const int64_t above = older - 1 - last;
  return fold(fold(h, last), older >= 0 && above >= last ? history.newest[-above] : EMPTY);
}

struct Context {
  int64_t kind, a, b;
  uint64_t start;  // the hash of these three

  int64_t key(const History& history, const Keys& op) const {
    uint64_t h = start;
    if (kind == LAST) {
      for (int64_t i = a; i < a + b; i++) h = fold(h, history[i]);
    } else {
      h = kind == WORD ? word(h, history, a, op) : column(h, history, a);
    }
    return static_cast<int64_t>(h);
  }
};

// The symbols that a stream reads, side by side behind its last ones, and where each step stands in them.
struct Text {
  std::vector<int64_t> symbols;
  std::vector<History> histories;  // [T + 1]: before the first step, after each

  void read(const Keys& op, int64_t b) {
    symbols.assign(op.recent + b * op.L, op.recent + (b + 1) * op.L);
    symbols.reserve(op.L + op.T);
    const int64_t* before = symbols.data() - 1;
    int64_t count = op.L;
    histories.assign(1, {before + op.L, count});
    histories.reserve(op.T + 1);
    for (int64_t t = b * op.T; t < (b + 1) * op.T; t++) {
      if (op.reset && op.reset[t]) count = 0;
      if (!op.mask || op.mask[t]) {
        symbols.push_back(op.tokens[t]);
        count = std::min(count + 1, op.L);
      }
      histories.push_back({before + symbols.size(), count});
    }
  }
};

}  // namespace

void keys(const Keys& op, int64_t* before, int64_t* after, int64_t* last) {
  std::vector<Context> contexts;
  for (int64_t i = 0; i < op.K; i++) {
    const int64_t* spec = op.specs + 3 * i;
    contexts.push_back({spec[0], spec[1], spec[2], fold(fold(fold(0, spec[0]), spec[1]), spec[2])});
  }
  const auto tell = [&](const History& history, int64_t* to) {
    for (int64_t i = 0; i < op.K; i++) to[i] = contexts[i].key(history, op);
  };
  std::vector<Text> texts(op.B);
  for (int64_t b = 0; b < op.B; b++) {
    texts[b].read(op, b);
    for (int64_t i = 0; i < op.L; i++) last[b * op.L + i] = texts[b].histories[op.T][op.L - 1 - i];
  }
  const int64_t blocks = (op.T + BLOCK - 1) / BLOCK;
  parallel(op.B * blocks, op.threads, BLOCK * op.K * 64, [&] {
    return [&](int64_t task) {
      const int64_t b = task / blocks, first = task % blocks * BLOCK, end = std::min(first + BLOCK, op.T);
      const History* histories = texts[b].histories.data();
      for (int64_t t = first; t < end; t++) {
        const int64_t step = b * op.T + t;
        int64_t *past = before + step * op.K, *now = after + step * op.K;
        if (op.reset && op.reset[step])
          tell({histories[t].newest, 0}, past);
        else if (t == first)
          tell(histories[t], past);
        else
          std::copy(now - op.K, now, past);
        if (!op.mask || op.mask[step])
          tell(histories[t + 1], now);
        else
          std::copy(past, past + op.K, now);
      }
    };
  });
}

}  // namespace inn
