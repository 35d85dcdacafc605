// The operators of neurons that hear one another's last step, a part of ops.cpp. Shapes and gradients: inn/ops/feedback/cpu.py.
#pragma once

#include <algorithm>
#include <vector>

#include "feedback.h"
#include "ops.h"

namespace {

using Given = std::vector<Tensor>;

struct FeedbackCall {
  Tensor given, reset, mask;
  Given states, weights;  // in the order of the schema; a gain or a bias that is not there is undefined
  inn::Feedback op{};

  FeedbackCall(const Tensor& given_, const Given& states_, const optional<Tensor>& reset_, const optional<Tensor>& mask_,
               const Tensor& hear, const optional<Tensor>& gain, const optional<Tensor>& bias, const Given& maps,
               double epsilon, int64_t period)
      : given(rows(given_)) {
    TORCH_CHECK(given.dim() == 4 && given.numel() && states_.size() == 3 && maps.size() == 8 && states_[2].dim() == 4,
                "feedback takes given [B, T, N, 2 E], three states and eight weights of the memory");
    TORCH_CHECK(given.scalar_type() == at::kFloat, "feedback takes float32");
    for (const Tensor& t : states_) states.push_back(floats(t));
    for (const Tensor& t : maps) weights.push_back(floats(t));
    const int64_t B = given.size(0), T = given.size(1), N = given.size(2), E = states[2].size(2), S = states[2].size(3);
    const int64_t D = states[0].size(-1), K = weights[0].size(-1), R = weights[3].size(-1);
    expect(given, {B, T, N, 2 * E}, "given");
    expect(states[0], {B, N, D}, "said");
    expect(states[1], {B, N, K - 1, E}, "conv");
    expect(states[2], {B, N, E, S}, "ssm");
    const std::vector<std::vector<int64_t>> shapes{{N, E, K}, {N, E}, {N, R + 2 * S, E}, {N, E, R},
                                                   {N, E},    {N, E, S}, {N, E},         {N, D, E}};
    for (int i = 0; i < 8; i++) expect(weights[i], shapes[i], "a weight of the memory");
    weights.insert(weights.begin(), {floats(hear), gain ? floats(*gain) : Tensor(), bias ? floats(*bias) : Tensor()});
    expect(weights[0], {N, 2 * E, N * D}, "hear");
    TORCH_CHECK(gain || !bias, "a norm with a bias has a gain");
    for (int i = 1; i < 3; i++)
      if (weights[i].defined()) expect(weights[i], {N, D}, "a gain or bias");
    op = {B, T, N, D, E, S, K, R, view(given), at(states[0]), at(states[1]), at(states[2]),
          flags(reset_, given, reset, "reset"), flags(mask_, given, mask, "mask"), at(weights[0]), at(weights[1]), at(weights[2]),
          at(weights[3]), at(weights[4]), at(weights[5]), at(weights[6]), at(weights[7]), at(weights[8]), at(weights[9]),
          at(weights[10]), static_cast<float>(epsilon), std::max<int64_t>(1, period), at::get_num_threads()};
  }
  static float* at(const Tensor& t) { return t.defined() ? t.data_ptr<float>() : nullptr; }
  static inn::FeedbackStates all(const Given& t) { return {at(t[0]), at(t[1]), at(t[2])}; }
};

std::vector<Tensor> empties(const Given& like) {
  std::vector<Tensor> found;
  for (const Tensor& t : like) found.push_back(t.defined() ? at::empty_like(t) : Tensor());
  return found;
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> feedback_forward(
    const Tensor& given, const Tensor& said, const Tensor& conv, const Tensor& ssm, const optional<Tensor>& reset,
    const optional<Tensor>& mask, const Tensor& hear, const optional<Tensor>& gain, const optional<Tensor>& bias,
    const Tensor& conv_weight, const Tensor& conv_bias, const Tensor& to_scan, const Tensor& to_dt, const Tensor& dt_bias,
    const Tensor& A, const Tensor& skip, const Tensor& out, double epsilon, int64_t period) {
  const FeedbackCall call(given, {said, conv, ssm}, reset, mask, hear, gain, bias,
                          {conv_weight, conv_bias, to_scan, to_dt, dt_bias, A, skip, out}, epsilon, period);
  const inn::Feedback& op = call.op;
  Tensor y = at::empty({op.B, op.T, op.N, op.D}, call.given.options());
  const std::vector<Tensor> last = empties(call.states);
  Tensor kept = at::empty({period ? inn::feedback_kept(op) : 0}, call.states[0].options());
  inn::feedback_forward(op, view(y), call.all(last), period ? kept.data_ptr<float>() : nullptr);
  return {y, last[0], last[1], last[2], kept};
}

std::vector<Tensor> feedback_backward(
    const Tensor& gy, const optional<Tensor>& gsaid, const optional<Tensor>& gconv, const optional<Tensor>& gssm,
    const Tensor& given, const Tensor& said, const Tensor& conv, const Tensor& ssm, const optional<Tensor>& reset,
    const optional<Tensor>& mask, const Tensor& hear, const optional<Tensor>& gain, const optional<Tensor>& bias,
    const Tensor& conv_weight, const Tensor& conv_bias, const Tensor& to_scan, const Tensor& to_dt, const Tensor& dt_bias,
    const Tensor& A, const Tensor& skip, const Tensor& out, const Tensor& kept, double epsilon, int64_t period) {
  const FeedbackCall call(given, {said, conv, ssm}, reset, mask, hear, gain, bias,
                          {conv_weight, conv_bias, to_scan, to_dt, dt_bias, A, skip, out}, epsilon, period);
  TORCH_CHECK(period > 0, "feedback was run without keeping what its gradient needs (period 0)");
  expect(kept, {inn::feedback_kept(call.op)}, "kept");
  expect(gy, {call.op.B, call.op.T, call.op.N, call.op.D}, "gy");
  const Tensor g = rows(gy.to(at::kFloat));
  Given last;
  for (const auto* t : {&gsaid, &gconv, &gssm}) {
    last.push_back(*t ? floats(**t) : Tensor());
    if (*t) expect(last.back(), call.states[last.size() - 1].sizes(), "the gradient of a state");
  }
  const Tensor ggiven = at::empty_like(call.given);
  std::vector<Tensor> states = empties(call.states), weights = empties(call.weights), found{ggiven};
  const auto to = [&](int i) { return call.at(weights[i]); };
  inn::feedback_backward(call.op, view(g), call.all(last), kept.data_ptr<float>(),
                         {view(ggiven), call.all(states), to(0), to(1), to(2), to(3), to(4), to(5), to(6), to(7), to(8),
                          to(9), to(10)});
  found.insert(found.end(), states.begin(), states.end());
  for (const Tensor& t : weights)
    if (t.defined()) found.push_back(t);
  return found;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(inn, m) {
  m.def(
      "feedback_fwd(Tensor given, Tensor said, Tensor conv, Tensor ssm, Tensor? reset, Tensor? mask, Tensor hear, "
      "Tensor? gain, Tensor? bias, Tensor conv_weight, Tensor conv_bias, Tensor to_scan, Tensor to_dt, Tensor dt_bias, "
      "Tensor A, Tensor skip, Tensor out, float epsilon, int period) -> (Tensor, Tensor, Tensor, Tensor, Tensor)");
  m.def(
      "feedback_bwd(Tensor gy, Tensor? gsaid, Tensor? gconv, Tensor? gssm, Tensor given, Tensor said, Tensor conv, "
      "Tensor ssm, Tensor? reset, Tensor? mask, Tensor hear, Tensor? gain, Tensor? bias, Tensor conv_weight, "
      "Tensor conv_bias, Tensor to_scan, Tensor to_dt, Tensor dt_bias, Tensor A, Tensor skip, Tensor out, Tensor kept, "
      "float epsilon, int period) -> Tensor[]");
}

TORCH_LIBRARY_IMPL(inn, CPU, m) {
  m.impl("feedback_fwd", feedback_forward);
  m.impl("feedback_bwd", feedback_backward);
}
