// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Collectives between the threads of one process. Each rank publishes where its data is, all meet at a barrier, check
// that they called the same thing, and read each other's memory directly.
//
// - Small messages go through a staging buffer, so that one barrier is enough: two buffers alternate, and a rank can
//   only write the same one again after a barrier that the others reach when they have read it.
// - Large all-reduces: rank r sums slice r of all arrays and writes it into all arrays, between two barriers. That is
//   reduce-scatter and all-gather in one pass.
#include "../Quantize.h"
#include "Barrier.h"
#include "Exchange.h"
#include "Reduce.h"
#include "caat/runtime/Communicator.h"
#include "caat/runtime/Error.h"
#include <cstring>
#include <sched.h>

namespace caat::runtime {

namespace {

constexpr size_t stagingBytes = 16 << 10;
constexpr int longSpin = 4000, shortSpin = 50; // turns of about 20 ns
/// What a link must take for a sum to go on beside the work: waking a thread takes a part of it.
constexpr double besideSeconds = 100e-6;

int availableCores() {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

int chooseSpin(int size, int spin) { return spin >= 0 ? spin : size <= availableCores() ? longSpin : shortSpin; }

std::string describe(const CollectiveCall &call) {
  std::string text = std::string(nameOf(call.kind)) + " '" + call.name + "'";
  return call.index < 0 ? text : text + " (collective " + std::to_string(call.index) + ")";
}

bool sameCall(const CollectiveCall &a, const CollectiveCall &b) {
  return a.index == b.index && a.kind == b.kind && a.dtype == b.dtype && a.count == b.count && a.extra == b.extra;
}

/// memcpy that takes null pointers to nothing.
void copyBytes(void *to, const void *from, size_t bytes) {
  if (bytes)
    std::memcpy(to, from, bytes);
}

/// What a rank tells the others about its current call.
struct Posted {
  CollectiveCall call;
  const void *in = nullptr;
  void *out = nullptr;
};

/// Memory that grows as it is asked for.
class GrowingBuffer {
public:
  std::byte *reserve(size_t bytes) {
    if (bytes > size) {
      memory.reset(new std::byte[bytes]);
      size = bytes;
    }
    return memory.get();
  }

private:
  std::unique_ptr<std::byte[]> memory;
  size_t size = 0;
};

struct alignas(128) Slot {
  Posted posted[2];                            // by parity of the round
  std::unique_ptr<std::byte[]> staging[2];     // the same
  GrowingBuffer message, sum;                  // of quantised all-reduces
  std::atomic<const char *> lastCall{nullptr}; // for the text of a timeout
};

} // namespace

struct ThreadGroup::State {
  State(int size, CommunicatorOptions options)
      : size(size), timeout(options.timeout), link(options.link), beside(options.beside),
        barrier(size, chooseSpin(size, options.spin), options.timeout), slots(new Slot[static_cast<size_t>(size)]) {
    for (int rank = 0; rank < size; ++rank)
      for (auto &staging : slots[rank].staging)
        staging.reset(new std::byte[stagingBytes]);
    exchange = std::make_unique<Exchange>(size, link, [this] { return barrier.aborted(); });
  }
  int size;
  std::chrono::milliseconds timeout;
  Link link;
  CommunicatorOptions::Beside beside;
  Barrier barrier;
  std::unique_ptr<Slot[]> slots;
  std::unique_ptr<Exchange> exchange;
};

class ThreadGroup::Rank : public Communicator {
public:
  Rank(int rank, State &state) : Communicator(rank, state.size), state(state), mine(state.slots[rank]) {}

  void allReduce(const CollectiveCall &call, void *data) override {
    if (size() == 1 && !aborted())
      return checkSummable(call.dtype);
    size_t bytes = static_cast<size_t>(call.count) * sizeOf(call.dtype);
    std::vector<const void *> sources(static_cast<size_t>(size()));
    if (bytes <= stagingBytes) {
      int parity = stage(call, data, bytes);
      for (int r = 0; r < size(); ++r)
        sources[r] = state.slots[r].staging[parity].get();
      sumInOrder(call.dtype, sources, std::span(&data, 1), 0, call.count);
      pace(cost::allReduce(cost::AllReduce::Ring, size(), static_cast<double>(bytes)));
      return;
    }
    int parity = enter({call, data, data});
    std::vector<void *> destinations(sources.size());
    for (int r = 0; r < size(); ++r)
      sources[r] = destinations[r] = posted(r, parity).out;
    Slice slice = Slice::of(call.count, rank(), size());
    sumInOrder(call.dtype, sources, destinations, slice.begin, slice.end);
    pace(cost::allReduce(cost::AllReduce::Ring, size(), static_cast<double>(bytes)));
    leave(call);
  }

  void startAllReduce(const CollectiveCall &call, void *data) override {
    Started sum{call, data, {}};
    if (goesBeside(call)) {
      checkSummable(call.dtype);
      mine.lastCall.store(call.name, std::memory_order_relaxed);
      state.exchange->startAllReduce(rank(), call, data);
    } else {
      Interval &time = sum.time.emplace();
      time.begin = std::chrono::steady_clock::now();
      allReduce(call, data);
      time.end = std::chrono::steady_clock::now();
    }
    started.push_back(sum);
  }

  Stretch finishAllReduce(const CollectiveCall &call, void *data) override {
    if (started.empty() || !sameCall(started.front().call, call) || started.front().data != data)
      failRun(describe(call), " is waited for, but is not the oldest sum that was started");
    std::optional<Interval> time = started.front().time;
    started.pop_front();
    return time ? Stretch{{time->begin}, {time->end}} : finish(call, "sum different data");
  }

  void setAlwaysBeside(bool always) override { alwaysBeside = always; }

  void quantizedAllReduce(const CollectiveCall &call, const WireFormat &format, float *data, float *error,
                          int64_t rows) override {
    QuantizedRows layout(format, rows, size());
    size_t bytes = layout.messageBytes();
    std::vector<const std::byte *> messages(static_cast<size_t>(size()));
    if (bytes <= stagingBytes) {
      // Everybody does every owner's work: the same bits, and one barrier.
      std::byte *message = mine.staging[(round + 1) & 1].get();
      for (int owner = 0; owner < size(); ++owner)
        layout.encode(owner, data, message, error);
      int parity = enter({call, data, nullptr});
      for (int r = 0; r < size(); ++r)
        messages[r] = state.slots[r].staging[parity].get();
      std::byte *sum = mine.sum.reserve(bytes);
      for (int owner = 0; owner < size(); ++owner)
        layout.sum(owner, messages, sum, data, owner == rank() ? error : nullptr);
      pace(*cost::trafficOf("quantized_all_reduce", size(), static_cast<double>(bytes)));
      return;
    }
    std::byte *message = mine.message.reserve(bytes), *sum = mine.sum.reserve(bytes);
    for (int owner = 0; owner < size(); ++owner)
      layout.encode(owner, data, message, error);
    int parity = enter({call, message, sum});
    for (int r = 0; r < size(); ++r)
      messages[r] = static_cast<const std::byte *>(posted(r, parity).in);
    layout.sum(rank(), messages, sum, data, error);
    pace(cost::allToAll(size(), static_cast<double>(bytes)));
    meet(call);
    for (int owner = 0; owner < size(); ++owner)
      if (owner != rank())
        layout.decode(owner, static_cast<const std::byte *>(posted(owner, parity).out), data);
    pace(cost::allGather(size(), static_cast<double>(bytes)));
    leave(call);
  }

  void allGather(const CollectiveCall &call, const void *in, void *out, int64_t outer, int64_t inner) override {
    size_t row = static_cast<size_t>(inner) * sizeOf(call.dtype), bytes = row * static_cast<size_t>(outer);
    bool small = bytes <= stagingBytes;
    int parity = small ? stage(call, in, bytes) : enter({call, in, out});
    for (int r = 0; r < size(); ++r) {
      const auto *from =
          small ? state.slots[r].staging[parity].get() : static_cast<const std::byte *>(posted(r, parity).in);
      auto *to = static_cast<std::byte *>(out) + row * static_cast<size_t>(r);
      for (int64_t o = 0; o < outer; ++o, from += row, to += row * static_cast<size_t>(size()))
        copyBytes(to, from, row);
    }
    pace(cost::allGather(size(), static_cast<double>(bytes) * size()));
    if (!small)
      leave(call);
  }

  void reduceScatter(const CollectiveCall &call, const void *in, void *out, int64_t outer, int64_t inner) override {
    int parity = enter({call, in, out});
    size_t row = static_cast<size_t>(inner) * sizeOf(call.dtype);
    std::vector<const void *> sources(static_cast<size_t>(size()));
    for (int64_t o = 0; o < outer; ++o) {
      size_t offset = (static_cast<size_t>(o) * static_cast<size_t>(size()) + static_cast<size_t>(rank())) * row;
      for (int r = 0; r < size(); ++r)
        sources[r] = static_cast<const std::byte *>(posted(r, parity).in) + offset;
      void *to = static_cast<std::byte *>(out) + static_cast<size_t>(o) * row;
      sumInOrder(call.dtype, sources, std::span(&to, 1), 0, inner);
    }
    pace(cost::reduceScatter(size(), static_cast<double>(row) * static_cast<double>(outer) * size()));
    leave(call);
  }

  void allToAll(const CollectiveCall &call, const void *in, void *out, int64_t count) override {
    int parity = enter({call, in, out});
    size_t part = static_cast<size_t>(count) * sizeOf(call.dtype);
    for (int r = 0; r < size(); ++r)
      copyBytes(static_cast<std::byte *>(out) + part * static_cast<size_t>(r),
                static_cast<const std::byte *>(posted(r, parity).in) + part * static_cast<size_t>(rank()), part);
    pace(cost::allToAll(size(), static_cast<double>(part) * size()));
    leave(call);
  }

  void permute(const CollectiveCall &call, const void *in, void *out, int64_t count, int64_t shift) override {
    size_t bytes = static_cast<size_t>(count) * sizeOf(call.dtype);
    if (in == out)
      return permuteInPlace(call, out, static_cast<int64_t>(bytes), shift);
    int parity = enter({call, in, out});
    copyBytes(out, posted(before(shift), parity).in, bytes);
    pace(cost::permute(size(), static_cast<double>(bytes)));
    leave(call);
  }

  void permuteInPlace(const CollectiveCall &call, void *data, int64_t bytes, int64_t shift) override {
    constexpr int64_t pieceBytes = 1 << 20;
    std::vector<std::byte> piece(static_cast<size_t>(std::min(bytes, pieceBytes)));
    auto *at = static_cast<std::byte *>(data);
    std::chrono::steady_clock::time_point begin;
    int64_t done = 0;
    do {
      auto count = static_cast<size_t>(std::min(pieceBytes, bytes - done));
      int parity = enter({call, at + done, at + done});
      if (done == 0)
        begin = met;
      copyBytes(piece.data(), posted(before(shift), parity).in, count);
      leave(call); // the peer has read what is overwritten here
      copyBytes(at + done, piece.data(), count);
      done += static_cast<int64_t>(count);
      pace(cost::permute(size(), static_cast<double>(done)), begin);
    } while (done < bytes);
  }

  void broadcast(const CollectiveCall &call, void *data, int64_t count, int root) override {
    if (root < 0 || root >= size())
      failRun(describe(call), ": root ", root, " is not one of ", size(), " ranks");
    int parity = enter({call, data, data});
    if (rank() != root)
      copyBytes(data, posted(root, parity).in, static_cast<size_t>(count) * sizeOf(call.dtype));
    pace(cost::broadcast(size(), static_cast<double>(count) * static_cast<double>(sizeOf(call.dtype))));
    leave(call);
  }

  void startPermute(const CollectiveCall &call, const void *in, void *out, int64_t count, int64_t shift) override {
    mine.lastCall.store(call.name, std::memory_order_relaxed);
    state.exchange->startPermute(rank(), call, in, out, static_cast<size_t>(count) * sizeOf(call.dtype), shift);
  }

  Stretch finishPermute(const CollectiveCall &call) override { return finish(call, "rotate different weights"); }

  void allGatherBytes(const char *name, const void *in, void *out, size_t bytes) override {
    CollectiveCall call{-1, name, CollectiveKind::AllGather, DType::UI8, static_cast<int64_t>(bytes), 0};
    allGather(call, in, out, 1, static_cast<int64_t>(bytes));
  }

  void abort(const std::string &reason) override { state.barrier.abort(reason); }
  bool aborted() const override { return state.barrier.aborted(); }
  void reset() {
    round = 0;
    alwaysBeside = false;
    started.clear();
    mine.lastCall.store(nullptr);
  }

private:
  const Posted &posted(int rank, int parity) const { return state.slots[rank].posted[parity]; }

  /// Whether a sum that is started goes on beside the work: the same on all ranks.
  bool goesBeside(const CollectiveCall &call) const {
    if (size() == 1)
      return false;
    if (alwaysBeside || state.beside != CommunicatorOptions::Beside::Auto)
      return alwaysBeside || state.beside == CommunicatorOptions::Beside::Always;
    auto bytes = static_cast<double>(call.count) * static_cast<double>(sizeOf(call.dtype));
    return state.link.isSlow() &&
           cost::allReduce(cost::AllReduce::Ring, size(), bytes).seconds(state.link) > besideSeconds;
  }

  /// Waits for the oldest of what goes on beside this rank's work.
  Stretch finish(const CollectiveCall &call, const char *disagreement) {
    int other = rank();
    Interval time;
    switch (state.exchange->finish(rank(), call, state.timeout, other, time)) {
    case Exchange::Result::Done:
      return {{time.begin}, {time.end}};
    case Exchange::Result::Aborted:
      failRun(state.barrier.reason());
    case Exchange::Result::Disagree:
      state.barrier.abort(describe(call) + ": rank " + std::to_string(rank()) + " and its neighbour " + disagreement);
      failRun(state.barrier.reason());
    case Exchange::Result::TimedOut:
      break;
    }
    failLate(call, {other});
  }

  /// Publishes this rank's call, waits for the others and checks that they call the same. Returns the parity under
  /// which their data is found.
  int enter(Posted what) {
    int parity = (round + 1) & 1;
    mine.posted[parity] = what;
    meet(what.call);
    const CollectiveCall &first = posted(0, parity).call;
    for (int r = 1; r < size(); ++r) {
      const CollectiveCall &other = posted(r, parity).call;
      if (sameCall(first, other))
        continue;
      auto text = [](const CollectiveCall &c) {
        return describe(c) + " of " + std::to_string(c.count) + " x " + std::string(nameOf(c.dtype)) +
               (c.extra ? ", " + std::to_string(c.extra) : "");
      };
      std::string reason = "the ranks' collectives disagree: rank 0 calls " + text(first) + ", rank " +
                           std::to_string(r) + " calls " + text(other);
      state.barrier.abort(reason);
      failRun(reason);
    }
    mine.lastCall.store(what.call.name, std::memory_order_relaxed);
    return parity;
  }

  /// enter() with a copy of the data in the staging buffer.
  int stage(const CollectiveCall &call, const void *data, size_t bytes) {
    copyBytes(mine.staging[(round + 1) & 1].get(), data, bytes);
    return enter({call, data, nullptr});
  }

  /// The rank that sends to this one.
  int before(int64_t shift) const {
    int64_t n = size();
    return static_cast<int>(((rank() - shift % n) % n + n) % n);
  }

  /// Takes the time that a slow link would, from the moment on when all ranks had come.
  void pace(const cost::Traffic &traffic) { pace(traffic, met); }
  void pace(const cost::Traffic &traffic, std::chrono::steady_clock::time_point begin) {
    if (state.link.isSlow())
      waitUntil(begin, traffic.seconds(state.link), Waiting::Precise, [this] { return aborted(); });
  }

  /// Waits until the others have read this rank's data.
  void leave(const CollectiveCall &call) { meet(call); }

  void meet(const CollectiveCall &call) {
    switch (state.barrier.wait(rank(), ++round)) {
    case Barrier::Result::Passed:
      if (state.link.isSlow())
        met = std::chrono::steady_clock::now();
      return;
    case Barrier::Result::Aborted:
      failRun(state.barrier.reason());
    case Barrier::Result::TimedOut:
      break;
    }
    failLate(call, state.barrier.late(round));
  }

  [[noreturn]] void failLate(const CollectiveCall &call, const std::vector<int> &ranks) {
    std::ostringstream reason;
    reason << describe(call) << " timed out after " << std::chrono::duration<double>(state.timeout).count()
           << " s on rank " << rank() << ": waiting for";
    const char *separator = " ";
    for (int late : ranks) {
      const char *last = state.slots[late].lastCall.load(std::memory_order_relaxed);
      reason << separator << "rank " << late << " (";
      last ? reason << "last seen in '" << last << "')" : reason << "which has not called a collective yet)";
      separator = ", ";
    }
    state.barrier.abort(reason.str());
    failRun(state.barrier.reason());
  }

  /// A sum that is not waited for yet; with its time where it was taken at once.
  struct Started {
    CollectiveCall call;
    void *data;
    std::optional<Interval> time;
  };

  State &state;
  Slot &mine;
  std::deque<Started> started;
  bool alwaysBeside = false;
  uint32_t round = 0;
  std::chrono::steady_clock::time_point met; // when the last barrier was passed
};

ThreadGroup::ThreadGroup(int size, CommunicatorOptions options) {
  if (size < 1)
    failInput("a group of ", size, " ranks");
  state = std::make_unique<State>(size, options);
  for (int rank = 0; rank < size; ++rank)
    ranks.push_back(std::make_unique<Rank>(rank, *state));
}

ThreadGroup::~ThreadGroup() = default;

Communicator &ThreadGroup::at(int rank) { return *ranks.at(static_cast<size_t>(rank)); }

void ThreadGroup::abort(const std::string &reason) { state->barrier.abort(reason); }

void ThreadGroup::reset() {
  state->exchange->reset();
  state->barrier.reset();
  for (auto &rank : ranks)
    rank->reset();
}

} // namespace caat::runtime
