#include "counts.h"

#include <algorithm>

#include "common.h"

namespace inn {
namespace {

constexpr int32_t EMPTY = -1;
constexpr uint32_t LAST_RUN = 7, MOST = 255, MAX_SYMBOL = (1u << 21) - 1;
constexpr int64_t AHEAD = 12;  // steps between asking for a slot and reading it

typedef uint16_t __attribute__((may_alias)) Narrow;  // two in a word
typedef uint32_t __attribute__((may_alias)) Wide;

// One table; a cell is symbol << 8 | count, in either width.
template <class Cell>
struct Table {
  Wide* words;
  int64_t slots, W, F;

  explicit Table(const Counts& op, int64_t which)
      : words(reinterpret_cast<Wide*>(op.table) + which * op.slots * op.W), slots(op.slots), W(op.W), F(op.room()) {}

  Wide* head(int64_t s) const { return words + s * W; }
  Cell* cells(int64_t s) const { return reinterpret_cast<Cell*>(head(s) + 1); }

  int64_t first(int64_t key) const {
    const int64_t low = key & ((int64_t(1) << 40) - 1);
    return slots & (slots - 1) ? low % slots : low & (slots - 1);
  }
  int64_t second(int64_t s) const { return (s ^ 1) < slots ? s ^ 1 : s; }
  bool holds(int64_t s, uint32_t check) const { return *head(s) >> 24 == check && (*cells(s) & MOST); }

  // The slot of a key, or -1.
  int64_t find(int64_t key) const {
    const uint32_t check = static_cast<uint64_t>(key) >> 56;
    const int64_t s = first(key);
    if (holds(s, check)) return s;
    const int64_t other = second(s);
    return holds(other, check) ? other : -1;
  }

  uint32_t sum(int64_t s) const {
    uint32_t total = 0;
    for (int64_t f = 0; f < F; f++) total += cells(s)[f] & MOST;
    return total;
  }

  // Of both places: whether the first is the key's, and how full either is, shows only once they are here.
  // Inline always: GCC takes a function that only fetches for one without effect, and leaves its calls out.
  __attribute__((always_inline)) void fetch(int64_t key) const {
    const int64_t s = first(key);
    __builtin_prefetch(head(s), 1);
    __builtin_prefetch(head(second(s)), 1);
  }

  void learn(int64_t key, uint32_t symbol) const {
    int64_t s = find(key);
    const bool known = s >= 0;
    if (!known) {
      s = first(key);
      const int64_t other = second(s);
      if (sum(other) < sum(s)) s = other;
      std::fill(head(s), head(s) + W, 0);
    }
    const uint32_t before = *head(s), check = static_cast<uint64_t>(key) >> 56;
    const bool again = known && (before >> 3 & MAX_SYMBOL) == symbol;
    const uint32_t run = again ? std::min((before & LAST_RUN) + 1, LAST_RUN) : 0;
    *head(s) = check << 24 | symbol << 3 | run;
    count(cells(s), symbol);
  }

  void count(Cell* cell, uint32_t symbol) const {
    uint32_t least = MOST + 1;
    int64_t weakest = 0;  // the least count, the last of several
    for (int64_t f = 0; f < F; f++) {
      const uint32_t times = cell[f] & MOST;
      if (!times) {  // they stand side by side: there is no further
        cell[f] = symbol << 8 | 1;
        return;
      }
      if (cell[f] >> 8 == symbol) {
        if (times == MOST)
          for (int64_t i = 0; i < F; i++) cell[i] = (cell[i] & ~MOST) | ((cell[i] & MOST) + 1) >> 1;
        cell[f]++;
        return;
      }
      if (times <= least) least = times, weakest = f;
    }
    if (least <= 1)
      cell[weakest] = symbol << 8 | 1;
    else
      cell[weakest] -= std::max(1u, least >> 2);
  }

  void read(int64_t s, int32_t* found, int32_t* last) const {
    const Cell* cell = cells(s);
    for (int64_t f = 0; f < F; f++) found[f] = cell[f] & MOST ? static_cast<int32_t>(cell[f]) : EMPTY;
    *last = *head(s) & ((1 << 24) - 1);
  }
};

// One context of one stream.
template <class Cell>
void context(const Counts& op, int64_t which, int32_t* found, int32_t* last) {
  const int64_t b = which / op.K, k = which % op.K, T = op.T, K = op.K;
  const Table<Cell> table(op, which);
  const int64_t *before = op.before + b * T * K + k, *after = op.after + b * T * K + k;
  found += (b * T * K + k) * table.F;
  last += b * T * K + k;
  for (int64_t t = 0; t < T; t++) {
    if (t + AHEAD < T) table.fetch(after[(t + AHEAD) * K]);
    if (op.reset && op.reset[b * T + t]) std::fill(table.words, table.words + op.slots * op.W, 0);
    const bool live = !op.mask || op.mask[b * T + t];
    if (live && op.learn) table.learn(before[t * K], op.tokens[b * T + t]);
    const int64_t s = live ? table.find(after[t * K]) : -1;
    if (s >= 0) {
      table.read(s, found + t * K * table.F, last + t * K);
    } else {
      std::fill(found + t * K * table.F, found + (t * K + 1) * table.F, EMPTY);
      last[t * K] = EMPTY;
    }
  }
}

}  // namespace

void counts(const Counts& op, int32_t* found, int32_t* last) {
  parallel(op.B * op.K, op.threads, op.T * op.room() * 8, [&] {
    return [&](int64_t which) {
      op.narrow ? context<Narrow>(op, which, found, last) : context<Wide>(op, which, found, last);
    };
  });
}

}  // namespace inn
