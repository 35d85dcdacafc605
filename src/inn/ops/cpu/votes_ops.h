// The operators of what counts of followers say.
#pragma once

#include "ops.h"
#include "votes.h"

namespace {

// What every direction reads, and what keeps it alive. `numbers` are weights [B, T, K], or vectors of symbols [V, E].
struct VotesCall {
  Tensor found, last, table, numbers;
  inn::Votes op;

  VotesCall(const Tensor& found_, const Tensor& last_, const Tensor& table_, const Tensor& numbers_, int64_t vocab)
      : found(found_.contiguous()), last(last_.contiguous()), table(floats(table_)), numbers(floats(numbers_)) {
    TORCH_CHECK(found.dim() == 4 && found.numel(), "followers should be [B, T, K, F]");
    TORCH_CHECK(found.scalar_type() == at::kInt && last.scalar_type() == at::kInt, "followers should be int32");
    const int64_t B = found.size(0), T = found.size(1), K = found.size(2), F = found.size(3);
    expect(last, {B, T, K}, "last");
    expect(table, {K, inn::BUCKETS}, "table");
    const bool voting = vocab >= 0;
    if (voting)
      expect(numbers, {B, T, K}, "weights");
    else
      TORCH_CHECK(numbers.dim() == 2 && numbers.numel(), "symbols should be [V, E]");
    const float* floats = numbers.data_ptr<float>();
    op = {B * T, K, F, voting ? vocab : numbers.size(0), voting ? 1 : numbers.size(1), found.data_ptr<int32_t>(),
          last.data_ptr<int32_t>(), table.data_ptr<float>(), voting ? floats : nullptr, voting ? nullptr : floats,
          at::get_num_threads()};
    const int64_t largest = inn::largest_symbol(op);
    TORCH_CHECK(largest < op.V, "symbol ", largest, " is not below ", op.V);
  }
  Tensor empty(at::IntArrayRef sizes) const { return at::empty(sizes, numbers.options()); }
};

Tensor votes_forward(const Tensor& found, const Tensor& last, const Tensor& table, const Tensor& weights,
                     int64_t vocab) {
  const VotesCall call(found, last, table, weights, vocab);
  Tensor y = call.empty({found.size(0), found.size(1), vocab});
  inn::votes_forward(call.op, y.data_ptr<float>());
  return like(y, weights);
}

std::tuple<Tensor, Tensor> votes_backward(const Tensor& gy, const Tensor& found, const Tensor& last,
                                          const Tensor& table, const Tensor& weights) {
  const VotesCall call(found, last, table, weights, gy.size(-1));
  expect(gy, {found.size(0), found.size(1), gy.size(-1)}, "gy");
  const Tensor g = floats(gy);
  Tensor gtable = call.empty(call.table.sizes()), gweights = call.empty(weights.sizes());
  inn::votes_backward(call.op, g.data_ptr<float>(), gtable.data_ptr<float>(), gweights.data_ptr<float>());
  return {like(gtable, table), like(gweights, weights)};
}

Tensor expected_forward(const Tensor& found, const Tensor& last, const Tensor& table, const Tensor& symbols) {
  const VotesCall call(found, last, table, symbols, -1);
  Tensor y = call.empty({found.size(0), found.size(1), found.size(2), symbols.size(1)});
  inn::expected_forward(call.op, y.data_ptr<float>());
  return like(y, symbols);
}

std::tuple<Tensor, Tensor> expected_backward(const Tensor& gy, const Tensor& found, const Tensor& last,
                                             const Tensor& table, const Tensor& symbols) {
  const VotesCall call(found, last, table, symbols, -1);
  expect(gy, {found.size(0), found.size(1), found.size(2), symbols.size(1)}, "gy");
  const Tensor g = floats(gy);
  Tensor gtable = call.empty(call.table.sizes()), gsymbols = call.empty(symbols.sizes());
  inn::expected_backward(call.op, g.data_ptr<float>(), gtable.data_ptr<float>(), gsymbols.data_ptr<float>());
  return {like(gtable, table), like(gsymbols, symbols)};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(inn, m) {
  m.def("votes_fwd(Tensor found, Tensor last, Tensor table, Tensor weights, int vocab) -> Tensor");
  m.def("votes_bwd(Tensor gy, Tensor found, Tensor last, Tensor table, Tensor weights) -> (Tensor, Tensor)");
  m.def("expected_fwd(Tensor found, Tensor last, Tensor table, Tensor symbols) -> Tensor");
  m.def("expected_bwd(Tensor gy, Tensor found, Tensor last, Tensor table, Tensor symbols) -> (Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(inn, CPU, m) {
  m.impl("votes_fwd", votes_forward);
  m.impl("votes_bwd", votes_backward);
  m.impl("expected_fwd", expected_forward);
  m.impl("expected_bwd", expected_backward);
}
