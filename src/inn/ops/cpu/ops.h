// What the operators do to tensors before the kernels see them.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <optional>
#include <tuple>

#include "common.h"

namespace at {
TORCH_API int get_num_threads();  // of ATen/Parallel.h, which needs OpenMP's header
}

namespace {

using at::Tensor;
using std::optional;

// The last axis without gaps; every other stride is taken as it is.
Tensor rows(const Tensor& t) { return t.size(-1) == 1 || t.stride(-1) == 1 ? t : t.contiguous(); }

Tensor floats(const Tensor& t) { return t.to(at::kFloat).contiguous(); }

inn::View view(const Tensor& t) {
  TORCH_CHECK(t.device().is_cpu() && t.dim() == 4, "the kernels take CPU tensors [B, T, N, E]");
  TORCH_CHECK(t.scalar_type() == at::kFloat || t.scalar_type() == at::kBFloat16,
              "the kernels take float32 and bfloat16, not ", t.scalar_type());
  return {t.data_ptr(), t.stride(0), t.stride(1), t.stride(2), t.scalar_type() == at::kBFloat16};
}

void expect(const Tensor& t, at::IntArrayRef sizes, const char* name) {
  TORCH_CHECK(t.sizes() == sizes, name, " should be ", sizes, ", not ", t.sizes());
}

// [B, T] bool, made dense; `keep` holds the copy.
const bool* flags(const optional<Tensor>& t, const Tensor& x, Tensor& keep, const char* name) {
  if (!t) return nullptr;
  expect(*t, {x.size(0), x.size(1)}, name);
  TORCH_CHECK(t->scalar_type() == at::kBool, name, " should be bool");
  keep = t->contiguous();
  return keep.data_ptr<bool>();
}

// The gradient of a parameter or state, in its own type.
Tensor like(const Tensor& gradient, const Tensor& of) { return gradient.to(of.scalar_type()); }

}  // namespace
