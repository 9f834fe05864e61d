// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A rank's work on its way to the stream. Runs of a program ask for the same steps again and again, with other numbers
// (a position, a length): where the steps between two points at which the host waits were the same twice, they become a
// CUDA graph, and from then on are compared with it instead of being started one by one. A step that differs starts
// what was held back, and the rest, as if there were no graph.
//
// Exchanges are steps like others, with the rules of NCCL: whether one is part of a graph must be the same on all
// ranks, and all start the graphs that they have captured together. Nobody is asked for that: ranks run the same
// program with the same sizes, so their steps differ, or memory is allocated anew, on all ranks or on none; that a
// capture went well they tell each other, and who starts a graph that others do not is noticed as with any other
// collective.
#ifndef CAAT_RUNTIME_CUDA_QUEUE_H
#define CAAT_RUNTIME_CUDA_QUEUE_H

#include "CudnnAttention.h"
#include "Products.h"
#include "caat/runtime/Communicator.h"
#include <string_view>

namespace caat::runtime::cuda {

/// What ranks do together: a call of NCCL, the sends and receives of a group, or a sum over memory that they share, by
/// a kernel of its own or one of the program's.
struct Exchange {
  enum class Kind { AllReduce, AllGather, ReduceScatter, Broadcast, Points, PeersOneShot, PeersTwoShots, InKernel };
  Kind kind = Kind::AllReduce;
  CollectiveCall call = {}; // that it belongs to
  const void *in = nullptr;
  void *out = nullptr;
  size_t count = 0;
  int type = 0, root = 0;
  struct Point {
    bool sends;
    void *data;
    size_t bytes;
    int peer;
    bool operator==(const Point &) const = default;
  };
  std::vector<Point> points = {};
  bool operator==(const Exchange &other) const;
};

/// A call that stands for those of a graph, and differs where they do.
CollectiveCall wholeOf(const std::vector<const Exchange *> &all);

/// Who carries exchanges out, and watches them.
class Exchanges {
public:
  virtual ~Exchanges() = default;
  /// Around each that is not part of a graph.
  virtual void begin(const Exchange &exchange, CUstream stream) = 0;
  virtual void end(CUstream stream) = 0;
  /// Asks for it, maybe on a stream that is captured.
  virtual void ask(const Exchange &exchange, CUstream stream) = 0;
  /// Whether something has gone well on all ranks.
  virtual bool agree(bool good) = 0;
  /// Around the start of a graph with these.
  virtual void beginGraph(const std::vector<const Exchange *> &all, CUstream stream) = 0;
  virtual void endGraph(CUstream stream) = 0;
};

/// A kernel, a product, a call of cuDNN, a copy, or an exchange with other ranks.
struct Step {
  enum class Kind { Kernel, Product, Fused, Copy, Exchange };
  Kind kind = Kind::Kernel;
  std::string_view name; // lives as long as the program
  // Kernel: its parameters one behind the other, and where each begins.
  CUfunction function = nullptr;
  unsigned blocks = 0, threads = 0, shared = 0, cluster = 1; // so many blocks are a cluster
  bool isDependent = false; // it waits itself for what came before, and may start earlier
  std::vector<std::byte> parameters;
  std::vector<size_t> offsets;
  // Product.
  Gemm gemm = {};
  // Fused.
  FusedCall fused = {};
  // Copy.
  CUdeviceptr to = 0, from = 0;
  size_t bytes = 0;
  // Exchange, and a kernel that begins with one.
  struct Exchange exchange = {};
  bool meetsOthers() const { return kind == Kind::Exchange || exchange.kind == Exchange::Kind::InKernel; }

  void addParameter(const void *value, size_t size);
  bool operator==(const Step &other) const;
  /// The same but for what a graph can change: a kernel's parameters and blocks.
  bool hasShapeOf(const Step &other) const;
};

class Queue {
public:
  Queue(const Context &context, Products &products) : context(context), products(products) {}
  ~Queue() { clear(); }
  /// Forgets all steps and graphs.
  void clear();
  /// Without graphs each step is started at once. `checks`: and waited for.
  void start(CUstream stream, bool graphs, bool checks);
  /// Who carries out exchanges from now on. Graphs with some of before are thrown away.
  void setExchanges(Exchanges *exchanges);
  /// Memory was allocated: graphs with exchanges are made anew, on all ranks alike, whatever addresses each has got.
  void memoryChanged() { ++generation; }

  /// Begins a run: what follows is compared with the run before. What a failed run has left is forgotten.
  void beginRun();
  void add(Step &&step);
  /// An empty one, with the memory of the last that was compared with a graph, so that it need not allocate.
  Step newStep();
  /// Starts a kernel on another stream, beside the steps of this queue.
  void startOn(CUstream other, const Step &kernel);
  /// Starts what was held back. Whatever else goes to the stream, or waits for it, comes after this.
  void flush();
  /// Grows with everything that was asked for.
  uint64_t asked() const { return asked_; }
  /// Graphs that were started.
  int64_t graphs() const { return graphs_; }
  /// What was started last, for messages.
  std::string_view last() const { return last_; }

private:
  /// Steps between two calls of flush(); the first ones of them are a segment of their own.
  struct Segment {
    std::vector<Step> steps;                   // of the last run
    std::vector<std::vector<void *>> pointers; // to their parameters, as a graph wants them
    std::vector<CUgraphNode> nodes;            // of kernels
    CUgraph graph = nullptr;
    CUgraphExec exec = nullptr;
    std::vector<const Exchange *> exchanges; // of `steps`, where there is a graph
    uint64_t generation = 0;                 // of the memory, when they were recorded
    int broken = 0, useful = 0;              // how often the graph was of no use, and was since then
  };
  enum class Mode { Idle, Record, Replay };

  void launch(const Step &kernel, CUstream where);
  void execute(const Step &step);
  bool endsFirstSteps(const Step &step) const;
  void endSegment();
  bool wantsCapture(const Segment &segment) const;
  void capture(Segment &segment);
  void forget(Segment &segment);
  void leaveReplay();

  const Context &context;
  Products &products;
  Exchanges *exchanges = nullptr;
  uint64_t generation = 0;
  CUstream stream = nullptr;
  bool makesGraphs = false, checks = false, isCapturing = false;
  Mode mode = Mode::Idle;
  size_t segment = 0, position = 0;
  bool isFirst = true, metOthers = false; // of this segment: begins where the host waited; has exchanges
  std::vector<Segment> segments;
  std::vector<Step> recorded;
  std::vector<std::byte> spareParameters; // empty, for newStep()
  std::vector<size_t> spareOffsets;
  std::vector<size_t> changed; // steps of the graph
  std::string_view last_;
  uint64_t asked_ = 0;
  int64_t graphs_ = 0;
};

} // namespace caat::runtime::cuda

#endif
