// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "PeerMemory.h"
#include "caat/runtime/Error.h"
#include <algorithm>
#include <cstring>
#include <fstream>

namespace caat::runtime::cuda {

namespace {

// One allocation: control and places of sums, then those of kernels that begin with one.
constexpr size_t sumBytes = (sizeof(PeerControl) + 4 * peerBytes + 255) / 256 * 256;
constexpr size_t memoryBytes = sumBytes + sizeof(PeerRows) + 2 * rowBlocks * rowBytes;

const char *kernelFor(DType dtype) {
  return dtype == DType::F32    ? "caat_peer_sum_f32"
         : dtype == DType::BF16 ? "caat_peer_sum_bf16"
         : dtype == DType::F16  ? "caat_peer_sum_f16"
                                : nullptr;
}

/// Of what must be the same on all ranks, as many bits as a flag has room for.
unsigned numberOf(const CollectiveCall &call, unsigned way) {
  uint64_t all = static_cast<uint64_t>(call.index) * 0x9e3779b97f4a7c15 + static_cast<uint64_t>(call.count) * 3 + way;
  return static_cast<unsigned>(all ^ all >> 32);
}

/// What a process tells the others of its GPU.
struct Card {
  char machine[40], bus[24];
};

/// Different for each machine, and each start of it.
std::string machineName() {
  std::string name;
  std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), name);
  return name;
}

/// Whether work on one device reaches the other's memory. More than two need links of their own: by way of the host,
/// NCCL is as good.
bool reaches(const Driver &driver, CUdevice from, CUdevice to, int size) {
  int can = 0, linked = 0;
  return driver.cuDeviceCanAccessPeer(&can, from, to) == CUDA_SUCCESS && can &&
         (size == 2 || (driver.cuDeviceGetP2PAttribute(&linked, CU_DEVICE_P2P_ATTRIBUTE_NATIVE_ATOMIC_SUPPORTED, from,
                                                       to) == CUDA_SUCCESS &&
                        linked));
}

/// Whether all have found the same good.
bool allAgree(Peers &peers, const char *name, bool mine) {
  char good = mine;
  std::vector<char> all(static_cast<size_t>(peers.size()));
  peers.allGather(name, &good, all.data(), 1);
  return std::find(all.begin(), all.end(), 0) == all.end();
}

bool threadsReach(std::span<const Context *const> places) {
  auto size = static_cast<int>(places.size());
  for (const Context *from : places)
    for (const Context *to : places)
      if (from != to && (!reaches(from->driver(), from->device(), to->device(), size) || !from->enableAccessTo(*to)))
        return false;
  return true;
}

/// The processes are on one machine, and see each other's GPUs.
bool processesReach(const Context &place, Peers &peers) {
  const Driver &driver = place.driver();
  place.enter();
  Card mine{};
  std::strncpy(mine.machine, machineName().c_str(), sizeof mine.machine - 1);
  bool good =
      *mine.machine && driver.cuDeviceGetPCIBusId(mine.bus, sizeof mine.bus - 1, place.device()) == CUDA_SUCCESS;
  std::vector<Card> cards(static_cast<size_t>(peers.size()));
  peers.allGather("the GPUs' places", &mine, cards.data(), sizeof mine);
  for (int rank = 0; rank < peers.size(); ++rank) {
    const Card &card = cards[static_cast<size_t>(rank)];
    CUdevice device = 0;
    if (rank != peers.rank())
      good = good && !std::strcmp(card.machine, mine.machine) &&
             driver.cuDeviceGetByPCIBusId(&device, card.bus) == CUDA_SUCCESS &&
             reaches(driver, place.device(), device, peers.size());
  }
  return allAgree(peers, "whether the GPUs reach each other", good);
}

/// Of a message, in bytes; 0: none goes this way.
size_t largestMessage() {
  return static_cast<size_t>(environment::number("CAAT_CUDA_PEERS", peerBytes / 2, {.most = peerBytes}));
}

} // namespace

std::unique_ptr<PeerMemory> PeerMemory::make(std::span<const Context *const> places, Peers *peers) {
  auto size = peers ? peers->size() : static_cast<int>(places.size());
  if (size == 1 || size > maxPeers || largestMessage() == 0)
    return nullptr;
  if (!(peers ? processesReach(*places[0], *peers) : threadsReach(places)))
    return nullptr;
  std::unique_ptr<PeerMemory> result(new PeerMemory(places, peers));
  if (peers && !result->open(*peers))
    result.reset();
  return result;
}

PeerMemory::PeerMemory(std::span<const Context *const> given, Peers *peers)
    : places(given.begin(), given.end()), size(peers ? peers->size() : static_cast<int>(given.size())),
      first(peers ? peers->rank() : 0), mostBlocks(rowBlocks) {
  most = largestMessage();
  onHost = places[0]->allocatePinned(sizeof(PeerRows) + 2 * sizeof(unsigned));
  pinned = new (onHost.get()) PeerRows{};
  words = reinterpret_cast<unsigned *>(pinned + 1);
  for (size_t i = 0; i < places.size(); ++i) {
    memory.push_back(places[i]->allocate(memoryBytes, "the memory for sums of small messages"));
    all.at[static_cast<size_t>(first) + i] = memory[i].get();
    mostBlocks = std::min<int64_t>(mostBlocks, places[i]->multiprocessors());
  }
  if (peers) { // the others' addresses are still missing
    std::vector<int64_t> counts(static_cast<size_t>(size));
    peers->allGather("the GPUs' sizes", &mostBlocks, counts.data(), sizeof mostBlocks);
    mostBlocks = *std::min_element(counts.begin(), counts.end());
  } else {
    reset();
  }
}

PeerMemory::~PeerMemory() {
  const Driver &driver = places[0]->driver();
  places[0]->enter();
  for (CUdeviceptr address : opened)
    driver.cuIpcCloseMemHandle(address);
}

void PeerMemory::reset() {
  words[0] = words[1] = 0; // nobody reads them now
  for (size_t i = 0; i < places.size(); ++i) {
    const Driver &driver = places[i]->driver();
    places[i]->enter();
    CUstream stream = nullptr;
    driver.check(driver.cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING), "a stream");
    driver.check(driver.cuMemsetD8Async(addressOf(memory[i].get()), 0, sizeof(PeerControl), stream), "flags");
    PeerRows &rows = *pinned = {};
    for (int rank = 0; rank < size; ++rank)
      rows.members[rank] = rowsOf(rank);
    rows.rank = first + static_cast<int>(i);
    rows.ranks = size;
    rows.stop = words;
    rows.differs = words + 1;
    driver.check(driver.cuMemcpyHtoDAsync_v2(addressOf(rowsOf(rows.rank)), pinned, sizeof rows, stream), "flags");
    driver.check(driver.cuStreamSynchronize(stream), "flags");
    driver.cuStreamDestroy_v2(stream);
  }
}

/// Everybody opens everybody's memory; all succeed, or nobody uses it.
bool PeerMemory::open(Peers &peers) {
  const Driver &driver = places[0]->driver();
  places[0]->enter();
  struct {
    CUipcMemHandle handle;
    int isThere;
  } mine{};
  mine.isThere = driver.cuIpcGetMemHandle(&mine.handle, addressOf(memory[0].get())) == CUDA_SUCCESS;
  std::vector<decltype(mine)> handles(static_cast<size_t>(size));
  peers.allGather("the GPUs' memory", &mine, handles.data(), sizeof mine);
  bool good = true;
  for (int rank = 0; rank < size; ++rank) {
    if (rank == first)
      continue;
    const auto &[handle, isThere] = handles[static_cast<size_t>(rank)];
    CUdeviceptr address = 0;
    good = good && isThere &&
           driver.cuIpcOpenMemHandle_v2(&address, handle, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS) == CUDA_SUCCESS;
    if (good)
      opened.push_back(address);
    all.at[rank] = reinterpret_cast<void *>(address);
  }
  if (good)
    reset(); // before anybody goes on
  return allAgree(peers, "whether the GPUs have opened each other's memory", good);
}

bool PeerMemory::takes(DType dtype, size_t bytes, const void *data) const {
  return kernelFor(dtype) && bytes > 0 && bytes <= static_cast<size_t>(peerBytes) && addressOf(data) % 16 == 0;
}

PeerMemory::Way PeerMemory::wayFor(DType dtype, size_t bytes, const void *data) const {
  if (!takes(dtype, bytes, data) || bytes > most)
    return Way::Library;
  // With one shot a rank reads (N - 1) messages, with two 2 (N - 1) / N, and waits twice.
  constexpr size_t mostRead = 512 << 10;
  return size == 2 || bytes * static_cast<size_t>(size - 1) <= mostRead ? Way::OneShot : Way::TwoShots;
}

PeerRows *PeerMemory::rowsOf(int rank) const {
  return reinterpret_cast<PeerRows *>(static_cast<std::byte *>(all.at[rank]) + sumBytes);
}

bool PeerMemory::takesRows(int64_t blocks, int64_t bytes) const {
  // A block reads slower than a whole kernel of sums does.
  constexpr int64_t mostRead = 64 << 10;
  return blocks <= mostBlocks && bytes <= rowBytes && bytes * (size - 1) <= mostRead;
}

PeerMemory::RowsArguments PeerMemory::rowsArguments(const CollectiveCall &call, size_t index) const {
  return {numberOf(call, 2), reinterpret_cast<int64_t>(rowsOf(first + static_cast<int>(index)))};
}

void PeerMemory::sum(const Exchange &x, size_t index, bool oneShot, CUstream stream) const {
  const Context &place = *places[index];
  PeerSumArguments arguments{all,      x.out,   static_cast<long long>(x.count), first + static_cast<int>(index),
                             size,     oneShot, numberOf(x.call, oneShot),       words,
                             words + 1};
  void *parameters[] = {&arguments};
  LaunchConfig config{peerBlocks, 1, 1, kernelThreads, 1, 1, 0, stream, nullptr, 0};
  const Driver &driver = place.driver();
  driver.check(driver.cuLaunchKernelEx(&config, place.own(kernelFor(x.call.dtype)), parameters, nullptr), "the sum '",
               x.call.name, "'");
}

void PeerMemory::stop() { std::atomic_ref(words[0]).store(1, std::memory_order_relaxed); }

} // namespace caat::runtime::cuda
