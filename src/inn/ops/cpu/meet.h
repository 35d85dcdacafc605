// Attention among the neurons that meet at a step, of a list of steps (see inn/ops/packed/reference.py).
#pragma once

#include "common.h"

namespace inn {

struct Meet {
  int64_t M, H, d;       // meetings, heads, width of a head
  View q, k, v;          // [R, H x d]
  const int64_t* order;  // [R], the rows, meeting by meeting
  const int64_t* first;  // [M + 1], where each meeting begins in it
  int64_t most;          // rows of the largest meeting
  int threads;
};

void meet_forward(const Meet& op, const View& out);
void meet_backward(const Meet& op, const View& gout, const View& gq, const View& gk, const View& gv);

}  // namespace inn
