// The kernels as PyTorch operators, all in one unit: its headers take longer to compile than a kernel. Shapes, fake versions and gradients: inn/ops/scan/cpu.py and inn/ops/conv/cpu.py.

#include <c10/core/CPUAllocator.h>

#include <cstdlib>

#include "arena.h"
#include "attention.h"
#include "contexts_ops.h"
#include "conv.h"
#include "delta.h"
#include "feedback_ops.h"
#include "linear.h"
#include "loop_ops.h"
#include "messages_ops.h"
#include "neighbours_ops.h"
#include "norm.h"
#include "ops.h"
#include "packed_ops.h"
#include "recall.h"
#include "scan.h"
#include "step.h"
#include "votes_ops.h"

namespace {

// What both directions of the scan read, and what keeps it alive.
struct ScanCall {
  Tensor x, dt, A, B, C, D, z, state, reset, mask;
  inn::Scan op;

  ScanCall(const Tensor& x_, const Tensor& dt_, const Tensor& A_, const Tensor& B_, const Tensor& C_, const Tensor& D_,
           const Tensor& z_, const Tensor& state_, const optional<Tensor>& reset_, const optional<Tensor>& mask_,
           int64_t period)
      : x(rows(x_)), dt(rows(dt_)), A(floats(A_)), B(rows(B_)), C(rows(C_)), D(floats(D_)), z(rows(z_)),
        state(floats(state_)) {
    TORCH_CHECK(x.dim() == 4 && x.numel() && A.dim() == 3 && A.numel(), "the scan takes x [B, T, N, E] and A [P, E, S]");
    const int64_t b = x.size(0), T = x.size(1), N = x.size(2), E = x.size(3), S = A.size(2), P = A.size(0);
    TORCH_CHECK(P == 1 || P == N, "A should be for 1 or ", N, " neurons, not for ", P);
    TORCH_CHECK(period >= 0 && period % 64 == 0, "period should be a multiple of 64");
    expect(dt, x.sizes(), "dt");
    expect(z, x.sizes(), "z");
    expect(A, {P, E, S}, "A");
    expect(D, {P, E}, "D");
    expect(B, {b, T, N, S}, "B");
    expect(C, {b, T, N, S}, "C");
    expect(state, {b, N, E, S}, "state");
    op = {b, T, N, E, S, P, view(x), view(dt), view(B), view(C), view(z), A.data_ptr<float>(), D.data_ptr<float>(),
          state.data_ptr<float>(), flags(reset_, x, reset, "reset"), flags(mask_, x, mask, "mask"),
          period ? period : (T + 63) / 64 * 64, at::get_num_threads()};
  }
  Tensor kept(int64_t period) const {
    return at::empty({op.B, op.N, period ? (op.T - 1) / period : 0, op.blocks(), op.S, inn::L}, state.options());
  }
};

std::tuple<Tensor, Tensor, Tensor> scan_forward(
    const Tensor& x, const Tensor& dt, const Tensor& A, const Tensor& B, const Tensor& C, const Tensor& D,
    const Tensor& z, const Tensor& state, const optional<Tensor>& reset, const optional<Tensor>& mask, int64_t period) {
  const ScanCall call(x, dt, A, B, C, D, z, state, reset, mask, period);
  Tensor y = at::empty_like(call.x), last = at::empty(call.state.sizes(), call.state.options());
  Tensor kept = call.kept(period);
  inn::scan_forward(call.op, view(y), last.data_ptr<float>(), period ? kept.data_ptr<float>() : nullptr);
  return {y, last, kept};
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> scan_backward(
    const Tensor& gy, const optional<Tensor>& glast, const Tensor& x, const Tensor& dt, const Tensor& A,
    const Tensor& B, const Tensor& C, const Tensor& D, const Tensor& z, const Tensor& state,
    const optional<Tensor>& reset, const optional<Tensor>& mask, const Tensor& kept, int64_t period) {
  const ScanCall call(x, dt, A, B, C, D, z, state, reset, mask, period);
  TORCH_CHECK(period > 0, "the scan was run without keeping what its gradient needs (period 0)");
  expect(kept, call.kept(period).sizes(), "kept");
  expect(gy, call.x.sizes(), "gy");
  const Tensor g = rows(gy), last = glast ? floats(*glast) : Tensor();
  if (glast) expect(last, call.state.sizes(), "glast");
  Tensor gx = at::empty_like(call.x), gdt = at::empty_like(call.dt), gz = at::empty_like(call.z);
  Tensor gB = at::empty_like(call.B), gC = at::empty_like(call.C);
  Tensor gA = at::empty_like(call.A), gD = at::empty_like(call.D), gstate = at::empty_like(call.state);
  inn::scan_backward(call.op, view(g), glast ? last.data_ptr<float>() : nullptr, kept.data_ptr<float>(),
                     {view(gx), view(gdt), view(gB), view(gC), view(gz), gA.data_ptr<float>(), gD.data_ptr<float>(),
                      gstate.data_ptr<float>()});
  return {gx, gdt, like(gA, A), gB, gC, like(gD, D), gz, like(gstate, state)};
}

struct ConvCall {
  Tensor x, weight, bias, state, reset, mask;
  inn::Conv op;

  ConvCall(const Tensor& x_, const Tensor& weight_, const Tensor& bias_, const Tensor& state_,
           const optional<Tensor>& reset_, const optional<Tensor>& mask_)
      : x(rows(x_)), weight(floats(weight_)), bias(floats(bias_)), state(floats(state_)) {
    TORCH_CHECK(x.dim() == 4 && x.numel() && weight.dim() == 3, "the convolution takes x [B, T, N, E], weight [P, E, K]");
    const int64_t b = x.size(0), T = x.size(1), N = x.size(2), E = x.size(3), P = weight.size(0), K = weight.size(2);
    TORCH_CHECK(P == 1 || P == N, "weight should be for 1 or ", N, " neurons, not for ", P);
    TORCH_CHECK(K >= 1 && K <= inn::MAX_TAPS, "the kernel takes 1 to ", inn::MAX_TAPS, " taps, not ", K);
    expect(weight, {P, E, K}, "weight");
    expect(bias, {P, E}, "bias");
    expect(state, {b, N, K - 1, E}, "state");
    op = {b, T, N, E, P, K, view(x), weight.data_ptr<float>(), bias.data_ptr<float>(), state.data_ptr<float>(),
          flags(reset_, x, reset, "reset"), flags(mask_, x, mask, "mask"), at::get_num_threads()};
  }
};

std::tuple<Tensor, Tensor> conv_forward(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& state,
                                        const optional<Tensor>& reset, const optional<Tensor>& mask) {
  const ConvCall call(x, weight, bias, state, reset, mask);
  Tensor y = at::empty_like(call.x), last = at::empty_like(call.state);
  inn::conv_forward(call.op, view(y), last.data_ptr<float>());
  return {y, like(last, state)};
}

std::tuple<Tensor, Tensor, Tensor, Tensor> conv_backward(
    const Tensor& gy, const optional<Tensor>& glast, const Tensor& x, const Tensor& weight, const Tensor& bias,
    const Tensor& state, const optional<Tensor>& reset, const optional<Tensor>& mask) {
  const ConvCall call(x, weight, bias, state, reset, mask);
  expect(gy, call.x.sizes(), "gy");
  const Tensor g = rows(gy), last = glast ? floats(*glast) : Tensor();
  if (glast) expect(last, call.state.sizes(), "glast");
  Tensor gx = at::empty_like(call.x), gw = at::empty_like(call.weight), gb = at::empty_like(call.bias);
  Tensor gstate = at::empty_like(call.state);
  inn::conv_backward(call.op, view(g), glast ? last.data_ptr<float>() : nullptr,
                     {view(gx), gw.data_ptr<float>(), gb.data_ptr<float>(), gstate.data_ptr<float>()});
  return {gx, like(gw, weight), like(gb, bias), like(gstate, state)};
}

struct DeltaCall {
  Tensor q, k, v, decay, beta, state, reset, mask;
  inn::Delta op;

  DeltaCall(const Tensor& q_, const Tensor& k_, const Tensor& v_, const Tensor& decay_, const optional<Tensor>& beta_,
            const Tensor& state_, const optional<Tensor>& reset_, const optional<Tensor>& mask_, int64_t period)
      : q(rows(q_)), k(rows(k_)), v(rows(v_)), decay(rows(decay_)), beta(beta_ ? rows(*beta_) : Tensor()),
        state(floats(state_)) {
    TORCH_CHECK(v.dim() == 4 && state.dim() == 5 && state.numel() && v.numel(),
                "the delta rule takes v [B, T, N, H x V] and a state [B, N, H, K, V]");
    const int64_t b = v.size(0), T = v.size(1), N = v.size(2), H = state.size(2), K = state.size(3), V = state.size(4);
    const int64_t G = q.size(-1) == K ? 1 : H;
    TORCH_CHECK(period >= 0 && period % 64 == 0, "period should be a multiple of 64");
    expect(v, {b, T, N, H * V}, "v");
    expect(q, {b, T, N, G * K}, "q");
    expect(k, {b, T, N, G * K}, "k");
    expect(decay, {b, T, N, H}, "decay");
    if (beta_) expect(beta, {b, T, N, H}, "beta");
    expect(state, {b, N, H, K, V}, "state");
    op = {b, T, N, H, G, K, V, view(q), view(k), view(v), view(decay), beta_ ? view(beta) : inn::View{},
          state.data_ptr<float>(), flags(reset_, v, reset, "reset"), nullptr, 0, 0, 0,
          period ? period : (T + 63) / 64 * 64, at::get_num_threads()};
    if (mask_ && mask_->dim() == 3) {
      expect(*mask_, {b, T, N}, "mask");
      TORCH_CHECK(mask_->scalar_type() == at::kBool, "mask should be bool");
      mask = *mask_;
      op.mask = mask.data_ptr<bool>();
      op.mask_n = mask.stride(2);
    } else if (mask_) {
      op.mask = flags(mask_, v, mask, "mask");
    }
    if (op.mask) op.mask_b = mask.stride(0), op.mask_t = mask.stride(1);
  }
  Tensor kept(int64_t period) const {
    return at::empty({op.B, op.N, period ? (op.T - 1) / period : 0, op.H, op.K, op.V}, state.options());
  }
};

std::tuple<Tensor, Tensor, Tensor> delta_forward(
    const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& decay, const optional<Tensor>& beta,
    const Tensor& state, const optional<Tensor>& reset, const optional<Tensor>& mask, int64_t period) {
  const DeltaCall call(q, k, v, decay, beta, state, reset, mask, period);
  Tensor y = at::empty_like(call.v), last = at::empty(call.state.sizes(), call.state.options());
  Tensor kept = call.kept(period);
  inn::delta_forward(call.op, view(y), last.data_ptr<float>(), period ? kept.data_ptr<float>() : nullptr);
  return {y, last, kept};
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> delta_backward(
    const Tensor& gy, const optional<Tensor>& glast, const Tensor& q, const Tensor& k, const Tensor& v,
    const Tensor& decay, const optional<Tensor>& beta, const Tensor& state, const optional<Tensor>& reset,
    const optional<Tensor>& mask, const Tensor& kept, int64_t period) {
  const DeltaCall call(q, k, v, decay, beta, state, reset, mask, period);
  TORCH_CHECK(period > 0, "the delta rule was run without keeping what its gradient needs (period 0)");
  expect(kept, call.kept(period).sizes(), "kept");
  expect(gy, call.v.sizes(), "gy");
  const Tensor g = rows(gy), last = glast ? floats(*glast) : Tensor();
  if (glast) expect(last, call.state.sizes(), "glast");
  Tensor gq = at::empty_like(call.q), gk = at::empty_like(call.k), gv = at::empty_like(call.v);
  Tensor gdecay = at::empty_like(call.decay), gstate = at::empty_like(call.state);
  Tensor gbeta = beta ? at::empty_like(call.beta) : at::empty({0}, call.v.options());
  inn::delta_backward(call.op, view(g), glast ? last.data_ptr<float>() : nullptr, kept.data_ptr<float>(),
                      {view(gq), view(gk), view(gv), view(gdecay), beta ? view(gbeta) : inn::View{},
                       gstate.data_ptr<float>()});
  return {gq, gk, gv, gdecay, gbeta, like(gstate, state)};
}

// The number in a tensor: as a tensor it can be drawn inside a compiled graph.
uint64_t key(const optional<Tensor>& seed) {
  TORCH_CHECK(seed && seed->numel() == 1 && seed->scalar_type() == at::kLong, "dropout takes a seed, one int64 number");
  return static_cast<uint64_t>(*seed->data_ptr<int64_t>());
}

struct AttentionCall {
  Tensor q, k, v, edges;
  inn::Attention op;

  AttentionCall(const Tensor& q_, const Tensor& k_, const Tensor& v_, int64_t heads, const optional<Tensor>& edges_,
                double dropout, const optional<Tensor>& seed)
      : q(rows(q_)), k(rows(k_)), v(rows(v_)) {
    TORCH_CHECK(q.dim() == 4 && q.numel() && heads > 0 && q.size(3) % heads == 0,
                "the attention takes q [B, T, N, H x d]");
    TORCH_CHECK(dropout >= 0 && dropout < 1, "dropout should be in [0, 1), not ", dropout);
    const int64_t N = q.size(2);
    expect(k, q.sizes(), "k");
    expect(v, q.sizes(), "v");
    if (edges_) {
      expect(*edges_, {N, N}, "edges");
      TORCH_CHECK(edges_->scalar_type() == at::kBool, "edges should be bool");
      edges = edges_->contiguous();
    }
    op = {q.size(0), q.size(1), N, heads, q.size(3) / heads, view(q), view(k), view(v),
          edges_ ? edges.data_ptr<bool>() : nullptr, dropout, dropout > 0 ? key(seed) : 0, at::get_num_threads()};
  }
};

std::tuple<Tensor, Tensor> attention_forward(const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads,
                                             const optional<Tensor>& edges, double dropout,
                                             const optional<Tensor>& seed, bool want_weights) {
  const AttentionCall call(q, k, v, heads, edges, dropout, seed);
  const auto [B, T, N, H] = std::tuple{call.op.B, call.op.T, call.op.N, call.op.H};
  Tensor out = at::empty_like(call.q);
  Tensor weights = at::empty({want_weights ? B : 0, T, H, N, N}, q.options().dtype(at::kFloat));
  inn::attention_forward(call.op, view(out), want_weights ? weights.data_ptr<float>() : nullptr);
  return {out, weights};
}

std::tuple<Tensor, Tensor, Tensor> attention_backward(const Tensor& gout, const Tensor& q, const Tensor& k,
                                                      const Tensor& v, int64_t heads, const optional<Tensor>& edges,
                                                      double dropout, const optional<Tensor>& seed) {
  const AttentionCall call(q, k, v, heads, edges, dropout, seed);
  expect(gout, call.q.sizes(), "gout");
  const Tensor g = rows(gout);
  Tensor gq = at::empty_like(call.q), gk = at::empty_like(call.k), gv = at::empty_like(call.v);
  inn::attention_backward(call.op, view(g), view(gq), view(gk), view(gv));
  return {gq, gk, gv};
}

// Linear maps: x [B, T, N, I] as matrices of rows, one for each neuron where each has its own weights.
struct LinearCall {
  inn::Linear op;
  bool separate;

  LinearCall(const Tensor& x, int64_t I, int64_t O, int64_t P, at::IntArrayRef sizes) : separate(P > 1) {
    TORCH_CHECK(x.dim() == 4, "the maps take tensors [B, T, N, I], not ", x.sizes());
    TORCH_CHECK(P == 1 || P == x.size(2), "weight should be for 1 or ", x.size(2), " neurons, not for ", P);
    op = {P, x.size(0) * x.size(1) * (separate ? 1 : x.size(2)), I, O, sizes.vec(), at::get_num_threads()};
    int64_t sum = 0;
    for (const int64_t size : sizes) sum += size;
    TORCH_CHECK(sum == O, "the sizes of the results should sum up to ", O, ", not ", sum);
  }

  // `keep` holds a copy where the rows do not lie at equal distances.
  inn::Rows rows(const Tensor& t, Tensor& keep) const {
    TORCH_CHECK(t.device().is_cpu() && t.dim() == 4 && t.numel() && t.scalar_type() == at::kFloat,
                "the kernel takes float32 CPU tensors [B, T, N, I], and none that is empty");
    keep = t;
    if (t.size(3) > 1 && t.stride(3) != 1) keep = t.contiguous();
    optional<int64_t> row;
    int64_t next = 0;  // the stride that the next axis should have
    for (int64_t d = separate ? 1 : 2; d >= 0; d--) {
      if (keep.size(d) == 1) continue;
      if (!row) {
        row = keep.stride(d);
      } else if (keep.stride(d) != next) {
        return rows(empty(t, t.size(3)).copy_(t), keep);
      }
      next = keep.stride(d) * keep.size(d);
    }
    return {keep.data_ptr<float>(), row.value_or(0), keep.stride(2)};
  }
  std::vector<inn::Rows> rows(at::TensorList all, std::vector<Tensor>& keep) const {
    std::vector<inn::Rows> made;
    keep.resize(all.size());
    for (size_t j = 0; j < all.size(); j++) made.push_back(rows(all[j], keep[j]));
    return made;
  }

  // What a map gives: neuron by neuron where each has its own weights, so that the next map reads dense rows.
  Tensor empty(const Tensor& x, int64_t width) const {
    const auto options = x.options();
    if (separate) return at::empty({x.size(2), x.size(0), x.size(1), width}, options).permute({1, 2, 0, 3});
    return at::empty({x.size(0), x.size(1), x.size(2), width}, options);
  }
};

std::vector<int64_t> widths(at::TensorList all) {
  std::vector<int64_t> sizes;
  for (const Tensor& t : all) sizes.push_back(t.size(-1));
  return sizes;
}

std::vector<Tensor> linear_forward(const Tensor& x, const Tensor& weight, const optional<Tensor>& bias,
                                   at::IntArrayRef sizes) {
  TORCH_CHECK(weight.dim() == 3, "weight should be [P, O, I], not ", weight.sizes());
  const LinearCall call(x, weight.size(2), weight.size(1), weight.size(0), sizes);
  expect(x, {x.size(0), x.size(1), x.size(2), weight.size(2)}, "x");
  const Tensor w = floats(weight), b = bias ? floats(*bias) : Tensor();
  if (bias) expect(b, {weight.size(0), weight.size(1)}, "bias");
  std::vector<Tensor> y, same;
  for (const int64_t size : sizes) y.push_back(call.empty(x, size));
  Tensor keep;
  inn::linear_forward(call.op, call.rows(x, keep), w.data_ptr<float>(), bias ? b.data_ptr<float>() : nullptr,
                      call.rows(y, same));
  return y;
}

Tensor linear_input_gradient(at::TensorList gy, const Tensor& weight) {
  TORCH_CHECK(weight.dim() == 3, "weight should be [P, O, I], not ", weight.sizes());
  const LinearCall call(gy[0], weight.size(2), weight.size(1), weight.size(0), widths(gy));
  const Tensor w = floats(weight);
  Tensor gx = call.empty(gy[0], weight.size(2)), same;
  std::vector<Tensor> keep;
  inn::linear_input_gradient(call.op, call.rows(gy, keep), w.data_ptr<float>(), call.rows(gx, same));
  return gx;
}

std::tuple<Tensor, Tensor> linear_weight_gradient(at::TensorList gy, const Tensor& x, int64_t sets, bool bias) {
  int64_t O = 0;
  for (const int64_t size : widths(gy)) O += size;
  const LinearCall call(x, x.size(3), O, sets, widths(gy));
  Tensor keep_x, gw = at::empty({sets, O, x.size(3)}, x.options());
  Tensor gb = at::empty({bias ? sets : 0, O}, x.options());
  std::vector<Tensor> keep;
  inn::linear_weight_gradient(call.op, call.rows(gy, keep), call.rows(x, keep_x), gw.data_ptr<float>(),
                              bias ? gb.data_ptr<float>() : nullptr);
  return {gw, gb};
}

struct NormCall {
  Tensor x, weight, bias;
  inn::Norm op;

  NormCall(const Tensor& x_, const Tensor& weight_, const Tensor& bias_, double epsilon)
      : x(rows(x_)), weight(floats(weight_)), bias(floats(bias_)) {
    TORCH_CHECK(x.dim() == 4 && x.numel() && weight.dim() == 2, "the norm takes x [B, T, N, D] and weight [P, D]");
    const int64_t N = x.size(2), D = x.size(3), P = weight.size(0);
    TORCH_CHECK(P == 1 || P == N, "weight should be for 1 or ", N, " neurons, not for ", P);
    expect(weight, {P, D}, "weight");
    expect(bias, {P, D}, "bias");
    op = {x.size(0), x.size(1), N, D, P, view(x), weight.data_ptr<float>(), bias.data_ptr<float>(),
          static_cast<float>(epsilon), at::get_num_threads()};
  }
};

Tensor norm_forward(const Tensor& x, const Tensor& weight, const Tensor& bias, double epsilon) {
  const NormCall call(x, weight, bias, epsilon);
  Tensor y = at::empty_like(call.x);
  inn::norm_forward(call.op, view(y));
  return y;
}

std::tuple<Tensor, Tensor, Tensor> norm_backward(const Tensor& gy, const Tensor& x, const Tensor& weight,
                                                 const Tensor& bias, double epsilon) {
  const NormCall call(x, weight, bias, epsilon);
  expect(gy, call.x.sizes(), "gy");
  const Tensor g = rows(gy);
  Tensor gx = at::empty_like(call.x), gw = at::empty_like(call.weight), gb = at::empty_like(call.bias);
  inn::norm_backward(call.op, view(g), view(gx), gw.data_ptr<float>(), gb.data_ptr<float>());
  return {gx, like(gw, weight), like(gb, bias)};
}

Tensor memory_step(const Tensor& x, const optional<Tensor>& in, const Tensor& conv_weight, const Tensor& conv_bias,
                   const Tensor& to_scan, const Tensor& to_dt, const Tensor& dt_bias, const Tensor& A_log,
                   const Tensor& skip, const Tensor& out, Tensor& conv, Tensor& ssm) {
  if (!conv.is_contiguous() || !ssm.is_contiguous()) {  // through dense copies
    Tensor dense_conv = conv.contiguous(), dense_ssm = ssm.contiguous();
    Tensor y = memory_step(x, in, conv_weight, conv_bias, to_scan, to_dt, dt_bias, A_log, skip, out, dense_conv, dense_ssm);
    conv.copy_(dense_conv);
    ssm.copy_(dense_ssm);
    return y;
  }
  TORCH_CHECK(x.dim() == 4 && x.size(1) == 1 && out.dim() == 3 && A_log.dim() == 3 && to_dt.dim() == 3,
              "the step takes x [B, 1, N, D]");
  const int64_t B = x.size(0), N = x.size(2), D = out.size(1), P = out.size(0), E = A_log.size(1), S = A_log.size(2);
  const int64_t K = conv_weight.size(2), R = to_dt.size(2);
  expect(x, {B, 1, N, in ? D : 2 * E}, "x");
  const Tensor into = in.value_or(conv_bias);  // where there is none: any tensor that passes the checks
  if (in) expect(into, {P, 2 * E, D}, "in");
  expect(conv_weight, {P, E, K}, "conv_weight");
  expect(conv_bias, {P, E}, "conv_bias");
  expect(to_scan, {P, R + 2 * S, E}, "to_scan");
  expect(to_dt, {P, E, R}, "to_dt");
  expect(dt_bias, {P, E}, "dt_bias");
  expect(A_log, {P, E, S}, "A_log");
  expect(skip, {P, E}, "skip");
  expect(out, {P, D, E}, "out");
  expect(conv, {B, N, K - 1, E}, "conv");
  expect(ssm, {B, N, E, S}, "ssm");
  for (const Tensor& t : {into, conv_weight, conv_bias, to_scan, to_dt, dt_bias, A_log, skip, out, conv, ssm})
    TORCH_CHECK(t.scalar_type() == at::kFloat && t.is_contiguous(), "the step takes dense float32 weights");
  const LinearCall call(x, D, D, P, {D});
  const auto data = [](const Tensor& t) { return t.data_ptr<float>(); };
  const inn::Step op{B, N, D, E, S, K, R, P, in ? data(into) : nullptr, data(conv_weight), data(conv_bias), data(to_scan), data(to_dt),
                     data(dt_bias), data(A_log), data(skip), data(out), data(conv), data(ssm), at::get_num_threads()};
  Tensor keep, same, y = call.empty(x, D);
  inn::memory_step(op, call.rows(x, keep), call.rows(y, same));
  return y;
}

Tensor recall(const Tensor& tokens, Tensor& table, Tensor& recent, at::IntArrayRef orders, const optional<Tensor>& reset,
              const optional<Tensor>& mask, bool learn, int64_t /*width: for FLOP counters*/) {
  TORCH_CHECK(tokens.dim() == 2 && table.dim() == 3 && recent.dim() == 2, "recall takes tokens [B, T]");
  const int64_t B = tokens.size(0), T = tokens.size(1), K = static_cast<int64_t>(orders.size()), L = recent.size(1);
  expect(table, {B, K, table.size(2)}, "table");
  expect(recent, {B, L}, "recent");
  TORCH_CHECK(table.is_contiguous() && table.scalar_type() == at::kInt && table.size(2), "table should be dense int32");
  TORCH_CHECK(recent.is_contiguous() && recent.scalar_type() == at::kLong, "recent should be dense int64");
  TORCH_CHECK(tokens.scalar_type() == at::kLong, "tokens should be int64");
  for (const int64_t k : orders) TORCH_CHECK(k >= 1 && k <= L, "orders should be 1 to ", L, ", not ", k);
  const Tensor read = tokens.contiguous();
  Tensor keep_reset, keep_mask, found = at::empty({B, T, K}, read.options());
  const inn::Recall op{B, T, K, L, table.size(2), orders.data(), read.data_ptr<int64_t>(), table.data_ptr<int32_t>(),
                       recent.data_ptr<int64_t>(), flags(reset, read, keep_reset, "reset"),
                       flags(mask, read, keep_mask, "mask"), learn, at::get_num_threads()};
  inn::recall(op, found.data_ptr<int64_t>());
  return found;
}

// PyTorch's allocator of CPU memory, with large buffers from the arena.
class Allocator final : public c10::Allocator {
 public:
  explicit Allocator(c10::Allocator* small) : small_(small) {}

  c10::DataPtr allocate(size_t size) override {
    void* p = size < inn::arena::LARGE ? nullptr : inn::arena::take(size);
    if (!p) return small_->allocate(size);
    c10::profiledCPUMemoryReporter().New(p, size);
    return {p, p, &give, c10::Device(c10::DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t count) const override { default_copy_data(to, from, count); }

 private:
  static void give(void* p) {
    c10::profiledCPUMemoryReporter().Delete(p);
    inn::arena::give(p);
  }
  // For the few who ask for memory without its deleter.
  static void release(void* p) {
    if (p && !inn::arena::give(p)) c10::GetDefaultCPUAllocator()->raw_deleter()(p);
  }

  c10::Allocator* small_;
};

// Has freed memory kept for the next buffer; false if the user has chosen how memory is to be handled.
bool keep_memory() {
  for (const char* name : {"LD_PRELOAD", "GLIBC_TUNABLES", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_",
                           "MALLOC_MMAP_MAX_", "MALLOC_TOP_PAD_"})
    if (std::getenv(name)) return false;
  static auto* allocator = new Allocator(c10::GetDefaultCPUAllocator());
  c10::SetCPUAllocator(allocator, /*priority=*/1);
  return true;
}

std::tuple<int64_t, int64_t, int64_t> memory_held() {
  const inn::arena::Held held = inn::arena::held();
  return {held.live, held.kept, held.peak};
}

}  // namespace

TORCH_LIBRARY(inn, m) {
  m.def("keep_memory() -> bool", keep_memory);
  m.def("memory_held() -> (int live, int kept, int peak)", memory_held);
  m.def(
      "selective_scan_fwd(Tensor x, Tensor dt, Tensor A, Tensor B, Tensor C, Tensor D, Tensor z, Tensor state, "
      "Tensor? reset, Tensor? mask, int period) -> (Tensor, Tensor, Tensor)");
  m.def(
      "selective_scan_bwd(Tensor gy, Tensor? glast, Tensor x, Tensor dt, Tensor A, Tensor B, Tensor C, Tensor D, "
      "Tensor z, Tensor state, Tensor? reset, Tensor? mask, Tensor kept, int period) -> "
      "(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)");
  m.def(
      "delta_scan_fwd(Tensor q, Tensor k, Tensor v, Tensor decay, Tensor? beta, Tensor state, Tensor? reset, "
      "Tensor? mask, int period) -> (Tensor, Tensor, Tensor)");
  m.def(
      "delta_scan_bwd(Tensor gy, Tensor? glast, Tensor q, Tensor k, Tensor v, Tensor decay, Tensor? beta, Tensor state, "
      "Tensor? reset, Tensor? mask, Tensor kept, int period) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)");
  m.def(
      "causal_conv_fwd(Tensor x, Tensor weight, Tensor bias, Tensor state, Tensor? reset, Tensor? mask) -> "
      "(Tensor, Tensor)");
  m.def(
      "causal_conv_bwd(Tensor gy, Tensor? glast, Tensor x, Tensor weight, Tensor bias, Tensor state, Tensor? reset, "
      "Tensor? mask) -> (Tensor, Tensor, Tensor, Tensor)");
  m.def(
      "neuron_attention_fwd(Tensor q, Tensor k, Tensor v, int heads, Tensor? edges, float dropout, Tensor? seed, "
      "bool want_weights) -> (Tensor, Tensor)");
  m.def(
      "neuron_attention_bwd(Tensor gout, Tensor q, Tensor k, Tensor v, int heads, Tensor? edges, float dropout, Tensor? seed)"
      " -> (Tensor, Tensor, Tensor)");
  m.def("neuron_norm_fwd(Tensor x, Tensor weight, Tensor bias, float epsilon) -> Tensor");
  m.def(
      "neuron_norm_bwd(Tensor gy, Tensor x, Tensor weight, Tensor bias, float epsilon) -> (Tensor, Tensor, Tensor)");
  m.def(
      "memory_step(Tensor x, Tensor? into, Tensor conv_weight, Tensor conv_bias, Tensor to_scan, Tensor to_dt, "
      "Tensor dt_bias, Tensor A_log, Tensor skip, Tensor out, Tensor(a!) conv, Tensor(b!) ssm) -> Tensor");
  m.def(
      "recall(Tensor tokens, Tensor(a!) table, Tensor(b!) recent, int[] orders, Tensor? reset, Tensor? mask, "
      "bool learn, int width=0) -> Tensor");
  m.def("neuron_linear_fwd(Tensor x, Tensor weight, Tensor? bias, int[] sizes) -> Tensor[]");
  m.def("neuron_linear_input_bwd(Tensor[] gy, Tensor weight) -> Tensor");
  m.def("neuron_linear_weight_bwd(Tensor[] gy, Tensor x, int sets, bool bias) -> (Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(inn, CPU, m) {
  m.impl("selective_scan_fwd", scan_forward);
  m.impl("selective_scan_bwd", scan_backward);
  m.impl("delta_scan_fwd", delta_forward);
  m.impl("delta_scan_bwd", delta_backward);
  m.impl("causal_conv_fwd", conv_forward);
  m.impl("causal_conv_bwd", conv_backward);
  m.impl("neuron_attention_fwd", attention_forward);
  m.impl("neuron_attention_bwd", attention_backward);
  m.impl("neuron_norm_fwd", norm_forward);
  m.impl("neuron_norm_bwd", norm_backward);
  m.impl("memory_step", memory_step);
  m.impl("recall", recall);
  m.impl("neuron_linear_fwd", linear_forward);
  m.impl("neuron_linear_input_bwd", linear_input_gradient);
  m.impl("neuron_linear_weight_bwd", linear_weight_gradient);
}
