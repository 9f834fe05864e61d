// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What compiled code sees of the runtime: the api table, and behind its `ctx` this object, one per rank.
#ifndef CAAT_RUNTIME_CORE_RANKCONTEXT_H
#define CAAT_RUNTIME_CORE_RANKCONTEXT_H

#include "Rings.h"
#include "SiteRunner.h"
#include "Turns.h"
#include "caat/runtime/Device.h"
#include "caat/runtime/Profile.h"
#include <deque>

namespace caat::runtime {

/// Stops a rank at a collective, to test that the others end in time: CAAT_TEST_STOP_RANK=RANK@COLLECTIVE, or
/// RANK@COLLECTIVE#N when it comes there for the N-th time.
struct StopRank {
  int rank = -1;
  std::string collective;
  int turns = 1;
  static StopRank fromEnvironment();
};

/// As a number of tokens whose results are read.
inline constexpr int64_t allTokens = INT64_MAX;

class RankContext {
public:
  /// What it does is added to `profile` and `trace`, which a rank's contexts share.
  RankContext(const Program &program, Communicator &communicator, Device &device, Profile &profile,
              Trace::Track *trace = nullptr);

  /// The table that caat_forward receives.
  static const void *const *api();

  /// Forgets the error of the run before.
  void begin(Half half = {});
  /// Whether nothing of this run has failed so far.
  bool isGood() const { return error.empty(); }
  /// Waits for the device, of which `last` may ask more before. Throws the first error of this run, if any.
  void finish(const std::function<void()> &last = {});

  int64_t readTokens = allTokens; // at the end of the run: those whose results are read
  std::unique_ptr<Rings> rings;   // where weights travel
  SiteRunner sites;

private:
  friend struct Api;
  class Timer;
  /// Name of the group of weights that a parameter travels with, or "".
  std::string_view groupOf(size_t parameter) const;
  void fail(const std::string &text);
  const CollectiveSpec &collective(int64_t index, CollectiveKind kind);

  /// A rotation's statistics, and a call that names it.
  struct Rotation {
    size_t group;
    CollectiveCall call;
    CollectiveStats &stats;
  };
  Rotation rotation(int64_t number);
  void beginRotation(const Rotation &rotation);
  void startRotation(int64_t number);
  void finishRotation(int64_t number);
  void rotateInPlace(int64_t number);
  /// Throws what the manifest says of a condition that did not hold.
  [[noreturn]] void failCheck(int64_t message) const;
  void stopWhereAsked(const std::string &name);
  /// The statistics of a collective that begins, with the product before it.
  CollectiveStats &beginExchange(const CollectiveSpec &spec, int64_t index, int64_t count);
  void startSum(int64_t index, void *data, int64_t count, bool leaves);
  void finishSum();
  KernelLaunch kernelLaunch(int64_t kernel, int64_t grid, void *buffers, int64_t numBuffers, void *dims,
                            int64_t numDims) const;
  void launch(const KernelLaunch &launch);
  void launchBehindSums(int64_t sums, const KernelLaunch &launch, size_t summing);
  template <typename F> void exchange(int64_t index, CollectiveKind kind, int64_t count, int64_t extra, F &&run);
  template <typename F>
  void exchange(const CollectiveSpec &spec, int64_t index, int64_t count, int64_t bytes, int64_t extra, F &&run);
  /// Of a half: `run`, an exchange that keeps this thread waiting, in the other one's turn.
  template <typename F> void exchangeBeside(CollectiveStats &stats, Trace::Event event, F &&run);
  /// The other half's turn, then this one's again. Gives back since when.
  Turns::Clock::time_point takeTurns();

  /// A stretch of the device's work whose times are not known yet.
  struct Stretch {
    Trace::Event event;
    Moment begin, end;
    double *sums[3];
    /// What went on beside the rank's work between two moments: how long adds to `hidden`.
    Moment workBegin = {}, workEnd = {};
    double *hidden = nullptr;
    bool isKnown() const { return !begin.event && !end.event && !workEnd.event; }
  };
  /// The product that was last, since the last collective: its time, or where it will be known.
  struct {
    double seconds = 0;
    std::optional<size_t> open = {};
  } lastProduct;
  std::deque<Moment> turned; // when the rank went on with its work, for each rotation that it has not waited for
  /// A sum that the rank has not waited for.
  struct StartedSum {
    CollectiveCall call;
    void *data;
    int64_t turn;        // in which it was started
    bool isLeft = false; // to what waits for it: nobody has begun it
    Moment work = {};    // when the rank went on with its work
    int64_t bytes() const { return call.count * static_cast<int64_t>(sizeOf(call.dtype)); }
  };
  std::deque<StartedSum> started;
  void add(Stretch &stretch);
  void count(Stretch &stretch);

  const Program &program;
  Communicator &communicator;
  Device &device;
  Profile &profile;
  Trace::Track *trace;
  Half half;
  int64_t turnNumber = 0; // of the half
  std::vector<Stretch> open;
  StopRank stop;
  std::string error;
};

} // namespace caat::runtime

#endif
