// The operators of the neighbours: what neurons hear along listed edges.
#pragma once

#include <ATen/ops/sum.h>

#include <array>

#include "neighbours.h"
#include "ops.h"

namespace {

// What every direction reads, and what keeps it alive.
struct NeighboursCall {
  Tensor q, k, v, sources, open, signs, log_weights, present;
  inn::Neighbours op;

  NeighboursCall(const Tensor& q_, const Tensor& k_, const Tensor& v_, int64_t heads, const Tensor& sources_,
                 const Tensor& open_, const optional<Tensor>& signs_, const optional<Tensor>& log_weights_,
                 const optional<Tensor>& present_)
      : q(rows(q_)), k(rows(k_)), v(rows(v_)), sources(sources_.contiguous()), open(open_.contiguous()) {
    TORCH_CHECK(q.dim() == 4 && q.numel() && heads > 0 && q.size(3) % heads == 0,
                "the neighbours take values [B, T, N, H x d]");
    expect(k, q.sizes(), "k");
    expect(v, q.sizes(), "v");
    const int64_t N = q.size(2), K = sources.size(1);
    TORCH_CHECK(sources.scalar_type() == at::kLong && open.scalar_type() == at::kBool, "sources should be int64, open bool");
    expect(sources, {N, K}, "sources");
    expect(open, {N, K}, "open");
    const int64_t* from = sources.data_ptr<int64_t>();
    for (int64_t e = 0; e < N * K; e++) TORCH_CHECK(from[e] >= 0 && from[e] < N, "source ", from[e], " is no neuron");
    const float* sign = floats_of(signs_, {N, K}, signs, "signs");
    const float* log_weight = floats_of(log_weights_, {N, K}, log_weights, "log_weights");
    const bool* there = nullptr;
    if (present_) {
      expect(*present_, {q.size(0), q.size(1), N}, "present");
      TORCH_CHECK(present_->scalar_type() == at::kBool, "present should be bool");
      present = present_->contiguous();
      there = present.data_ptr<bool>();
    }
    op = {q.size(0), q.size(1), N, K, heads, q.size(3) / heads, view(q), view(k), view(v), from,
          open.data_ptr<bool>(), sign, log_weight, there, at::get_num_threads()};
  }

  static const float* floats_of(const optional<Tensor>& t, at::IntArrayRef sizes, Tensor& keep, const char* name) {
    if (!t) return nullptr;
    expect(*t, sizes, name);
    keep = floats(*t);
    return keep.data_ptr<float>();
  }

  Tensor partial(bool wanted) const {
    return at::empty({wanted ? inn::neighbour_blocks(op) : 0, op.N, op.K}, q.options().dtype(at::kFloat));
  }
};

// The sum of the partial sums, in the type of the parameter.
Tensor whole(const Tensor& partial, const Tensor& of) {
  const std::array<int64_t, 1> first{0};  // which outlives the call: a number by itself would not
  return like(partial.sum(at::IntArrayRef(first)), of);
}

std::tuple<Tensor, Tensor> neighbours_forward(const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads,
                                              const Tensor& sources, const Tensor& open, const optional<Tensor>& signs,
                                              const optional<Tensor>& log_weights, const optional<Tensor>& present,
                                              bool want_weights) {
  const NeighboursCall call(q, k, v, heads, sources, open, signs, log_weights, present);
  const auto& op = call.op;
  Tensor out = at::empty_like(call.q);
  Tensor weights = at::empty({want_weights ? op.B : 0, op.T, op.H, op.N, op.K}, q.options().dtype(at::kFloat));
  inn::neighbour_attention_forward(op, view(out), want_weights ? weights.data_ptr<float>() : nullptr);
  return {out, weights};
}

std::tuple<Tensor, Tensor, Tensor, Tensor> neighbours_backward(
    const Tensor& gout, const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads, const Tensor& sources,
    const Tensor& open, const optional<Tensor>& signs, const optional<Tensor>& log_weights,
    const optional<Tensor>& present) {
  const NeighboursCall call(q, k, v, heads, sources, open, signs, log_weights, present);
  expect(gout, call.q.sizes(), "gout");
  const Tensor g = rows(gout);
  Tensor gq = at::empty_like(call.q), gk = at::empty_like(call.k), gv = at::empty_like(call.v);
  Tensor partial = call.partial(log_weights.has_value());
  inn::neighbour_attention_backward(call.op, view(g), view(gq), view(gk), view(gv),
                                    log_weights ? partial.data_ptr<float>() : nullptr);
  return {gq, gk, gv, log_weights ? whole(partial, *log_weights) : partial};
}

Tensor neighbour_sum_forward(const Tensor& v, const Tensor& weights, const Tensor& sources, const Tensor& open) {
  const NeighboursCall call(v, v, v, 1, sources, open, weights, {}, {});
  Tensor out = at::empty_like(call.v);
  inn::neighbour_sum_forward(call.op, view(out));
  return out;
}

std::tuple<Tensor, Tensor> neighbour_sum_backward(const Tensor& gout, const Tensor& v, const Tensor& weights,
                                                  const Tensor& sources, const Tensor& open, bool wanted) {
  const NeighboursCall call(v, v, v, 1, sources, open, weights, {}, {});
  expect(gout, call.v.sizes(), "gout");
  const Tensor g = rows(gout);
  Tensor gv = at::empty_like(call.v), partial = call.partial(wanted);
  inn::neighbour_sum_backward(call.op, view(g), view(gv), wanted ? partial.data_ptr<float>() : nullptr);
  return {gv, wanted ? whole(partial, weights) : partial};
}

// Numbers of edges by step, [B, T, H, N, K].
Tensor by_step(const Tensor& numbers, const inn::Neighbours& op) {
  expect(numbers, {op.B, op.T, op.H, op.N, op.K}, "weights");
  return floats(numbers);
}

Tensor neighbour_mix(const Tensor& v, const Tensor& weights, const Tensor& sources, const Tensor& open) {
  const NeighboursCall call(v, v, v, weights.size(2), sources, open, {}, {}, {});
  Tensor w = by_step(weights, call.op), out = at::empty_like(call.v);
  inn::neighbour_mix(call.op, w.data_ptr<float>(), view(out));
  return out;
}

Tensor neighbour_spread(const Tensor& v, const Tensor& weights, const Tensor& sources, const Tensor& open) {
  const NeighboursCall call(v, v, v, weights.size(2), sources, open, {}, {}, {});
  Tensor w = by_step(weights, call.op), out = at::empty_like(call.v);
  inn::neighbour_spread(call.op, w.data_ptr<float>(), view(out));
  return out;
}

Tensor neighbour_scores(const Tensor& q, const Tensor& k, int64_t heads, const Tensor& sources, const Tensor& open) {
  const NeighboursCall call(q, k, k, heads, sources, open, {}, {}, {});
  const auto& op = call.op;
  Tensor scores = at::empty({op.B, op.T, op.H, op.N, op.K}, q.options().dtype(at::kFloat));
  inn::neighbour_scores(op, scores.data_ptr<float>());
  return scores;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(inn, m) {
  m.def("neighbour_mix(Tensor v, Tensor weights, Tensor sources, Tensor open) -> Tensor");
  m.def("neighbour_spread(Tensor v, Tensor weights, Tensor sources, Tensor open) -> Tensor");
  m.def("neighbour_scores(Tensor q, Tensor k, int heads, Tensor sources, Tensor open) -> Tensor");
  m.def(
      "neighbour_attention_fwd(Tensor q, Tensor k, Tensor v, int heads, Tensor sources, Tensor open, Tensor? signs, "
      "Tensor? log_weights, Tensor? present, bool want_weights) -> (Tensor, Tensor)");
  m.def(
      "neighbour_attention_bwd(Tensor gout, Tensor q, Tensor k, Tensor v, int heads, Tensor sources, Tensor open, "
      "Tensor? signs, Tensor? log_weights, Tensor? present) -> (Tensor, Tensor, Tensor, Tensor)");
  m.def("neighbour_sum_fwd(Tensor v, Tensor weights, Tensor sources, Tensor open) -> Tensor");
  m.def(
      "neighbour_sum_bwd(Tensor gout, Tensor v, Tensor weights, Tensor sources, Tensor open, bool wanted) -> (Tensor, "
      "Tensor)");
}

TORCH_LIBRARY_IMPL(inn, CPU, m) {
  m.impl("neighbour_mix", neighbour_mix);
  m.impl("neighbour_spread", neighbour_spread);
  m.impl("neighbour_scores", neighbour_scores);
  m.impl("neighbour_attention_fwd", neighbours_forward);
  m.impl("neighbour_attention_bwd", neighbours_backward);
  m.impl("neighbour_sum_fwd", neighbour_sum_forward);
  m.impl("neighbour_sum_bwd", neighbour_sum_backward);
}
