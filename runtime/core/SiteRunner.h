// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a rank does at the sync points of a switchable program.
#ifndef CAAT_RUNTIME_CORE_SITERUNNER_H
#define CAAT_RUNTIME_CORE_SITERUNNER_H

#include "caat/runtime/Device.h"
#include "caat/runtime/Sites.h"
#include <memory>
#include <string>

namespace caat::runtime {

/// Throws Error (Input) where a site cannot do what its policy says.
void checkPolicy(const SitePolicy &policy, const SiteSpec &site, int ranks);

class SiteRunner {
public:
  SiteRunner(const Manifest &manifest, Communicator &communicator, Device &device);

  void setPolicies(std::shared_ptr<const Policies> policies) { this->policies = std::move(policies); }

  /// Before a run. Snapshots have room for every rank already.
  void begin(const SiteRange &range);
  /// True where the program passes over code that is not in the range: nothing is to be done.
  bool isSkipping() const { return skipping; }
  /// The entry point sync_point. What a device holds is copied to the host's memory, worked on there, and copied back.
  void run(size_t site, void *const *buffers, const int64_t *sizes, int64_t live);

  /// By site: what its exchanges took; flushes count with their site.
  std::vector<CollectiveStats> stats;

private:
  struct Arrays;
  void runOnHost(size_t site, void *const *buffers, const int64_t *sizes, int64_t live);
  void save(size_t site, const Arrays &arrays);
  void restore(const Arrays &arrays);
  void apply(size_t site, const Arrays &arrays);
  /// A policy at one site, with what the place forbids taken out of it.
  struct Sending {
    const SitePolicy &policy;
    const WireFormat *rounding; // null: elements travel as they are
    bool feedback;
  };
  void reduceAll(size_t site, const Arrays &arrays);
  void reduceShared(size_t site, const Arrays &arrays, const Sending &sending);
  void keepOthers(const Arrays &arrays, const SitePolicy &policy);
  void flush(const std::string &name, size_t site, const Arrays &arrays);
  template <typename F> void exchange(size_t site, CollectiveCall call, int64_t bytes, F &&run);
  void takePrivate(const Arrays &arrays, const std::vector<int64_t> &shared);
  void give(const Arrays &arrays, const Sending &sending);
  void addSmallRank(const Arrays &arrays, const SiteEstimate &estimate);

  const Manifest &manifest;
  Communicator &communicator; // for arrays in the host's memory
  Device &device;
  std::vector<std::string> flushNames;
  std::shared_ptr<const Policies> policies;
  SiteRange range;
  bool skipping = false;
  std::vector<float> packed, errors; // the channels on the wire, and what rounding them left out
  std::vector<float> hidden;         // of an estimate of small rank
};

} // namespace caat::runtime

#endif
