// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Weights that travel round the ranks. Each group lies in one flat buffer, which holds one virtual rank's shard of all
// its weights; a rotation replaces it by the next one.
#ifndef CAAT_RUNTIME_CORE_RINGS_H
#define CAAT_RUNTIME_CORE_RINGS_H

#include "caat/runtime/Device.h"
#include <functional>
#include <optional>
#include <vector>

namespace caat::runtime {

class Rings {
public:
  Rings(const Manifest &manifest, Device &device, Communicator &communicator);

  /// A weight of `group` by its number among the device's parameters; `pointer`, where given, is kept at where it lies.
  /// `read`, where given, is called whenever this rank's own shard has been copied.
  void add(size_t group, size_t parameter, void **pointer, std::function<void()> read = {});
  /// Makes the buffers, after Device::load(), and fills them with this rank's own shards.
  void allocate();
  /// Own shards again, at the start of the ring; needed after a run that failed anywhere.
  void refill();
  void invalidate() { valid = false; }
  bool isValid() const { return valid; }
  /// A whole run has gone by: after N - 1 hops the shards are one place further, and the next run begins there.
  void finishRun() { ++runs; }

  /// The virtual rank whose shards are at hand in a step of the run.
  int64_t shardAt(int64_t step) const;

  void start(size_t group, const CollectiveCall &call);
  /// Returns when the shards came.
  Communicator::Stretch finish(size_t group, const CollectiveCall &call);
  void rotateInPlace(size_t group, const CollectiveCall &call);

  /// Of a group's shards: what a hop sends.
  size_t bytes(size_t group) const { return groups[group].bytes; }
  /// Of all groups, and of the spare buffers.
  size_t weightBytes() const;
  size_t spareBytes() const;

private:
  struct Member {
    size_t parameter;
    void **pointer;
    size_t offset;
    std::function<void()> read;
  };
  struct Group {
    std::vector<Member> members;
    std::optional<size_t> spare;
    size_t bytes = 0;
    std::byte *data = nullptr;
  };
  /// Receives the shards that come. Groups that share it change places with it, so their buffers are as large.
  struct Spare {
    size_t bytes = 0;
    std::byte *data = nullptr;
  };
  size_t room(const Group &group) const { return group.spare ? spares[*group.spare].bytes : group.bytes; }
  void point(Group &group);

  Device &device;
  Communicator &communicator;
  int64_t shift; // -1 where a test turns the ring the wrong way round
  int64_t runs = 0;
  bool valid = true;
  std::vector<Group> groups;
  std::vector<Spare> spares;
  std::shared_ptr<std::byte> memory; // of all groups and spares
};

} // namespace caat::runtime

#endif
