// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Runs an artifact: its ranks are threads of this process, or a process each (EngineOptions::world).
#ifndef CAAT_RUNTIME_ENGINE_H
#define CAAT_RUNTIME_ENGINE_H

#include "caat/runtime/Profile.h"
#include "caat/runtime/Program.h"
#include "caat/runtime/Sites.h"
#include "caat/runtime/World.h"
#include <array>
#include <chrono>
#include <functional>

namespace caat::runtime {

class Rank;
struct RunInputs;

/// Whether runs are made in two halves that take turns, so that the sums of one travel while the other computes. Auto:
/// where the link is so slow that it pays. On: wherever a run can be divided.
enum class HalvesMode { Auto, On, Off };

/// Tokens or rows of the first of two halves: of many tokens a multiple of 16, which products like.
int64_t firstHalf(int64_t count);
/// Rows of a half's products below which halves take longer than the whole.
inline constexpr int64_t fewestHalfRows = 128;

/// Of a step's results, what is read: those of other tokens are not computed, where the program can leave them out.
enum class Results { All, LastToken };

/// Asks a rank for something of a run, right behind its program, when its device may still be at it. What it returns is
/// done when the run has gone well, on the same thread.
using AskOfRank = std::function<std::function<void()>(Rank &)>;

struct EngineOptions {
  int threadsPerRank = 1;
  std::chrono::milliseconds timeout{30000}; // of a collective
  Link link = {};                           // between the ranks
  HalvesMode halves = HalvesMode::Auto;
  std::function<void(const std::string &)> progress; // may be empty; called by the loading thread
  std::string trace;                                 // file for a Trace, or empty
  std::optional<uint32_t> randomWeights;             // a seed: the artifact's are not read
  std::vector<int> devices;                          // numbers of the devices, see BackendOptions
  std::optional<World> world;                        // the rank that this process runs, with those of others
};

/// Not thread-safe: one call at a time.
class Engine {
public:
  /// Loads code and weights. Throws Error.
  explicit Engine(const std::string &directory, EngineOptions options = {});
  ~Engine();

  const Program &program() const { return program_; }
  const Manifest &manifest() const { return program_.manifest(); }
  int size() const { return manifest().tp; }
  int firstRank() const { return options.world ? options.world->rank : 0; }

  /// Runs the program once. `inputs` by the manifest's names; caches may be given as a whole (all "past" names,
  /// unsharded,
  /// [.., past length, ..]) or left out (empty). Returns outputs and "present" caches, unsharded; in processes of other
  /// ranks than rank 0 nothing. Throws Error (Input) that names what does not fit. A switchable program may run in
  /// part: `range`; where it stops before the end, nothing is returned.
  TensorMap infer(const TensorMap &inputs, const SiteRange &range = {});

  // A session: the caches stay in the engine and grow.

  /// Forgets the past and makes room for `capacity` positions. Throws Error (Input) above the program's max_length.
  void start(int64_t capacity);
  /// Feeds the next tokens [batch, n] i64: fills input_ids, attention_mask, position_ids and cache_position. A program
  /// without caches runs the whole sequence again. Outputs stay with the ranks: `ask`, where given, asks each rank
  /// for them, and reads what `read` says.
  /// A switchable program may run in part: `range`.
  void step(const Tensor &tokens, Results read = Results::All, const AskOfRank &ask = {}, const SiteRange &range = {});
  int64_t past() const { return past_; }

  /// What each site of a switchable program does from the next run on; empty: full everywhere. Throws Error (Input)
  /// where a site cannot do what its policy says.
  void setPolicies(Policies policies);

  /// Calls `work` on every rank's thread and waits. The first error is thrown; afterwards the engine can be used again.
  void onRanks(const std::function<void(Rank &)> &work);
  /// On a rank's thread, once each has written its own elements of `whole` into zeros: rank 0 gets what ranks in other
  /// processes have written, and these nothing. Throws Error (Run).
  void gather(Tensor &whole) const;

  /// Profile of the rank that computes longest, for which the others wait, wherever it runs, since the last
  /// resetProfile().
  Profile slowestProfile();
  void resetProfile();
  /// Whether profiles hold the times of the devices' work, which cost some; else those of the host where a device has
  /// its own. A trace has them always.
  void setTiming(bool enabled);
  /// Whether the ranks' devices are the host's.
  bool isHost() const;
  /// Runs that were made in two halves.
  int64_t halvedRuns() const { return halvedRuns_; }
  /// Graphs that rank 0's device has started instead of steps one by one.
  int64_t graphs() const;
  /// Who has computed attention on rank 0's device, where there is a choice, for people.
  std::string attentionInfo() const;
  /// Writes the trace that the options ask for, once, after all runs. Throws Error (Input).
  void writeTrace();
  /// Bytes of the weights that rank 0's products read in one step.
  size_t productBytes() const;

private:
  struct Workers;
  RunInputs fillInputs(const Tensor &ids, int64_t past) const;
  std::optional<std::array<RunInputs, 2>> divide(const RunInputs &whole, const Tensor *ids, int64_t past) const;
  void runProgram(const RunInputs &whole, const std::optional<std::array<RunInputs, 2>> &halves, const SiteRange &range,
                  const std::function<void(Rank &)> &before, const AskOfRank &ask);

  EngineOptions options;
  Program program_;
  std::unique_ptr<Workers> workers;
  int64_t past_ = 0, batch_ = 0, capacity_ = 0, halvedRuns_ = 0; // batch_: of the session's steps so far
  Tensor sequence;                                               // all tokens so far, where the program has no cache
};

} // namespace caat::runtime

#endif
