#include "arena.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <unordered_map>

namespace inn::arena {
namespace {

constexpr size_t HUGE_PAGE = 2 << 20, SLACK = 1 << 30;
constexpr size_t PLACES = 16, APART = 256;  // where in its first bytes a block may start

struct Block {
  char* base;      // what was mapped
  size_t size;     // the size of its kind, without the room for `offset`
  size_t offset;   // where the user's bytes start
  uint64_t since;  // when it became free
};

struct State {
  std::mutex lock;
  std::unordered_map<void*, Block> live;
  std::map<size_t, std::deque<Block>> free;  // by size, the longest free first
  Held held{};
  uint64_t clock = 0, made = 0;
};

// Never destroyed: tensors may outlive everything else at the end of a process.
State& state() {
  static State* it = [] {
    auto* made = new State;
    // A forked child must not find the lock taken by a thread that it does not have.
    pthread_atfork([] { state().lock.lock(); }, [] { state().lock.unlock(); }, [] { state().lock.unlock(); });
    return made;
  }();
  return *it;
}

// Sizes come in kinds, eight from one power of two to the next: at most an eighth is wasted.
size_t kind(size_t size) {
  size_t power = LARGE;
  while (power * 2 <= size) power *= 2;
  const size_t step = power / 8;
  return (size + step - 1) / step * step;
}

size_t mapped(size_t size) {
  static const size_t page = sysconf(_SC_PAGESIZE);
  return (size + PLACES * APART + page - 1) / page * page;
}

void release(State& s, std::map<size_t, std::deque<Block>>::iterator at) {
  const Block block = at->second.front();
  at->second.pop_front();
  if (at->second.empty()) s.free.erase(at);
  munmap(block.base, mapped(block.size));
  s.held.kept -= block.size;
}

// What may be in use and kept together, given the most that was ever in use: twice that, or a quarter more when that is
// much. Without slack, buffers of different sizes in turn would each be unmapped for the other.
size_t bound(size_t peak) { return peak + std::max(peak / 4, std::min(peak, SLACK)); }

// Unmaps what has been free for longest until at most `limit` bytes are kept.
void shrink(State& s, size_t limit) {
  while (s.held.kept > limit) {
    auto oldest = s.free.begin();
    for (auto at = s.free.begin(); at != s.free.end(); ++at)
      if (at->second.front().since < oldest->second.front().since) oldest = at;
    release(s, oldest);
  }
}

char* map(size_t size) {
  const size_t extra = size >= 2 * HUGE_PAGE ? HUGE_PAGE : 0;  // room to start on a huge page
  void* p = mmap(nullptr, mapped(size) + extra, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return nullptr;
  char* base = static_cast<char*>(p);
  if (extra) {
    char* start = base + (HUGE_PAGE - reinterpret_cast<uintptr_t>(base) % HUGE_PAGE) % HUGE_PAGE;
    if (start > base) munmap(base, start - base);
    char* end = start + mapped(size);
    if (end < base + mapped(size) + extra) munmap(end, base + mapped(size) + extra - end);
    base = start;
#ifdef MADV_HUGEPAGE
    madvise(base, mapped(size), MADV_HUGEPAGE);
#endif
  }
  return base;
}

}  // namespace

void* take(size_t wanted) {
  const size_t size = kind(wanted);
  State& s = state();
  const std::lock_guard<std::mutex> guard(s.lock);
  Block block;
  auto found = s.free.lower_bound(size);
  if (found != s.free.end() && found->first <= size + size / 4) {
    block = found->second.back();  // the one freed last is the likeliest to be in a cache
    found->second.pop_back();
    if (found->second.empty()) s.free.erase(found);
    s.held.kept -= block.size;
  } else {
    const size_t used = s.held.live + size;
    shrink(s, bound(std::max(s.held.peak, used)) - used);
    char* base = map(size);
    if (!base) {
      shrink(s, 0);
      base = map(size);
    }
    if (!base) return nullptr;
    // Not all on a page's start: the same element of several tensors would compete for one place in the cache.
    block = {base, size, s.made++ % PLACES * APART, 0};
  }
  s.held.live += block.size;
  s.held.peak = std::max(s.held.peak, s.held.live);
  s.live.emplace(block.base + block.offset, block);
  return block.base + block.offset;
}

bool give(void* pointer) {
  State& s = state();
  const std::lock_guard<std::mutex> guard(s.lock);
  const auto found = s.live.find(pointer);
  if (found == s.live.end()) return false;
  Block block = found->second;
  s.live.erase(found);
  s.held.live -= block.size;
  s.held.kept += block.size;
  block.since = s.clock++;
  s.free[block.size].push_back(block);
  return true;
}

Held held() {
  State& s = state();
  const std::lock_guard<std::mutex> guard(s.lock);
  return s.held;
}

}  // namespace inn::arena
