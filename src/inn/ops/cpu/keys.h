// Keys of contexts; see inn/ops/keys/reference.py for what they are.
#pragma once

#include <cstdint>

namespace inn {

struct Keys {
  int64_t B, T, K, L, V;
  const int64_t* specs;   // [K, 3]
  const bool* letters;    // [V] or null
  const int64_t* tokens;  // [B, T]
  const int64_t* recent;  // [B, L], oldest first
  const bool* reset;      // [B, T] or null
  const bool* mask;       // [B, T] or null
  int threads;
};

void keys(const Keys& op, int64_t* before, int64_t* after, int64_t* last);  // [B, T, K] twice, [B, L]

}  // namespace inn
