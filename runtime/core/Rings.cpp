// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Rings.h"
#include "caat/runtime/Environment.h"
#include "caat/runtime/Error.h"
#include <algorithm>
#include <utility>

namespace caat::runtime {

static constexpr size_t align(size_t bytes) { return (bytes + 63) / 64 * 64; }

Rings::Rings(const Manifest &manifest, Device &device, Communicator &communicator)
    : device(device), communicator(communicator), shift(environment::isOn("CAAT_TEST_REVERSE_RING", false) ? -1 : 1),
      groups(manifest.rotations.size()) {
  for (size_t i = 0; i < groups.size(); ++i) {
    groups[i].spare = manifest.rotations[i].spare;
    if (groups[i].spare && *groups[i].spare >= spares.size())
      spares.resize(*groups[i].spare + 1);
  }
}

void Rings::add(size_t group, size_t parameter, void **pointer, std::function<void()> read) {
  groups[group].members.push_back({parameter, pointer, 0, std::move(read)});
}

void Rings::allocate() {
  for (Group &group : groups) {
    for (Member &member : group.members) {
      member.offset = group.bytes;
      group.bytes += align(device.travellingBytes(member.parameter));
    }
    if (group.spare)
      spares[*group.spare].bytes = std::max(spares[*group.spare].bytes, group.bytes);
  }
  memory = device.allocate(weightBytes() + spareBytes(), "the weights that travel");
  std::byte *next = memory.get();
  for (Group &group : groups)
    group.data = std::exchange(next, next + room(group));
  for (Spare &spare : spares)
    spare.data = std::exchange(next, next + spare.bytes);
  refill();
}

void Rings::refill() {
  for (Group &group : groups) {
    for (Member &member : group.members) {
      device.fillTravelling(member.parameter, group.data + member.offset);
      if (member.read)
        member.read();
    }
    point(group);
  }
  runs = 0;
  valid = true;
}

void Rings::point(Group &group) {
  for (Member &member : group.members) {
    std::byte *data = group.data + member.offset;
    device.moveTravelling(member.parameter, data);
    if (member.pointer)
      *member.pointer = data;
  }
}

int64_t Rings::shardAt(int64_t step) const {
  int64_t size = communicator.size(), hops = runs * (size - 1) + step;
  return ((communicator.rank() - hops) % size + size) % size;
}

void Rings::start(size_t index, const CollectiveCall &call) {
  Group &group = groups[index];
  if (!group.spare)
    failRun("the code starts to rotate '", call.name, "', which has no spare buffer");
  communicator.startPermute(call, group.data, spares[*group.spare].data, call.count, shift);
}

Communicator::Stretch Rings::finish(size_t index, const CollectiveCall &call) {
  Group &group = groups[index];
  Communicator::Stretch time = communicator.finishPermute(call);
  std::swap(group.data, spares[*group.spare].data);
  point(group);
  return time;
}

void Rings::rotateInPlace(size_t index, const CollectiveCall &call) {
  communicator.permuteInPlace(call, groups[index].data, call.count, shift);
}

size_t Rings::weightBytes() const {
  size_t total = 0;
  for (const Group &group : groups)
    total += room(group);
  return total;
}

size_t Rings::spareBytes() const {
  size_t total = 0;
  for (const Spare &spare : spares)
    total += spare.bytes;
  return total;
}

} // namespace caat::runtime
