// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The host's side of ranks in several processes: small messages and failures travel through Peers; arrays of
// collectives do so between the devices only.
#ifndef CAAT_RUNTIME_COMM_PROCESSES_PROCESSHOSTS_H
#define CAAT_RUNTIME_COMM_PROCESSES_PROCESSHOSTS_H

#include "caat/runtime/Communicator.h"
#include "caat/runtime/Peers.h"

namespace caat::runtime {

/// The group of a process's one rank.
class ProcessHosts final : public RankGroup {
public:
  explicit ProcessHosts(std::shared_ptr<Peers> peers);
  ~ProcessHosts() override;
  Communicator &at(int rank) override;
  void abort(const std::string &reason) override;
  /// Processes that have failed together cannot go on.
  void reset() override {}

  /// A collective begins; all ranks' calls so far are compared with the next small message.
  void begin(const CollectiveCall &call);
  /// The same for what is no collective.
  void note(uint64_t number);

private:
  class Host;
  std::shared_ptr<Peers> peers;
  std::unique_ptr<Host> host;
};

} // namespace caat::runtime

#endif
