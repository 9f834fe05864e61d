// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// cuda/Warp.h and WarpGroup.h for the host: threads of a block, or of a cluster's two, are fibers, and what a warp does
// together is done when all are there.
#include "WarpEmulator.h"
#include "Execution/Fibers.h"
#include "cuda/WarpGroup.h"
#include <cmath>
#include <cstring>
#include <map>

using caat::test::FiberBlock;

namespace {

thread_local FiberBlock block; // or cluster
thread_local size_t blockThreads, blockShared;
thread_local std::vector<unsigned char> shared; // of its blocks, one behind the other

unsigned rankOfThread() { return static_cast<unsigned>(block.thread() / blockThreads); }

struct Copy {
  unsigned to;
  const void *from; // null: zeros
};
thread_local std::vector<std::vector<std::vector<Copy>>> copies; // of each thread, by groups, not done yet

struct Barrier {
  unsigned count = 0, arrived = 0, expected = 0, asked = 0, phase = 0;
  std::vector<std::function<void()>> copies = {}; // of this phase
};
thread_local std::map<std::pair<unsigned, unsigned>, Barrier> barriers; // by their blocks and addresses

unsigned char *at(unsigned address, size_t bytes, unsigned rank = rankOfThread()) {
  if (address % bytes != 0 || address + bytes > blockShared)
    FiberBlock::fail("an access beyond the shared memory, or not aligned");
  return shared.data() + rank * blockShared + address;
}

/// Where bytes of a tile lie that would otherwise be at `address`.
unsigned swizzled(unsigned address) { return address ^ (address >> 7 & 7) << 4; }

struct TileProduct {
  float *sums;
  unsigned long long a, b;
  bool keeps, isBFloat16;
};
/// What a thread has asked for that is not done yet; products by groups, of which the last one is not ended.
struct Asked {
  std::vector<std::vector<TileProduct>> products{{}};
  std::vector<std::function<void()>> stores;
};
thread_local std::vector<Asked> asked; // of each thread
struct Meeting {
  unsigned arrived = 0, times = 0;
};
thread_local std::map<std::pair<unsigned, int>, Meeting> meetings; // of groups, by their blocks and numbers

float widened(unsigned bits, caat::runtime::cuda::BFloat16Pair) {
  bits <<= 16;
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}
float widened(unsigned bits, caat::runtime::cuda::HalfPair) {
  auto narrow = static_cast<unsigned short>(bits);
  _Float16 x;
  std::memcpy(&x, &narrow, 2);
  return static_cast<float>(x);
}

unsigned rounded(float x, caat::runtime::cuda::BFloat16Pair) {
  unsigned bits;
  std::memcpy(&bits, &x, 4);
  return std::isnan(x) ? 0x7fff : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
unsigned rounded(float x, caat::runtime::cuda::HalfPair) {
  auto narrow = static_cast<_Float16>(x);
  unsigned short bits;
  std::memcpy(&bits, &narrow, 2);
  return bits;
}

struct Matrices {
  unsigned from, to[4];
};

template <bool Transposed> void exchangeMatrices(void *const *parts, size_t) {
  auto part = [&](unsigned i) -> Matrices & { return *static_cast<Matrices *>(parts[i]); };
  for (unsigned m = 0; m < 4; ++m) {
    unsigned short matrix[8][8];
    for (unsigned row = 0; row < 8; ++row)
      std::memcpy(matrix[row], at(part(m * 8 + row).from, 16), 16);
    for (unsigned i = 0; i < 32; ++i) {
      unsigned a = i / 4, b = i % 4 * 2;
      part(i).to[m] = Transposed ? matrix[b][a] | static_cast<unsigned>(matrix[b + 1][a]) << 16
                                 : matrix[a][b] | static_cast<unsigned>(matrix[a][b + 1]) << 16;
    }
  }
}

struct Product {
  float *sum;
  const unsigned *a;
  unsigned b[2];
};

/// Element [row, column] of 16x8 lies in thread 4 * (row % 8) + column / 2; of a, 16x16, in words by halves.
template <typename Pair> void exchangeProduct(void *const *parts, size_t) {
  auto part = [&](unsigned i) -> Product & { return *static_cast<Product *>(parts[i]); };
  auto half = [](unsigned word, unsigned i) { return widened(i ? word >> 16 : word & 0xffff, Pair()); };
  float a[16][16], b[16][8];
  for (unsigned i = 0; i < 32; ++i)
    for (unsigned h = 0; h < 2; ++h) {
      for (unsigned word = 0; word < 4; ++word)
        a[i / 4 + word % 2 * 8][i % 4 * 2 + h + word / 2 * 8] = half(part(i).a[word], h);
      for (unsigned word = 0; word < 2; ++word)
        b[i % 4 * 2 + h + word * 8][i / 4] = half(part(i).b[word], h);
    }
  for (unsigned i = 0; i < 32; ++i)
    for (unsigned n = 0; n < 4; ++n) {
      float sum = part(i).sum[n];
      for (unsigned k = 0; k < 16; ++k)
        sum += a[i / 4 + n / 2 * 8][k] * b[k][i % 4 * 2 + n % 2];
      part(i).sum[n] = sum;
    }
}

struct Shuffle {
  float value;
  unsigned offset;
};
void exchangeValues(void *const *parts, size_t threads) {
  float values[FiberBlock::kWarp];
  for (size_t i = 0; i < threads; ++i)
    values[i] = static_cast<Shuffle *>(parts[i])->value;
  for (size_t i = 0; i < threads; ++i)
    static_cast<Shuffle *>(parts[i])->value = values[i ^ static_cast<Shuffle *>(parts[i])->offset];
}

void exchangeVotes(void *const *parts, size_t threads) {
  bool any = false;
  for (size_t i = 0; i < threads; ++i)
    any = any || *static_cast<bool *>(parts[i]);
  for (size_t i = 0; i < threads; ++i)
    *static_cast<bool *>(parts[i]) = any;
}

} // namespace

/// `size` blocks at a time.
static void run(const std::function<void()> &body, unsigned count, size_t size, unsigned threads, size_t sharedBytes) {
  thread_local bool backwards = false;
  backwards = !backwards;
  blockThreads = threads;
  blockShared = sharedBytes;
  for (unsigned i = 0; i < count; ++i) {
    shared.assign(size * sharedBytes, 0xff); // NaN where nobody has written
    copies.assign(size * threads, {{}});
    asked.assign(size * threads, {});
    barriers.clear();
    meetings.clear();
    block.run(body, backwards ? count - 1 - i : i, size * threads);
    for (const auto &groups : copies)
      for (const auto &left : groups)
        if (!left.empty())
          FiberBlock::fail("a thread ends before its copies");
    for (const Asked &left : asked)
      if (!left.stores.empty() || left.products.size() > 1 || !left.products[0].empty())
        FiberBlock::fail("a thread ends before its products, or what it stores");
    for (const auto &[address, barrier] : barriers)
      if (!barrier.copies.empty())
        FiberBlock::fail("a block ends before its copies");
  }
}

void caat::test::runBlocks(const std::function<void()> &body, unsigned blocks, unsigned threads, size_t sharedBytes) {
  run(body, blocks, 1, threads, sharedBytes);
}

void caat::test::runClusters(const std::function<void()> &body, unsigned clusters, unsigned threads,
                             size_t sharedBytes) {
  run(body, clusters, 2, threads, sharedBytes);
}

namespace caat::runtime::cuda {

int threadNumber() { return static_cast<int>(block.thread() % blockThreads); }
int blockNumber() {
  auto blocks = static_cast<int64_t>(shared.size() / blockShared);
  return static_cast<int>(block.number() * blocks + rankOfThread());
}
void synchronizeBlock() { block.barrier(); }
void synchronizeWarp() { block.together(nullptr, nullptr); }

bool isLastToArrive(unsigned *arrived, unsigned blocks) {
  bool isLast = *arrived == blocks - 1;
  if (*arrived >= blocks)
    FiberBlock::fail("a counter that was not 0 again");
  *arrived = isLast ? 0 : *arrived + 1;
  return isLast;
}

unsigned sharedBase() { return 0; }

void storeShared(unsigned to, Bits128 x) { std::memcpy(at(to, 16), &x, 16); }
void storeShared(unsigned to, unsigned x) { std::memcpy(at(to, 4), &x, 4); }
void storeShared(unsigned to, float x, float y) {
  float both[2] = {x, y};
  std::memcpy(at(to, 8), both, 8);
}
FourFloats loadShared(unsigned from) {
  FourFloats x;
  std::memcpy(&x, at(from, 16), 16);
  return x;
}

TwoFloats loadSharedPair(unsigned from) {
  TwoFloats x;
  std::memcpy(&x, at(from, 8), 8);
  return x;
}

float loadSharedFloat(unsigned from) {
  float x;
  std::memcpy(&x, at(from, 4), 4);
  return x;
}

Bits128 loadOnce(const void *from, bool wanted) {
  if (wanted && reinterpret_cast<uintptr_t>(from) % 16 != 0)
    FiberBlock::fail("a load from a place that is not aligned");
  return wanted ? *static_cast<const Bits128 *>(from) : Bits128{};
}

/// It is done as late as it may be.
void copyToShared(unsigned to, const void *from, bool valid) {
  std::memset(at(to, 16), 0xff, 16);
  if (valid && reinterpret_cast<uintptr_t>(from) % 16 != 0)
    FiberBlock::fail("a copy from a place that is not aligned");
  copies[block.thread()].back().push_back({to, valid ? from : nullptr});
}

static void arrive(const std::vector<Copy> &group) {
  for (const Copy &copy : group)
    if (copy.from)
      std::memcpy(at(copy.to, 16), copy.from, 16);
    else
      std::memset(at(copy.to, 16), 0, 16);
}

void waitForCopies() {
  for (const auto &group : copies[block.thread()])
    arrive(group);
  copies[block.thread()].assign(1, {});
}
void endGroupOfCopies() { copies[block.thread()].emplace_back(); }
void waitForCopiesBut(int left) {
  auto &groups = copies[block.thread()]; // the last one is not ended
  auto done = static_cast<std::ptrdiff_t>(groups.size()) - 1 - left;
  for (std::ptrdiff_t i = 0; i < done; ++i)
    arrive(groups[static_cast<size_t>(i)]);
  if (done > 0)
    groups.erase(groups.begin(), groups.begin() + done);
}

static Barrier &barrierAt(unsigned address, unsigned rank = rankOfThread()) {
  auto found = barriers.find({rank, address});
  if (found == barriers.end())
    FiberBlock::fail("a barrier that nobody has made");
  return found->second;
}

void makeBarrier(unsigned address, unsigned count) {
  at(address, 8);
  if (!barriers.emplace(std::pair(rankOfThread(), address), Barrier{.count = count}).second)
    FiberBlock::fail("a barrier that is made twice");
}

/// Ends the phase where everything has come. Copies are done as late as they may be: when somebody waits for them.
static void settle(Barrier &barrier) {
  if (barrier.arrived < barrier.count || barrier.asked < barrier.expected)
    return;
  if (barrier.asked > barrier.expected)
    FiberBlock::fail("more bytes come to a barrier than it expects");
  for (const auto &copy : barrier.copies)
    copy();
  barrier = {.count = barrier.count, .phase = barrier.phase + 1};
}

static void arrive(Barrier &barrier, unsigned bytes) {
  if (barrier.arrived == barrier.count)
    FiberBlock::fail("more threads arrive at a barrier than it counts");
  ++barrier.arrived;
  barrier.expected += bytes;
  if (barrier.expected == 0)
    settle(barrier);
}
void arriveExpecting(unsigned address, unsigned bytes) { arrive(barrierAt(address), bytes); }
void arriveAt(unsigned address) { arrive(barrierAt(address), 0); }
void arriveAt(unsigned address, unsigned rank) { arrive(barrierAt(address, rank), 0); }

void waitForPhase(unsigned address, unsigned parity) {
  struct Wait {
    Barrier &barrier;
    unsigned parity;
  } part{barrierAt(address), parity};
  block.until(
      [](void *given) {
        const auto &wait = *static_cast<Wait *>(given);
        if (wait.barrier.phase % 2 == wait.parity)
          settle(wait.barrier);
        return wait.barrier.phase % 2 != wait.parity;
      },
      &part);
}

/// Until it is done, nobody reads what was there, or what will be.
void copyBulk(unsigned to, const void *from, unsigned bytes, unsigned address) {
  if (reinterpret_cast<uintptr_t>(from) % 16 != 0 || bytes % 16 != 0)
    FiberBlock::fail("a bulk copy from a place, or of a size, that is no multiple of 16 bytes");
  if (to + bytes > blockShared)
    FiberBlock::fail("a bulk copy beyond the shared memory");
  unsigned char *place = at(to, 16);
  std::memset(place, 0xff, bytes);
  Barrier &barrier = barrierAt(address);
  barrier.copies.push_back([=] { std::memcpy(place, from, bytes); });
  barrier.asked += bytes;
}

unsigned rankInCluster() { return rankOfThread(); }
void synchronizeCluster() { block.barrier(); }
void synchronizeGroup(int group) {
  Meeting &meeting = meetings[{rankOfThread(), group}];
  struct Wait {
    Meeting &meeting;
    unsigned times;
  } part{meeting, meeting.times};
  if (++meeting.arrived == groupThreads)
    meeting = {0, meeting.times + 1};
  block.until(
      [](void *given) {
        const auto &wait = *static_cast<Wait *>(given);
        return wait.meeting.times != wait.times;
      },
      &part);
}

static test::EmulatedMap decode(const TensorMap &map) {
  test::EmulatedMap result;
  std::memcpy(&result, &map, sizeof result);
  return result;
}

/// It is done as late as it may be; until then nobody reads what was there, or what will be.
static void copyTileTo(unsigned rank, unsigned to, const TensorMap &from, int row, int column, unsigned address) {
  test::EmulatedMap map = decode(from);
  unsigned rowBytes = map.boxColumns * 2, bytes = map.boxRows * rowBytes;
  if (!map.swizzles || rowBytes != 128 || to % 1024 != 0 || to + bytes > blockShared)
    FiberBlock::fail("a copy of a tile beyond the shared memory, not aligned, or not in the order of tiles");
  std::memset(at(to, 16, rank), 0xff, bytes);
  Barrier &barrier = barrierAt(address, rank);
  barrier.asked += bytes;
  barrier.copies.push_back([=] {
    for (unsigned i = 0; i < map.boxRows; ++i)
      for (unsigned j = 0; j < map.boxColumns; ++j) {
        uint64_t y = static_cast<unsigned>(row) + i, x = static_cast<unsigned>(column) + j;
        unsigned short element = 0;
        if (y < map.rows && x < map.columns)
          std::memcpy(&element, reinterpret_cast<const char *>(map.address) + y * map.pitch + x * 2, 2);
        std::memcpy(at(swizzled(to + i * rowBytes + j * 2), 2, rank), &element, 2);
      }
  });
}
void copyTile(unsigned to, const TensorMap &from, int row, int column, unsigned barrier) {
  copyTileTo(rankOfThread(), to, from, row, column, barrier);
}
void copyTileToBoth(unsigned to, const TensorMap &from, int row, int column, unsigned barrier) {
  for (unsigned rank : {0u, 1u})
    copyTileTo(rank, to, from, row, column, barrier);
}

void storeTile(const TensorMap &to, int row, int column, unsigned from) {
  test::EmulatedMap map = decode(to);
  unsigned rank = rankOfThread();
  asked[block.thread()].stores.push_back([=] {
    for (unsigned i = 0; i < map.boxRows; ++i)
      for (unsigned j = 0; j < map.boxColumns; ++j)
        if (uint64_t y = static_cast<unsigned>(row) + i, x = static_cast<unsigned>(column) + j;
            y < map.rows && x < map.columns)
          std::memcpy(reinterpret_cast<char *>(map.address) + y * map.pitch + x * 2,
                      at(from + (i * map.boxColumns + j) * 2, 2, rank), 2);
  });
}
void waitForStores() {
  for (const auto &store : asked[block.thread()].stores)
    store();
  asked[block.thread()].stores.clear();
}

unsigned long long describeTile(unsigned address) { return address / 16; }

void beginProducts(float (&)[groupSums]) {}
void endProducts(float (&)[groupSums]) { asked[block.thread()].products.emplace_back(); }

/// What this thread has of the group's product.
template <typename Pair> static void multiplyTile(const TileProduct &product, Pair type) {
  unsigned thread = static_cast<unsigned>(threadNumber()) % groupThreads, lane = thread % 32;
  auto element = [&](unsigned long long tile, unsigned row, unsigned k) {
    unsigned short bits;
    std::memcpy(&bits, at(swizzled(static_cast<unsigned>(tile) * 16 + row * 128 + k * 2), 2), 2);
    return widened(bits, type);
  };
  float a[2][16];
  for (unsigned h = 0; h < 2; ++h)
    for (unsigned k = 0; k < 16; ++k)
      a[h][k] = element(product.a, thread / 32 * 16 + lane / 4 + 8 * h, k);
  for (unsigned j = 0; j < groupColumns / 8; ++j)
    for (unsigned i = 0; i < 2; ++i) {
      float b[16];
      for (unsigned k = 0; k < 16; ++k)
        b[k] = element(product.b, 8 * j + 2 * (lane % 4) + i, k);
      for (unsigned h = 0; h < 2; ++h) {
        float &to = product.sums[4 * j + 2 * h + i], sum = product.keeps ? to : 0.0f;
        for (unsigned k = 0; k < 16; ++k)
          sum += a[h][k] * b[k];
        to = sum;
      }
    }
}

/// Those of products are computed as late as they may be.
void waitForProducts(int left) {
  auto &groups = asked[block.thread()].products;
  auto done = static_cast<std::ptrdiff_t>(groups.size()) - 1 - left;
  for (std::ptrdiff_t i = 0; i < done; ++i)
    for (const TileProduct &product : groups[static_cast<size_t>(i)])
      product.isBFloat16 ? multiplyTile(product, BFloat16Pair()) : multiplyTile(product, HalfPair());
  if (done > 0)
    groups.erase(groups.begin(), groups.begin() + done);
}

static void ask(float *sums, unsigned long long a, unsigned long long b, bool keeps, bool isBFloat16) {
  asked[block.thread()].products.back().push_back({sums, a, b, keeps, isBFloat16});
}
void multiplyTiles(float (&sums)[groupSums], unsigned long long a, unsigned long long b, bool keeps, BFloat16Pair) {
  ask(sums, a, b, keeps, true);
}
void multiplyTiles(float (&sums)[groupSums], unsigned long long a, unsigned long long b, bool keeps, HalfPair) {
  ask(sums, a, b, keeps, false);
}

void loadMatrices(unsigned (&to)[4], unsigned from) {
  Matrices part{from, {}};
  block.together(exchangeMatrices<false>, &part);
  std::copy_n(part.to, 4, to);
}
void loadTransposed(unsigned (&to)[4], unsigned from) {
  Matrices part{from, {}};
  block.together(exchangeMatrices<true>, &part);
  std::copy_n(part.to, 4, to);
}

void multiplyAdd(float (&sum)[4], const unsigned (&a)[4], unsigned b0, unsigned b1, BFloat16Pair) {
  Product part{sum, a, {b0, b1}};
  block.together(exchangeProduct<BFloat16Pair>, &part);
}
void multiplyAdd(float (&sum)[4], const unsigned (&a)[4], unsigned b0, unsigned b1, HalfPair) {
  Product part{sum, a, {b0, b1}};
  block.together(exchangeProduct<HalfPair>, &part);
}

template <typename Pair> static unsigned addHalves(unsigned x, unsigned y, Pair type) {
  return rounded(widened(x & 0xffff, type) + widened(y & 0xffff, type), type) |
         rounded(widened(x >> 16, type) + widened(y >> 16, type), type) << 16;
}
unsigned add(unsigned x, unsigned y, BFloat16Pair type) { return addHalves(x, y, type); }
unsigned add(unsigned x, unsigned y, HalfPair type) { return addHalves(x, y, type); }

unsigned selectBytes(unsigned x, unsigned y, unsigned which) {
  unsigned long long all = x | static_cast<unsigned long long>(y) << 32;
  unsigned result = 0;
  for (unsigned i = 0; i < 4; ++i)
    result |= static_cast<unsigned>(all >> (8 * (which >> (4 * i) & 7)) & 0xff) << (8 * i);
  return result;
}

float shuffleXor(float x, int offset) {
  Shuffle part{x, static_cast<unsigned>(offset)};
  block.together(exchangeValues, &part);
  return part.value;
}
bool anyInWarp(bool x) {
  block.together(exchangeVotes, &x);
  return x;
}

float exponential2(float x) { return std::exp2(x); }
float reciprocal(float x) { return 1 / x; }
float larger(float x, float y) { return std::fmax(x, y); }

unsigned pack(float low, float high, BFloat16Pair type) { return rounded(low, type) | rounded(high, type) << 16; }
unsigned pack(float low, float high, HalfPair type) { return rounded(low, type) | rounded(high, type) << 16; }

int opaque(int x) { return x; }

} // namespace caat::runtime::cuda
