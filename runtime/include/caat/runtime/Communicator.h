// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// How the ranks of a program exchange data. One object per rank; its members are called by that rank's threads, one at
// a time but for what goes on beside others: one thread may be in a collective while another one starts and finishes
// all-reduces. abort() any thread may call.
#ifndef CAAT_RUNTIME_COMMUNICATOR_H
#define CAAT_RUNTIME_COMMUNICATOR_H

#include "caat/Cost/Link.h"
#include "caat/runtime/Manifest.h"
#include "caat/runtime/Trace.h"
#include "caat/runtime/Wire.h"
#include <chrono>
#include <memory>
#include <span>

namespace caat::runtime {

/// What a call is, so that messages can name it and the ranks can compare it.
struct CollectiveCall {
  int64_t index = 0;     // in the manifest; below 0 for the runtime's own
  const char *name = ""; // must live as long as the communicator: other ranks may print it later
  CollectiveKind kind = CollectiveKind::AllReduce;
  DType dtype = DType::F32;
  int64_t count = 0; // elements of this rank's input
  int64_t extra = 0; // root, shift, or inner size: must agree as well
};

/// Rows [0, rows) of a kernel of the program; more than none.
struct KernelLaunch {
  size_t kernel;
  int64_t rows;
  std::span<void *const> buffers;
  std::span<const int64_t> dims;
};

/// What one rank did, summed over its calls.
struct CollectiveStats {
  int64_t calls = 0;
  int64_t bytes = 0;  // of the inputs, as they travel
  double seconds = 0; // that the rank spent in them, waiting for late ranks included
  double product = 0; // seconds of the product with a weight right before each
  double hidden = 0;  // seconds in which they travelled beside the rank's work
};

class Communicator {
public:
  virtual ~Communicator() = default;
  int rank() const { return rank_; }
  int size() const { return size_; }

  // All of these throw Error (Run) after a timeout, where the ranks' calls disagree, or when another rank aborted.

  /// data[count] becomes the sum over the ranks: in rank order, in fp32 for 16-bit types, the same bits everywhere.
  virtual void allReduce(const CollectiveCall &call, void *data) = 0;
  /// allReduce() beside whatever the rank does next: until finishAllReduce() the data may not be touched. Several may
  /// be under way: they go one after the other, and are finished in the order in which they were started. What was
  /// started when a rank fails may still be read and written until RankGroup::reset().
  virtual void startAllReduce(const CollectiveCall &call, void *data) = 0;
  /// When something went on beside the work.
  struct Stretch {
    Moment begin, end;
  };
  virtual Stretch finishAllReduce(const CollectiveCall &call, void *data) = 0;
  /// Whether what is started goes on beside the work whatever that takes, and is not taken at once: there is enough to
  /// do meanwhile. All ranks say the same, while nothing is under way.
  virtual void setAlwaysBeside(bool always) {}
  /// Whether an all-reduce that was started had better be left to the kernel behind it, where there is one that can:
  /// what all ranks find alike. Who is told so starts nothing, and calls sumInKernel() or allReduce() in its turn.
  virtual bool leavesToKernel(const CollectiveCall &call, const void *data) const { return false; }
  /// allReduce() and then the kernel, at once, where `launch` is a kernel that begins with the sum of its rows of the
  /// data. False, and nothing is done, where that does not go.
  virtual bool sumInKernel(const CollectiveCall &call, void *data, const KernelLaunch &launch) { return false; }
  /// data [rows, format.channels] becomes the sum over the ranks of what each has rounded, itself rounded, the same
  /// bits everywhere: all-to-all, sums in rank order in fp32, all-gather. `error`, where not null, becomes what this
  /// left out of this rank's data; to the error of the rank that summed a block belongs what rounding the sum left out.
  /// A block that holds a value which is not finite arrives as NaN.
  virtual void quantizedAllReduce(const CollectiveCall &call, const WireFormat &format, float *data, float *error,
                                  int64_t rows) = 0;
  /// in [outer, inner] of each rank -> out [outer, N, inner].
  virtual void allGather(const CollectiveCall &call, const void *in, void *out, int64_t outer, int64_t inner) = 0;
  /// in [outer, N, inner] -> out [outer, inner], this rank's part of the sum.
  virtual void reduceScatter(const CollectiveCall &call, const void *in, void *out, int64_t outer, int64_t inner) = 0;
  /// in [N, count] -> out [N, count]: part p of the input goes to rank p.
  virtual void allToAll(const CollectiveCall &call, const void *in, void *out, int64_t count) = 0;
  /// To rank + shift, from rank - shift, modulo N. in == out is allowed.
  virtual void permute(const CollectiveCall &call, const void *in, void *out, int64_t count, int64_t shift) = 0;
  virtual void broadcast(const CollectiveCall &call, void *data, int64_t count, int root) = 0;

  /// permute() beside whatever the rank does next: until finishPermute() the buffers, which do not overlap, may not be
  /// written and `out` not be read. Several may be under way, as with startAllReduce().
  virtual void startPermute(const CollectiveCall &call, const void *in, void *out, int64_t count, int64_t shift) = 0;
  virtual Stretch finishPermute(const CollectiveCall &call) = 0;
  /// permute() of bytes onto themselves without a second buffer, a piece at a time.
  virtual void permuteInPlace(const CollectiveCall &call, void *data, int64_t bytes, int64_t shift) = 0;

  /// How allReduce() of so many bytes can be done, where there is a choice; and which of these it is from now on. Below
  /// 0: by size, as in the beginning.
  virtual std::vector<std::string> sumWays(int64_t bytes) const { return {}; }
  virtual void setSumWay(int way) {}

  /// The same ranks for arrays in the host's memory, where these are a device's.
  virtual Communicator &ofHost() { return *this; }

  /// Ends every rank's waiting with this text; the first one counts.
  virtual void abort(const std::string &reason) = 0;
  virtual bool aborted() const = 0;
  /// Throws Error (Run) where another rank has aborted, so that what a device has done since may be void.
  virtual void checkAborted() const {}

  /// Bytes of every rank, one after another; in the host's memory, whatever the collectives work on.
  virtual void allGatherBytes(const char *name, const void *in, void *out, size_t bytes) = 0;
  /// Compares the schedule of collectives before the first one. Throws Error (Run) that names the rank that differs.
  void checkSchedule(std::string_view digest);

protected:
  Communicator(int rank, int size) : rank_(rank), size_(size) {}

private:
  int rank_, size_;
};

/// A link between the ranks that is slower than memory: what a collective would take on it is waited for.
using cost::Link;
/// Link::parse() that throws Error (Input).
Link parseLink(const std::string &text);

struct CommunicatorOptions {
  std::chrono::milliseconds timeout{30000};
  /// Turns of the waiting loop before a rank sleeps; below 0: chosen from the number of cores.
  int spin = -1;
  Link link = {};
  /// Whether threads take sums that were started beside the ranks' work; else they are taken at once. Auto: where the
  /// link takes longer than it takes to wake a thread.
  enum class Beside { Auto, Always, Never } beside = Beside::Auto;
};

/// The communicators of a process's ranks.
class RankGroup {
public:
  virtual ~RankGroup() = default;
  virtual Communicator &at(int rank) = 0;
  virtual void abort(const std::string &reason) = 0;
  /// Forgets an abort, and ends what was started; all ranks are idle.
  virtual void reset() = 0;
};

/// Ranks that are threads of this process; their arrays are in its memory.
class ThreadGroup final : public RankGroup {
public:
  explicit ThreadGroup(int size, CommunicatorOptions options = {});
  ~ThreadGroup() override;
  Communicator &at(int rank) override;
  void abort(const std::string &reason) override;
  void reset() override;

private:
  struct State;
  class Rank;
  std::unique_ptr<State> state;
  std::vector<std::unique_ptr<Rank>> ranks;
};

} // namespace caat::runtime

#endif
