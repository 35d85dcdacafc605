// Tables of counted followers; see inn/ops/counts/reference.py for what they keep.
#pragma once

#include <cstdint>

namespace inn {

struct Counts {
  int64_t B, T, K, slots, W;
  const int64_t* tokens;  // [B, T]
  const int64_t* before;  // [B, T, K]
  const int64_t* after;   // [B, T, K]
  int32_t* table;         // [B, K, slots, W]
  bool narrow;            // two followers in a word
  const bool* reset;      // [B, T] or null
  const bool* mask;       // [B, T] or null
  bool learn;             // false: look up only
  int threads;

  int64_t room() const { return (W - 1) * (narrow ? 2 : 1); }  // followers of a slot
};

void counts(const Counts& op, int32_t* found, int32_t* last);  // [B, T, K, room], [B, T, K]

}  // namespace inn
