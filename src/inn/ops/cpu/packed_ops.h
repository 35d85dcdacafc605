// The operators over packed steps: scan and convolution, whose rows each have a number of steps of their own, and
// attention among those that meet at a step.
#pragma once

#include "conv.h"
#include "meet.h"
#include "ops.h"
#include "scan.h"

namespace {

// Where the rows [N x B] begin among R steps, checked; T becomes the steps of the one that has most.
inn::Listed listed(const Tensor& first, Tensor& keep, int64_t rows, int64_t R, int64_t& T) {
  TORCH_CHECK(first.scalar_type() == at::kLong, "first should be int64");
  expect(first, {rows + 1}, "first");
  keep = first.contiguous();
  const int64_t* at = keep.data_ptr<int64_t>();
  TORCH_CHECK(at[0] == 0 && at[rows] == R, "first should lead from 0 to ", R);
  T = 1;
  for (int64_t i = 0; i < rows; i++) {
    TORCH_CHECK(at[i] <= at[i + 1], "first should not go back");
    T = std::max(T, at[i + 1] - at[i]);
  }
  return {at};
}

inn::View view_of_rows(const Tensor& t) {
  TORCH_CHECK(t.device().is_cpu() && t.dim() == 2, "the kernels take packed CPU tensors [R, E]");
  TORCH_CHECK(t.scalar_type() == at::kFloat || t.scalar_type() == at::kBFloat16,
              "the kernels take float32 and bfloat16, not ", t.scalar_type());
  return {t.data_ptr(), 0, t.stride(0), 0, t.scalar_type() == at::kBFloat16};
}

struct PackedScan {
  Tensor x, dt, A, B, C, D, z, state, first;
  inn::Scan op;

  PackedScan(const Tensor& x_, const Tensor& dt_, const Tensor& A_, const Tensor& B_, const Tensor& C_, const Tensor& D_,
             const Tensor& z_, const Tensor& state_, const Tensor& first_, int64_t period)
      : x(rows(x_)), dt(rows(dt_)), A(floats(A_)), B(rows(B_)), C(rows(C_)), D(floats(D_)), z(rows(z_)),
        state(floats(state_)) {
    TORCH_CHECK(x.dim() == 2 && x.numel() && A.dim() == 3 && A.numel() && state.dim() == 4,
                "the packed scan takes x [R, E], A [P, E, S] and a state [B, N, E, S]");
    const int64_t R = x.size(0), E = x.size(1), S = A.size(2), P = A.size(0), b = state.size(0), N = state.size(1);
    TORCH_CHECK(P == 1 || P == N, "A should be for 1 or ", N, " neurons, not for ", P);
    TORCH_CHECK(period >= 0 && period % 64 == 0, "period should be a multiple of 64");
    expect(dt, {R, E}, "dt");
    expect(z, {R, E}, "z");
    expect(A, {P, E, S}, "A");
    expect(D, {P, E}, "D");
    expect(B, {R, S}, "B");
    expect(C, {R, S}, "C");
    expect(state, {b, N, E, S}, "state");
    int64_t T;
    const inn::Listed at = listed(first_, first, N * b, R, T);
    op = {b, T, N, E, S, P, view_of_rows(x), view_of_rows(dt), view_of_rows(B), view_of_rows(C), view_of_rows(z),
          A.data_ptr<float>(), D.data_ptr<float>(), state.data_ptr<float>(), nullptr, nullptr,
          period ? period : (T + 63) / 64 * 64, at::get_num_threads(), at};
  }
  Tensor kept(int64_t period) const {
    return at::empty({op.B, op.N, period ? (op.T - 1) / period : 0, op.blocks(), op.S, inn::L}, state.options());
  }
};

std::tuple<Tensor, Tensor, Tensor> packed_scan_forward(const Tensor& x, const Tensor& dt, const Tensor& A,
                                                       const Tensor& B, const Tensor& C, const Tensor& D,
                                                       const Tensor& z, const Tensor& state, const Tensor& first,
                                                       int64_t period) {
  const PackedScan call(x, dt, A, B, C, D, z, state, first, period);
  Tensor y = at::empty_like(call.x), last = at::empty(call.state.sizes(), call.state.options());
  Tensor kept = call.kept(period);
  inn::scan_forward(call.op, view_of_rows(y), last.data_ptr<float>(), period ? kept.data_ptr<float>() : nullptr);
  return {y, last, kept};
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> packed_scan_backward(
    const Tensor& gy, const optional<Tensor>& glast, const Tensor& x, const Tensor& dt, const Tensor& A,
    const Tensor& B, const Tensor& C, const Tensor& D, const Tensor& z, const Tensor& state, const Tensor& first,
    const Tensor& kept, int64_t period) {
  const PackedScan call(x, dt, A, B, C, D, z, state, first, period);
  TORCH_CHECK(period > 0, "the scan was run without keeping what its gradient needs (period 0)");
  expect(kept, call.kept(period).sizes(), "kept");
  expect(gy, call.x.sizes(), "gy");
  const Tensor g = rows(gy), last = glast ? floats(*glast) : Tensor();
  if (glast) expect(last, call.state.sizes(), "glast");
  Tensor gx = at::empty_like(call.x), gdt = at::empty_like(call.dt), gz = at::empty_like(call.z);
  Tensor gB = at::empty_like(call.B), gC = at::empty_like(call.C);
  Tensor gA = at::empty_like(call.A), gD = at::empty_like(call.D), gstate = at::empty_like(call.state);
  inn::scan_backward(call.op, view_of_rows(g), glast ? last.data_ptr<float>() : nullptr, kept.data_ptr<float>(),
                     {view_of_rows(gx), view_of_rows(gdt), view_of_rows(gB), view_of_rows(gC), view_of_rows(gz),
                      gA.data_ptr<float>(), gD.data_ptr<float>(), gstate.data_ptr<float>()});
  return {gx, gdt, like(gA, A), gB, gC, like(gD, D), gz, like(gstate, state)};
}

struct PackedConv {
  Tensor x, weight, bias, state, first;
  inn::Conv op;

  PackedConv(const Tensor& x_, const Tensor& weight_, const Tensor& bias_, const Tensor& state_, const Tensor& first_)
      : x(rows(x_)), weight(floats(weight_)), bias(floats(bias_)), state(floats(state_)) {
    TORCH_CHECK(x.dim() == 2 && x.numel() && weight.dim() == 3 && state.dim() == 4,
                "the packed convolution takes x [R, E], weight [P, E, K] and a state [B, N, K-1, E]");
    const int64_t b = state.size(0), N = state.size(1), E = x.size(1), P = weight.size(0), K = weight.size(2);
    TORCH_CHECK(P == 1 || P == N, "weight should be for 1 or ", N, " neurons, not for ", P);
    TORCH_CHECK(K >= 1 && K <= inn::MAX_TAPS, "the kernel takes 1 to ", inn::MAX_TAPS, " taps, not ", K);
    expect(weight, {P, E, K}, "weight");
    expect(bias, {P, E}, "bias");
    expect(state, {b, N, K - 1, E}, "state");
    int64_t T;
    const inn::Listed at = listed(first_, first, N * b, x.size(0), T);
    op = {b, T, N, E, P, K, view_of_rows(x), weight.data_ptr<float>(), bias.data_ptr<float>(), state.data_ptr<float>(),
          nullptr, nullptr, at::get_num_threads(), at};
  }
};

std::tuple<Tensor, Tensor> packed_conv_forward(const Tensor& x, const Tensor& weight, const Tensor& bias,
                                               const Tensor& state, const Tensor& first) {
  const PackedConv call(x, weight, bias, state, first);
  Tensor y = at::empty_like(call.x), last = at::empty_like(call.state);
  inn::conv_forward(call.op, view_of_rows(y), last.data_ptr<float>());
  return {y, like(last, state)};
}

std::tuple<Tensor, Tensor, Tensor, Tensor> packed_conv_backward(const Tensor& gy, const optional<Tensor>& glast,
                                                                const Tensor& x, const Tensor& weight,
                                                                const Tensor& bias, const Tensor& state,
                                                                const Tensor& first) {
  const PackedConv call(x, weight, bias, state, first);
  expect(gy, call.x.sizes(), "gy");
  const Tensor g = rows(gy), last = glast ? floats(*glast) : Tensor();
  if (glast) expect(last, call.state.sizes(), "glast");
  Tensor gx = at::empty_like(call.x), gw = at::empty_like(call.weight), gb = at::empty_like(call.bias);
  Tensor gstate = at::empty_like(call.state);
  inn::conv_backward(call.op, view_of_rows(g), glast ? last.data_ptr<float>() : nullptr,
                     {view_of_rows(gx), gw.data_ptr<float>(), gb.data_ptr<float>(), gstate.data_ptr<float>()});
  return {gx, like(gw, weight), like(gb, bias), like(gstate, state)};
}

struct PackedAttention {
  Tensor q, k, v, order, first;
  inn::Meet op;

  PackedAttention(const Tensor& q_, const Tensor& k_, const Tensor& v_, int64_t heads, const Tensor& order_,
                  const Tensor& first_)
      : q(rows(q_)), k(rows(k_)), v(rows(v_)), order(order_.contiguous()) {
    TORCH_CHECK(q.dim() == 2 && q.numel() && heads > 0 && q.size(1) % heads == 0,
                "the packed attention takes q [R, H x d]");
    const int64_t R = q.size(0);
    expect(k, q.sizes(), "k");
    expect(v, q.sizes(), "v");
    expect(order, {R}, "order");
    TORCH_CHECK(order.scalar_type() == at::kLong && first_.dim() == 1 && first_.numel(), "order should be int64");
    const int64_t* from = order.data_ptr<int64_t>();
    for (int64_t i = 0; i < R; i++) TORCH_CHECK(from[i] >= 0 && from[i] < R, "order should name rows below ", R);
    int64_t most;
    const int64_t meetings = first_.size(0) - 1;
    const inn::Listed at = listed(first_, first, meetings, R, most);
    op = {meetings, heads, q.size(1) / heads, view_of_rows(q), view_of_rows(k), view_of_rows(v), from, at.first, most,
          at::get_num_threads()};
  }
};

Tensor packed_attention_forward(const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads, const Tensor& order,
                                const Tensor& first) {
  const PackedAttention call(q, k, v, heads, order, first);
  Tensor out = at::empty(call.q.sizes(), call.q.options());
  inn::meet_forward(call.op, view_of_rows(out));
  return out;
}

std::tuple<Tensor, Tensor, Tensor> packed_attention_backward(const Tensor& gout, const Tensor& q, const Tensor& k,
                                                             const Tensor& v, int64_t heads, const Tensor& order,
                                                             const Tensor& first) {
  const PackedAttention call(q, k, v, heads, order, first);
  expect(gout, call.q.sizes(), "gout");
  const Tensor g = rows(gout);
  const auto made = [&] { return at::empty(call.q.sizes(), call.q.options()); };
  Tensor gq = made(), gk = made(), gv = made();
  inn::meet_backward(call.op, view_of_rows(g), view_of_rows(gq), view_of_rows(gk), view_of_rows(gv));
  return {gq, gk, gv};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(inn, m) {
  m.def(
      "packed_scan_fwd(Tensor x, Tensor dt, Tensor A, Tensor B, Tensor C, Tensor D, Tensor z, Tensor state, "
      "Tensor first, int period) -> (Tensor, Tensor, Tensor)");
  m.def(
      "packed_scan_bwd(Tensor gy, Tensor? glast, Tensor x, Tensor dt, Tensor A, Tensor B, Tensor C, Tensor D, "
      "Tensor z, Tensor state, Tensor first, Tensor kept, int period) -> "
      "(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)");
  m.def("packed_conv_fwd(Tensor x, Tensor weight, Tensor bias, Tensor state, Tensor first) -> (Tensor, Tensor)");
  m.def(
      "packed_conv_bwd(Tensor gy, Tensor? glast, Tensor x, Tensor weight, Tensor bias, Tensor state, Tensor first) -> "
      "(Tensor, Tensor, Tensor, Tensor)");
  m.def("packed_attention_fwd(Tensor q, Tensor k, Tensor v, int heads, Tensor order, Tensor first) -> Tensor");
  m.def(
      "packed_attention_bwd(Tensor gout, Tensor q, Tensor k, Tensor v, int heads, Tensor order, Tensor first) -> "
      "(Tensor, Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(inn, CPU, m) {
  m.impl("packed_scan_fwd", packed_scan_forward);
  m.impl("packed_scan_bwd", packed_scan_backward);
  m.impl("packed_conv_fwd", packed_conv_forward);
  m.impl("packed_conv_bwd", packed_conv_backward);
  m.impl("packed_attention_fwd", packed_attention_forward);
  m.impl("packed_attention_bwd", packed_attention_backward);
}
