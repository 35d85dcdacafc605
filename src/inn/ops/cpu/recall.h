// The table of followers; see inn/ops/recall/reference.py for what it keeps.
#pragma once

#include <cstdint>

namespace inn {

struct Recall {
  int64_t B, T, K, L, slots;
  const int64_t* orders;  // [K]
  const int64_t* tokens;  // [B, T]
  int32_t* table;         // [B, K, slots]
  int64_t* recent;        // [B, L], oldest first
  const bool* reset;      // [B, T] or null
  const bool* mask;       // [B, T] or null
  bool learn;             // false: look up only
  int threads;
};

void recall(const Recall& op, int64_t* found);  // [B, T, K]

}  // namespace inn
