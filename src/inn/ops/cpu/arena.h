// Keeps freed memory for the next buffer of its size, so that a step does not pay for its pages again.
//
// Why: glibc maps buffers above 32 MB afresh each time, and the kernel clears their pages: as much time as the scan
// itself. Below that, aligned blocks (all of PyTorch's) seldom fit into the holes they leave behind, so that the heap
// grows: 16 MB at each of many identical steps was seen. Raising glibc's thresholds repairs the first and spreads the
// second.
#pragma once

#include <cstddef>

namespace inn::arena {

constexpr size_t LARGE = 256 << 10;  // bytes from which a buffer is kept; smaller ones are malloc's business

// At least `size` bytes, on a cache line's start, or null if the system has no more.
void* take(size_t size);

// Gives back what `take` returned; false if it was not from there.
bool give(void* pointer);

struct Held {
  size_t live, kept, peak;  // bytes in use, bytes kept free, and the most that was ever in use
};
Held held();

}  // namespace inn::arena
