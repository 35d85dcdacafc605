// The operators of contexts: their keys, and what is counted behind each.
#pragma once

#include "counts.h"
#include "keys.h"
#include "ops.h"

namespace {

// int64 numbers, made dense; `keep` holds the copy.
const int64_t* numbers(const Tensor& t, at::IntArrayRef sizes, Tensor& keep, const char* name) {
  TORCH_CHECK(t.scalar_type() == at::kLong, name, " should be int64, not ", t.scalar_type());
  expect(t, sizes, name);
  keep = t.contiguous();
  return keep.data_ptr<int64_t>();
}

std::tuple<Tensor, Tensor, Tensor> keys(const Tensor& tokens, const Tensor& recent, at::IntArrayRef specs,
                                        const optional<Tensor>& letters, const optional<Tensor>& reset,
                                        const optional<Tensor>& mask) {
  TORCH_CHECK(tokens.dim() == 2 && recent.dim() == 2, "keys take tokens [B, T] and recent [B, L]");
  TORCH_CHECK(specs.size() % 3 == 0, "specs should be three numbers for each context, not ", specs.size());
  const int64_t B = tokens.size(0), T = tokens.size(1), L = recent.size(1), K = static_cast<int64_t>(specs.size()) / 3;
  Tensor symbols, past, known, keep_reset, keep_mask;
  if (letters) {
    TORCH_CHECK(letters->dim() == 1 && letters->scalar_type() == at::kBool, "letters should be bool [V]");
    known = letters->contiguous();
  }
  Tensor before = at::empty({B, T, K}, tokens.options()), after = at::empty_like(before);
  Tensor last = at::empty({B, L}, tokens.options());
  const inn::Keys op{B, T, K, L, letters ? known.size(0) : 0, specs.data(), letters ? known.data_ptr<bool>() : nullptr,
                     numbers(tokens, {B, T}, symbols, "tokens"), numbers(recent, {B, L}, past, "recent"),
                     flags(reset, tokens, keep_reset, "reset"), flags(mask, tokens, keep_mask, "mask"),
                     at::get_num_threads()};
  inn::keys(op, before.data_ptr<int64_t>(), after.data_ptr<int64_t>(), last.data_ptr<int64_t>());
  return {before, after, last};
}

std::tuple<Tensor, Tensor> counts(const Tensor& tokens, const Tensor& before, const Tensor& after, Tensor& table,
                                  bool narrow, const optional<Tensor>& reset, const optional<Tensor>& mask,
                                  bool learn) {
  TORCH_CHECK(tokens.dim() == 2 && table.dim() == 4, "counts take tokens [B, T] and a table [B, K, slots, W]");
  const int64_t B = tokens.size(0), T = tokens.size(1), K = table.size(1), slots = table.size(2), W = table.size(3);
  TORCH_CHECK(slots >= 1 && W >= 2, "table should have at least 1 slot of 2 words");
  expect(table, {B, K, slots, W}, "table");
  TORCH_CHECK(table.is_contiguous() && table.scalar_type() == at::kInt, "table should be dense int32");
  Tensor symbols, past, now, keep_reset, keep_mask;
  const inn::Counts op{B, T, K, slots, W, numbers(tokens, {B, T}, symbols, "tokens"),
                       numbers(before, {B, T, K}, past, "before"), numbers(after, {B, T, K}, now, "after"),
                       table.data_ptr<int32_t>(), narrow, flags(reset, tokens, keep_reset, "reset"),
                       flags(mask, tokens, keep_mask, "mask"), learn, at::get_num_threads()};
  Tensor found = at::empty({B, T, K, op.room()}, table.options()), last = at::empty({B, T, K}, table.options());
  inn::counts(op, found.data_ptr<int32_t>(), last.data_ptr<int32_t>());
  return {found, last};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(inn, m) {
  m.def(
      "keys(Tensor tokens, Tensor recent, int[] specs, Tensor? letters, Tensor? reset, Tensor? mask) -> "
      "(Tensor, Tensor, Tensor)");
  m.def(
      "counts(Tensor tokens, Tensor before, Tensor after, Tensor(a!) table, bool narrow, Tensor? reset, Tensor? mask, "
      "bool learn) -> (Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(inn, CPU, m) {
  m.impl("keys", keys);
  m.impl("counts", counts);
}
