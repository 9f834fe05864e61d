// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One rank of an NcclGroup: its collectives, as steps of its queue, and how these are carried out and watched.
#ifndef CAAT_RUNTIME_CUDA_NCCLRANK_H
#define CAAT_RUNTIME_CUDA_NCCLRANK_H

#include "NcclGroup.h"
#include "PeerSums.h"
#include "RankCommunicator.h"

namespace caat::runtime::cuda {

class NcclGroup::Rank final : public RankCommunicator, private Exchanges {
public:
  Rank(NcclGroup &group, size_t index, Communicator &host);
  ~Rank() override { forgetGraphs(nullptr); }

  /// Small messages over memory that the ranks share, where they do.
  void allReduce(const CollectiveCall &call, void *data) override;
  bool leavesToKernel(const CollectiveCall &call, const void *data) const override;
  bool sumInKernel(const CollectiveCall &call, void *data, const KernelLaunch &launch) override;
  void startSum(const CollectiveCall &call, void *data) override;
  Stretch finishSum(const CollectiveCall &call) override { return finishPermute(call); }

  void allGather(const CollectiveCall &call, const void *in, void *out, int64_t outer, int64_t inner) override;
  void reduceScatter(const CollectiveCall &call, const void *in, void *out, int64_t outer, int64_t inner) override;
  void allToAll(const CollectiveCall &call, const void *in, void *out, int64_t count) override;
  void permute(const CollectiveCall &call, const void *in, void *out, int64_t count, int64_t shift) override;
  void permuteInPlace(const CollectiveCall &call, void *data, int64_t count, int64_t shift) override;
  void startPermute(const CollectiveCall &call, const void *in, void *out, int64_t count, int64_t shift) override;
  Stretch finishPermute(const CollectiveCall &call) override;
  void broadcast(const CollectiveCall &call, void *data, int64_t count, int root) override;
  void quantizedAllReduce(const CollectiveCall &call, const WireFormat &format, float *data, float *error,
                          int64_t rows) override;

  void abort(const std::string &reason) override { group.abort(reason); }
  void checkAborted() const override;
  std::vector<std::string> sumWays(int64_t bytes) const override { return peerSums.ways("NCCL", bytes); }
  void setSumWay(int way) override { peerSums.setWay(way); }

  /// A graph must be gone before the connection that it uses; `next` carries out what comes.
  void forgetGraphs(Exchanges *next);
  void reconnected() { forgetGraphs(this); }

private:
  const Nccl &nccl() const { return *group.nccl; }
  ncclComm_t connection() const { return group.connection(index); }

  /// NCCL compares nothing and waits for ever. Threads meet first, where calls are compared and timeouts noticed;
  /// processes compare theirs with the next small message, and watches notice who is late. Sums over shared memory are
  /// compared by the kernels.
  void meet(const CollectiveCall &call);

  /// At once, on a stream that is not the queue's.
  void run(const Exchange &exchange, CUstream stream);
  void begin(const Exchange &exchange, CUstream stream) override;
  void end(CUstream stream) override;
  void ask(const Exchange &x, CUstream stream) override;
  bool agree(bool good) override { return agreeOnHost(good); }
  /// Threads meet once for all. Processes count the collectives of a graph when it is started.
  void beginGraph(const std::vector<const Exchange *> &all, CUstream stream) override;
  void endGraph(CUstream stream) override { end(stream); }

  void check(const CollectiveCall &call, ncclResult_t status) const;

  static void send(Exchange &exchange, const void *from, size_t bytes, int to);
  static void receive(Exchange &exchange, void *to, size_t bytes, int from);
  /// To rank + shift, from rank - shift.
  Exchange turn(const CollectiveCall &call, const void *in, void *out, size_t bytes, int64_t shift) const;

  NcclGroup &group;
  size_t index; // among the ranks of this process
  PeerSums peerSums;
  DeviceBuffer scratch, message, result;
  std::vector<uint64_t> met;
};

} // namespace caat::runtime::cuda

#endif
