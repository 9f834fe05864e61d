// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A stand-in for CUDA's driver, cuBLASLt and NCCL, for machines without a GPU. Its device memory is the host's; what is
// asked for is done at once, in the order of the calls. It checks that every access lies inside an allocation, and that
// two accesses to the same bytes, one of them a write, are ordered by streams and events: what is done at once here may
// be done at any time on a GPU. The first fault is printed, and every later call fails.
//
// The program's kernels are those of the same program compiled for the CPU, CAAT_DOUBLE_CODE, or do nothing; with
// CAAT_DOUBLE_EMULATED=1 they are the GPU's, thread by thread. More variables make it another machine:
// CAAT_DOUBLE_DRIVER_VERSION, _DEVICES, _LINKED (devices that reach each other), _PROCESSORS (of a device), _MEMORY,
// _SM, _LT_VERSION, _NCCL_VERSION; and CAAT_DOUBLE_FORGET_WAIT=N leaves out the N-th wait for an event, and
// CAAT_DOUBLE_FORGET_PEERS=1 all waiting for other ranks' kernels, to see that it is found; with
// CAAT_DOUBLE_REFUSE_ZEROS=1 products of rows that are mostly zeros, or not finite, fail.
#ifndef CAAT_TEST_CUDA_DOUBLE_H
#define CAAT_TEST_CUDA_DOUBLE_H

#include "cuda/Api.h"
#include "cuda/Kernels.h"
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#define CAAT_EXPORT extern "C" __attribute__((visibility("default")))

namespace caat::test {

/// For each stream, by its number, how many of its operations have happened before.
using Clock = std::vector<uint64_t>;

/// What a stream that is captured would do. The nodes follow each other.
struct Stream;
struct Graph {
  struct Node {
    std::function<int()> run;
    Stream *stream;
    bool meets = false; // other ranks, so that the lock must be free
  };
  std::vector<std::unique_ptr<Node>> nodes;
};

struct Stream {
  size_t number;
  Clock clock;
  std::unique_ptr<Graph> capturing = nullptr;
  Graph::Node *latest = nullptr;

  /// Does it now, or when the graph runs that is being captured.
  int submit(std::function<int()> run, bool meets = false) {
    if (!capturing)
      return run();
    latest = capturing->nodes.emplace_back(new Graph::Node{std::move(run), this, meets}).get();
    return 0;
  }
};

struct Event {
  bool recorded = false;
  Clock clock;
  std::chrono::steady_clock::time_point time = {};
};

struct Access {
  uint64_t begin, end;
  bool writes;
};

class Double {
public:
  static Double &get();

  std::recursive_mutex mutex;

  // Memory.
  void *allocate(size_t bytes, bool pinned);
  bool release(void *memory, bool pinned);
  /// The name of memory that other processes of the folder CAAT_DOUBLE_SHARED can open; empty where there is none.
  std::string share(void *memory) const;
  void *openShared(const std::string &name) const;
  size_t freeBytes() const { return memoryBytes - used; }
  size_t memoryBytes;
  bool isDevice(uint64_t address) const;

  // Streams. Each returns false after a fault.

  /// An operation on a stream: checks what it reads and writes.
  bool operate(Stream &stream, const std::string &what, const std::vector<Access> &accesses);
  void record(Event &event, Stream &stream);
  bool wait(Stream &stream, const Event &event);
  /// The calling thread knows what has happened there.
  void join(const Clock &clock);
  /// What the calling thread knows has happened before what is asked for now.
  void order(Stream &stream);

  Stream *makeStream();
  bool fault(const std::string &text);
  bool failed = false;
  /// That ran, of the sums those over memory of several ranks; CAAT_DOUBLE_COUNT=1 prints them.
  int64_t graphs = 0, sums = 0, sumsInKernels = 0;
  /// CAAT_DOUBLE_LOG=FILE: every operation at the end, as "STREAM<tab>CLOCK<tab>NAME".
  void writeLog(const char *path) const;

  static int64_t number(const char *variable, int64_t otherwise);

private:
  Double();
  struct Block {
    size_t bytes;
    bool pinned;
    std::string name = {}; // of the file that holds it
    struct Past {
      Access access;
      size_t stream;
      uint64_t time;
      std::string what;
    };
    std::vector<Past> past; // accesses that later ones must be ordered with
  };
  bool check(Stream &stream, const std::string &what, const Access &access);

  std::map<uint64_t, Block> blocks; // by address
  struct Operation {
    size_t stream;
    Clock clock;
    std::string what;
  };
  std::vector<Operation> log;
  bool logs = false;
  size_t used = 0, streams = 0, shared = 0; // shared: files so far
  int64_t waits = 0, forgotten;
};

/// The accesses of one of the runtime's own kernels, and the kernel itself on the host; false where there is none.
bool runAttention(const std::string &name, unsigned blocks, void **arguments, std::vector<Access> &accesses, bool run);
void addAccesses(const caat::runtime::cuda::FewRowsArguments &product, std::vector<Access> &accesses);
bool runStreamRows(const std::string &name, void **arguments, std::vector<Access> &accesses, bool run);
bool runGatedRows(const std::string &name, void **arguments, std::vector<Access> &accesses, bool run);
bool runBlockRows(const std::string &name, unsigned blocks, void **arguments, std::vector<Access> &accesses, bool run);
bool runOwnKernel(const std::string &name, unsigned blocks, void **arguments, std::vector<Access> &accesses, bool run);

} // namespace caat::test

#endif
