// The operators of messages along listed edges, a matrix for each.
#pragma once

#include "messages.h"
#include "neighbours_ops.h"

namespace {

// What every direction reads, and what keeps it alive. Weights are [P, I, K, D].
struct MessagesCall {
  Tensor sources, open, signs, weight;
  inn::Messages op;

  MessagesCall(const Tensor& streams, int64_t neurons, at::IntArrayRef sizes, const Tensor& sources_, const Tensor& open_,
               const optional<Tensor>& signs_)
      : sources(sources_.contiguous()), open(open_.contiguous()) {
    TORCH_CHECK(streams.dim() == 4 && streams.numel() && sizes.size() == 4, "messages take x [B, T, N, D] and weights [P, I, K, D]");
    const int64_t M = sources.size(0), K = sizes[2];
    TORCH_CHECK(sizes[0] == 1 || sizes[0] == M, "weights should be for 1 or ", M, " listeners, not for ", sizes[0]);
    TORCH_CHECK(sources.scalar_type() == at::kLong && open.scalar_type() == at::kBool, "sources should be int64, open bool");
    expect(sources, {M, K}, "sources");
    expect(open, {M, K}, "open");
    const int64_t* from = sources.data_ptr<int64_t>();
    for (int64_t e = 0; e < M * K; e++) TORCH_CHECK(from[e] >= 0 && from[e] < neurons, "source ", from[e], " is no neuron");
    const float* sign = NeighboursCall::floats_of(signs_, {M, K}, signs, "signs");
    op = {streams.size(0), streams.size(1), neurons, M, K, sizes[3], sizes[1], sizes[0], nullptr, from, open.data_ptr<bool>(),
          sign, at::get_num_threads()};
  }

  void take(const Tensor& weight_) {
    weight = floats(weight_);
    op.weight = weight.data_ptr<float>();
  }

  // Listener by listener in memory where each has weights of its own.
  Tensor empty(const Tensor& x) const {
    if (op.P == 1) return at::empty({op.B, op.T, op.M, op.I}, x.options());
    return at::empty({op.M, op.B, op.T, op.I}, x.options()).permute({1, 2, 0, 3});
  }
};

Tensor messages_forward(const Tensor& x_, const Tensor& weight, const Tensor& sources, const Tensor& open,
                        const optional<Tensor>& signs) {
  const Tensor x = rows(x_);
  MessagesCall call(x, x.size(2), weight.sizes(), sources, open, signs);
  TORCH_CHECK(x.size(3) == call.op.D, "weights should be for ", x.size(3), " numbers, not for ", call.op.D);
  call.take(weight);
  Tensor y = call.empty(x);
  inn::messages_forward(call.op, view(x), view(y));
  return y;
}

Tensor messages_input_backward(const Tensor& gy, const Tensor& x, const Tensor& weight, const Tensor& sources,
                               const Tensor& open, const optional<Tensor>& signs) {
  const Tensor g = rows(gy);
  MessagesCall call(g, x.size(2), weight.sizes(), sources, open, signs);
  expect(g, {call.op.B, call.op.T, call.op.M, call.op.I}, "gy");
  call.take(weight);
  Tensor gx = at::empty_like(rows(x));
  inn::messages_input_gradient(call.op, view(g), view(gx));
  return gx;
}

Tensor messages_weight_backward(const Tensor& gy, const Tensor& x_, const Tensor& weight, const Tensor& sources,
                                const Tensor& open, const optional<Tensor>& signs) {
  const Tensor g = rows(gy), x = rows(x_);
  const MessagesCall call(g, x.size(2), weight.sizes(), sources, open, signs);
  expect(g, {call.op.B, call.op.T, call.op.M, call.op.I}, "gy");
  Tensor gweight = at::empty(weight.sizes(), x.options().dtype(at::kFloat));
  inn::messages_weight_gradient(call.op, view(g), view(x), gweight.data_ptr<float>());
  return like(gweight, weight);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(inn, m) {
  const std::string edges = "Tensor x, Tensor weight, Tensor sources, Tensor open, Tensor? signs) -> Tensor";
  m.def(("neighbour_messages_fwd(" + edges).c_str());
  m.def(("neighbour_messages_input_bwd(Tensor gy, " + edges).c_str());
  m.def(("neighbour_messages_weight_bwd(Tensor gy, " + edges).c_str());
}

TORCH_LIBRARY_IMPL(inn, CPU, m) {
  m.impl("neighbour_messages_fwd", messages_forward);
  m.impl("neighbour_messages_input_bwd", messages_input_backward);
  m.impl("neighbour_messages_weight_bwd", messages_weight_backward);
}
