// The operators of the loop over time, a part of ops.cpp. Shapes, fake versions and gradients: inn/ops/loop/cpu.py.
#pragma once

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include "loop.h"
#include "ops.h"

namespace {

constexpr std::array<std::string_view, 9> KINDS = {"elman", "gru", "lstm", "slstm", "liquid", "rhn", "elm", "lif", "lif-soft"};

struct LoopCall {
  Tensor x, state, reset, mask;
  std::array<Tensor, 5> weights;
  inn::Loop op;

  LoopCall(const Tensor& x_, const Tensor& state_, const optional<Tensor>& reset_, const optional<Tensor>& mask_,
           const std::array<optional<Tensor>, 5>& weights_, std::string_view cell, int64_t period, bool every,
           bool back)
      : x(rows(x_)), state(floats(state_)) {
    const auto found = std::find(KINDS.begin(), KINDS.end(), cell);
    TORCH_CHECK(found != KINDS.end(), "the loop has no cell ", cell);
    const auto kind = static_cast<inn::Kind>(found - KINDS.begin());
    TORCH_CHECK(x.dim() == 4 && x.numel() && state.dim() == 4, "the loop takes x [B, T, N, I] and state [B, N, S, H]");
    const int64_t B = x.size(0), T = x.size(1), N = x.size(2), I = x.size(3), H = state.size(3);
    for (int i = 0; i < 5; i++)
      if (weights_[i]) weights[i] = floats(*weights_[i]);
    TORCH_CHECK(weights[0].defined(), "the loop takes weights");
    const int64_t P = weights[0].size(0), K = weights[0].size(-1) == H ? 1 : N;
    TORCH_CHECK(P == 1 || P == N, "weights should be for 1 or ", N, " neurons, not for ", P);
    TORCH_CHECK(K == 1 || P == N, "weights of the whole population should be for ", N, " neurons, not for ", P);
    op = {kind, B, T, N, H, I, P, K, 1};
    const auto want = [&](std::initializer_list<std::vector<int64_t>> shapes) {
      size_t i = 0;
      for (const auto& shape : shapes) {
        TORCH_CHECK(weights[i].defined(), cell, " takes ", shapes.size(), " weights");
        expect(weights[i], shape, "a weight");
        op.weights[i] = weights[i].data_ptr<float>();
        i++;
      }
    };
    const auto gates = [&](int64_t count) {
      TORCH_CHECK(I == count * H, "x should have ", count * H, " numbers in a step, not ", I);
      return std::vector<int64_t>{P, count * H, K * H};
    };
    const std::vector<int64_t> own{P, H};
    int64_t states = 1;
    switch (kind) {
      case inn::Kind::elman: want({gates(1)}); break;
      case inn::Kind::gru: want({gates(3), own}); break;
      case inn::Kind::lstm: want({gates(4)}), states = 2; break;
      case inn::Kind::slstm: want({gates(4)}), states = 4; break;
      case inn::Kind::liquid: want({gates(4), {B, T}}); break;
      case inn::Kind::rhn:
        gates(2);
        TORCH_CHECK(weights[0].dim() == 4, "the weights of rhn should be [P, L, 2 H, H]");
        op.layers = weights[0].size(1);
        TORCH_CHECK(op.layers > 0, "rhn takes at least one layer");
        want({{P, op.layers, 2 * H, K * H}, {P, op.layers, 2 * H}});
        break;
      case inn::Kind::elm: want({{P, I, H}, {P, H, I}, own, own, own}); break;
      default: gates(1), want({own, own});
    }
    expect(state, {B, N, states, H}, "state");
    op.x = view(x);
    op.state = state.data_ptr<float>();
    op.reset = flags(reset_, x, reset, "reset");
    if (mask_) {
      mask = *mask_;
      TORCH_CHECK(mask.scalar_type() == at::kBool, "mask should be bool");
      const bool each = mask.dim() == 3;
      expect(mask, each ? at::IntArrayRef({B, T, N}) : at::IntArrayRef({B, T}), "mask");
      op.mask = mask.data_ptr<bool>();
      op.mask_b = mask.stride(0), op.mask_t = mask.stride(1), op.mask_n = each ? mask.stride(2) : 0;
    }
    op.period = std::max<int64_t>(1, period);
    op.every = every;
    op.back = back;
    op.threads = at::get_num_threads();
  }

  // What comes out, neuron by neuron in memory if each has its own weights.
  Tensor empty_y() const {
    if (op.P == 1) return at::empty({op.B, op.T, op.N, op.H}, x.options());
    return at::empty({op.N, op.B, op.T, op.H}, x.options()).permute({1, 2, 0, 3});
  }
};

std::tuple<Tensor, Tensor, Tensor> loop_forward(
    const Tensor& x, const Tensor& state, const optional<Tensor>& reset, const optional<Tensor>& mask, const Tensor& w0,
    const optional<Tensor>& w1, const optional<Tensor>& w2, const optional<Tensor>& w3, const optional<Tensor>& w4,
    c10::string_view cell, int64_t period, bool every) {
  const LoopCall call(x, state, reset, mask, {w0, w1, w2, w3, w4}, {cell.data(), cell.size()}, period, every, false);
  Tensor y = call.empty_y(), last = at::empty(call.state.sizes(), call.state.options()), kept;
  inn::loop_forward(call.op, view(y), last.data_ptr<float>(), [&](int64_t blocks, int64_t floats) {
    kept = at::empty({blocks, period ? floats : 0}, call.state.options());
    return period ? kept.data_ptr<float>() : nullptr;
  });
  return {y, last, kept};
}

std::vector<Tensor> loop_backward(
    const Tensor& gy, const optional<Tensor>& glast, const Tensor& x, const Tensor& state, const optional<Tensor>& reset,
    const optional<Tensor>& mask, const Tensor& w0, const optional<Tensor>& w1, const optional<Tensor>& w2,
    const optional<Tensor>& w3, const optional<Tensor>& w4, const Tensor& kept, c10::string_view cell, int64_t period,
    bool every) {
  const std::array<optional<Tensor>, 5> weights{w0, w1, w2, w3, w4};
  const LoopCall call(x, state, reset, mask, weights, {cell.data(), cell.size()}, period, every, true);
  TORCH_CHECK(period > 0, "the loop was run without keeping what its gradient needs (period 0)");
  expect(gy, {call.op.B, call.op.T, call.op.N, call.op.H}, "gy");
  const Tensor g = rows(gy), last = glast ? floats(*glast) : Tensor();
  if (glast) expect(last, call.state.sizes(), "glast");
  std::vector<Tensor> found{at::empty_like(call.x), at::empty_like(call.state)};
  inn::LoopGradients to{view(found[0]), found[1].data_ptr<float>(), {}};
  for (int i = 0; i < 5; i++)
    if (weights[i]) {
      found.push_back(at::empty_like(call.weights[i]));
      to.weights[i] = found.back().data_ptr<float>();
    }
  inn::loop_backward(call.op, view(g), glast ? last.data_ptr<float>() : nullptr, kept.data_ptr<float>(), kept.numel(), to);
  found[1] = like(found[1], state);
  for (size_t i = 2; i < found.size(); i++) found[i] = like(found[i], *weights[i - 2]);
  return found;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(inn, m) {
  m.def(
      "recurrence_fwd(Tensor x, Tensor state, Tensor? reset, Tensor? mask, Tensor w0, Tensor? w1, Tensor? w2, Tensor? w3, "
      "Tensor? w4, str cell, int period, bool every) -> (Tensor, Tensor, Tensor)");
  m.def(
      "recurrence_bwd(Tensor gy, Tensor? glast, Tensor x, Tensor state, Tensor? reset, Tensor? mask, Tensor w0, "
      "Tensor? w1, Tensor? w2, Tensor? w3, Tensor? w4, Tensor kept, str cell, int period, bool every) -> Tensor[]");
}

TORCH_LIBRARY_IMPL(inn, CPU, m) {
  m.impl("recurrence_fwd", loop_forward);
  m.impl("recurrence_bwd", loop_backward);
}
