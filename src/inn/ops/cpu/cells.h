// What each cell computes of one vector of units, and its gradient.
//
// A cell has STATES; SLOTS, numbers of a unit that are kept of a step: first what the PRODUCTS give, and what goes in
// (`in`, INPUTS slots), and in their place what the backward pass wants; GRADIENTS, slots whose gradient is needed, the
// first PRODUCTS of them for the weights; PARAMETERS of a unit; OUT, the slot that is put out, or -1 for the first state.
// `forward(g, s, n, u)` has the slots `g`, the states before `s` and after `n`. `backward(g, s, gy, c, d, u)` turns `c`,
// the gradient of the states after, into that of the states before (without what goes through the products), and sets
// `d`, the gradient of the slots.
#pragma once

#include "simd.h"

namespace inn {
namespace {

// Beside its slots: parameters and their gradients, and `liquid`'s time.
struct Unit {
  Vec p[3], g[3];
  float dt;
  Vec gdt;
};

inline Vec slope(Vec s) { return s * (1.0f - s); }  // of a sigmoid
inline Vec bend(Vec t) { return 1.0f - t * t; }     // of a tanh

struct Elman {
  static constexpr int STATES = 1, PRODUCTS = 1, INPUTS = 1, SLOTS = 1, GRADIENTS = 1, PARAMETERS = 0, OUT = -1;
  static constexpr int in[] = {0};
  static void forward(Vec* g, const Vec*, Vec* n, const Unit&) { g[0] = n[0] = tanh(g[0]); }
  static void backward(const Vec* g, const Vec*, Vec gy, Vec* c, Vec* d, Unit&) {
    d[0] = (c[0] + gy) * bend(g[0]);
    c[0] = Vec{};
  }
};

struct Gru {  // slots: r, z, what the new gate hears with its bias, n
  static constexpr int STATES = 1, PRODUCTS = 3, INPUTS = 3, SLOTS = 4, GRADIENTS = 4, PARAMETERS = 1, OUT = -1;
  static constexpr int in[] = {0, 1, 3};
  static void forward(Vec* g, const Vec* s, Vec* n, const Unit& u) {
    g[0] = sigmoid(g[0]);
    g[1] = sigmoid(g[1]);
    g[2] = g[2] + u.p[0];
    g[3] = tanh(g[3] + g[0] * g[2]);
    n[0] = g[3] + g[1] * (s[0] - g[3]);
  }
  static void backward(const Vec* g, const Vec* s, Vec gy, Vec* c, Vec* d, Unit& u) {
    const Vec gh = c[0] + gy;
    d[3] = gh * (1.0f - g[1]) * bend(g[3]);
    d[2] = d[3] * g[0];
    d[1] = gh * (s[0] - g[3]) * slope(g[1]);
    d[0] = d[3] * g[2] * slope(g[0]);
    c[0] = gh * g[1];
    u.g[0] += d[2];
  }
};

struct Lstm {  // slots: i, f, g, o
  static constexpr int STATES = 2, PRODUCTS = 4, INPUTS = 4, SLOTS = 4, GRADIENTS = 4, PARAMETERS = 0, OUT = -1;
  static constexpr int in[] = {0, 1, 2, 3};
  static void forward(Vec* g, const Vec* s, Vec* n, const Unit&) {
    g[0] = sigmoid(g[0]);
    g[1] = sigmoid(g[1]);
    g[2] = tanh(g[2]);
    g[3] = sigmoid(g[3]);
    n[1] = g[1] * s[1] + g[0] * g[2];
    n[0] = g[3] * tanh(n[1]);
  }
  static void backward(const Vec* g, const Vec* s, Vec gy, Vec* c, Vec* d, Unit&) {
    const Vec gh = c[0] + gy, t = tanh(g[1] * s[1] + g[0] * g[2]);
    const Vec gc = c[1] + gh * g[3] * bend(t);
    d[0] = gc * g[2] * slope(g[0]);
    d[1] = gc * s[1] * slope(g[1]);
    d[2] = gc * g[0] * bend(g[2]);
    d[3] = gh * t * slope(g[3]);
    c[0] = Vec{};
    c[1] = gc * g[1];
  }
};

struct Slstm {  // slots: i and f before their gates, tanh z, o; states h, c, n, m
  static constexpr int STATES = 4, PRODUCTS = 4, INPUTS = 4, SLOTS = 4, GRADIENTS = 4, PARAMETERS = 0, OUT = -1;
  static constexpr int in[] = {0, 1, 2, 3};
  // log σ(f) + m, and the slope of the first; before there is something to keep, less than comes in
  static Vec kept(const Vec* g, const Vec* s, Vec& slope) {
    const Vec keep = s[3] - softplus(-g[1], slope);
    return s[2] > 0.0f ? keep : g[0] - 1.0f;
  }
  static void forward(Vec* g, const Vec* s, Vec* n, const Unit&) {
    Vec unused;
    const Vec keep = kept(g, s, unused);
    n[3] = keep > g[0] ? keep : g[0];
    const Vec old = exp(keep - n[3]), fresh = exp(g[0] - n[3]);
    g[2] = tanh(g[2]);
    g[3] = sigmoid(g[3]);
    n[1] = old * s[1] + fresh * g[2];
    n[2] = old * s[2] + fresh;
    n[0] = g[3] * n[1] / n[2];
  }
  static void backward(const Vec* g, const Vec* s, Vec gy, Vec* c, Vec* d, Unit&) {
    Vec slope_f;
    const Vec keep = kept(g, s, slope_f), top = keep > g[0] ? keep : g[0];
    const Vec old = exp(keep - top), fresh = exp(g[0] - top);
    const Vec cell = old * s[1] + fresh * g[2], norm = 1.0f / (old * s[2] + fresh), gh = c[0] + gy;
    const Vec ratio = cell * norm, gr = gh * g[3] * norm, gc = c[1] + gr, gn = c[2] - gr * ratio;
    Vec g_keep = (gc * s[1] + gn * s[2]) * old, g_in = (gc * g[2] + gn) * fresh;
    const Vec g_top = c[3] - g_keep - g_in;
    // as PyTorch has it, a tie is shared
    const Vec part = keep > g[0] ? all(1.0f) : keep == g[0] ? all(0.5f) : Vec{};
    g_keep += part * g_top;
    g_in += (1.0f - part) * g_top;
    d[0] = g_in;
    d[1] = g_keep * slope_f;
    d[2] = gc * fresh * bend(g[2]);
    d[3] = gh * ratio * slope(g[3]);
    c[0] = Vec{};
    c[1] = gc * old;
    c[2] = gn * old;
    c[3] = g_keep;
  }
};

struct Liquid {  // slots: tanh f, tanh g, a, s
  static constexpr int STATES = 1, PRODUCTS = 4, INPUTS = 4, SLOTS = 4, GRADIENTS = 4, PARAMETERS = 0, OUT = -1;
  static constexpr int in[] = {0, 1, 2, 3};
  static void forward(Vec* g, const Vec*, Vec* n, const Unit& u) {
    g[0] = tanh(g[0]);
    g[1] = tanh(g[1]);
    g[3] = sigmoid(g[2] * u.dt + g[3]);
    n[0] = g[0] + g[3] * (g[1] - g[0]);
  }
  static void backward(const Vec* g, const Vec*, Vec gy, Vec* c, Vec* d, Unit& u) {
    const Vec gh = c[0] + gy;
    d[0] = gh * (1.0f - g[3]) * bend(g[0]);
    d[1] = gh * g[3] * bend(g[1]);
    d[3] = gh * (g[1] - g[0]) * slope(g[3]);
    d[2] = d[3] * u.dt;
    c[0] = Vec{};
    u.gdt += d[3] * g[2];
  }
};

struct Rhn {  // one layer; slots: tanh c, k
  static constexpr int STATES = 1, PRODUCTS = 2, INPUTS = 2, SLOTS = 2, GRADIENTS = 2, PARAMETERS = 2, OUT = -1;
  static constexpr int in[] = {0, 1};
  static void forward(Vec* g, const Vec* s, Vec* n, const Unit& u) {
    g[0] = tanh(g[0] + u.p[0]);
    g[1] = sigmoid(g[1] + u.p[1] - 1.0f);
    n[0] = s[0] + g[1] * (g[0] - s[0]);
  }
  static void backward(const Vec* g, const Vec* s, Vec gy, Vec* c, Vec* d, Unit& u) {
    const Vec gh = c[0] + gy;
    d[0] = gh * g[1] * bend(g[0]);
    d[1] = gh * (g[0] - s[0]) * slope(g[1]);
    c[0] = gh * (1.0f - g[1]);
    u.g[0] += d[0];
    u.g[1] += d[1];
  }
};

template <bool SOFT>
struct Spiking {  // slots: x, v before it spikes, the spike; parameters: leak, threshold
  static constexpr int STATES = 1, PRODUCTS = 0, INPUTS = 1, SLOTS = 3, GRADIENTS = 1, PARAMETERS = 2, OUT = 2;
  static constexpr int in[] = {0};
  static void forward(Vec* g, const Vec* s, Vec* n, const Unit& u) {
    g[1] = s[0] + u.p[0] * (g[0] - s[0]);
    g[2] = g[1] >= u.p[1] ? all(1.0f) : Vec{};
    n[0] = SOFT ? g[1] - u.p[1] * g[2] : g[1] * (1.0f - g[2]);
  }
  static void backward(const Vec* g, const Vec* s, Vec gy, Vec* c, Vec* d, Unit& u) {
    const Vec far = 3.14159265358979f * (g[1] - u.p[1]);
    const Vec gs = (SOFT ? gy - u.p[1] * c[0] : gy) / (1.0f + far * far);
    const Vec gv = (SOFT ? c[0] : c[0] * (1.0f - g[2])) + gs;
    d[0] = gv * u.p[0];
    u.g[0] += gv * (g[0] - s[0]);
    u.g[1] -= SOFT ? gs + c[0] * g[2] : gs;
    c[0] = gv - d[0];
  }
};

}  // namespace
}  // namespace inn
