// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ProcessHosts.h"
#include "caat/runtime/Error.h"
#include "caat/runtime/Fnv.h"

namespace caat::runtime {

class ProcessHosts::Host final : public Communicator {
public:
  explicit Host(Peers &peers) : Communicator(peers.rank(), peers.size()), peers(peers) {}

  void allReduce(const CollectiveCall &call, void *) override { refuse(call); }
  void quantizedAllReduce(const CollectiveCall &call, const WireFormat &, float *, float *, int64_t) override {
    refuse(call);
  }
  void allGather(const CollectiveCall &call, const void *, void *, int64_t, int64_t) override { refuse(call); }
  void reduceScatter(const CollectiveCall &call, const void *, void *, int64_t, int64_t) override { refuse(call); }
  void allToAll(const CollectiveCall &call, const void *, void *, int64_t) override { refuse(call); }
  void permute(const CollectiveCall &call, const void *, void *, int64_t, int64_t) override { refuse(call); }
  void broadcast(const CollectiveCall &call, void *, int64_t, int) override { refuse(call); }
  void startAllReduce(const CollectiveCall &call, void *) override { refuse(call); }
  Stretch finishAllReduce(const CollectiveCall &call, void *) override { refuse(call); }
  void startPermute(const CollectiveCall &call, const void *, void *, int64_t, int64_t) override { refuse(call); }
  Stretch finishPermute(const CollectiveCall &call) override { refuse(call); }
  void permuteInPlace(const CollectiveCall &call, void *, int64_t, int64_t) override { refuse(call); }

  void allGatherBytes(const char *name, const void *in, void *out, size_t bytes) override {
    // The first one comes when the weights are loaded, which takes the processes as long as their files do.
    constexpr int forLoading = 20;
    peers.allGather(name, in, out, bytes, calls, isFirst ? peers.timeout() * forLoading : peers.timeout());
    isFirst = false;
  }
  void abort(const std::string &reason) override { peers.abort(reason); }
  bool aborted() const override { return peers.aborted(); }
  void checkAborted() const override {
    if (peers.aborted())
      failRun(peers.reason());
  }

  void begin(const CollectiveCall &call) {
    for (int64_t number :
         {call.index, static_cast<int64_t>(call.kind), static_cast<int64_t>(call.dtype), call.count, call.extra})
      note(static_cast<uint64_t>(number));
    peers.setProgress(++begun);
  }
  void note(uint64_t number) { calls = fnv(number, calls); }

private:
  [[noreturn]] static void refuse(const CollectiveCall &call) {
    failRun(nameOf(call.kind), " '", call.name, "': arrays of the host's memory do not travel between processes");
  }
  Peers &peers;
  uint64_t calls = fnvBasis, begun = 0;
  bool isFirst = true;
};

ProcessHosts::ProcessHosts(std::shared_ptr<Peers> given)
    : peers(std::move(given)), host(std::make_unique<Host>(*peers)) {}
ProcessHosts::~ProcessHosts() = default;
Communicator &ProcessHosts::at(int) { return *host; }
void ProcessHosts::abort(const std::string &reason) { peers->abort(reason); }
void ProcessHosts::note(uint64_t number) { host->note(number); }
void ProcessHosts::begin(const CollectiveCall &call) { host->begin(call); }

} // namespace caat::runtime
