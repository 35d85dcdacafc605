// Linear maps of a population (see inn/ops/linear/reference.py) and their gradients, in float32.
#pragma once

#include <vector>

#include "common.h"

namespace inn {

// `groups` matrices of `rows` rows: one for each neuron, or a single one where all neurons share their weights.
struct Rows {
  float* data;
  int64_t row, group;  // strides in floats; the last axis is dense

  float* at(int64_t g, int64_t r) const { return data + g * group + r * row; }
};

// W [groups, O, I] makes several results of one x: y_j are the next sizes[j] of the O numbers, each a tensor of its own.
struct Linear {
  int64_t groups, rows, I, O;
  std::vector<int64_t> sizes;
  int threads;
};

// y = x W^T + b, where b is [groups, O] or null.
void linear_forward(const Linear& op, const Rows& x, const float* weight, const float* bias, const std::vector<Rows>& y);
// gx = gy W
void linear_input_gradient(const Linear& op, const std::vector<Rows>& gy, const float* weight, const Rows& gx);
// gW = sum over rows of gy^T x, [groups, O, I]; gb = sum over rows of gy, [groups, O], or null.
void linear_weight_gradient(const Linear& op, const std::vector<Rows>& gy, const Rows& x, float* gweight, float* gbias);

}  // namespace inn
