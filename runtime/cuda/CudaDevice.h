// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A rank on a GPU: its stream, on which all its work goes in order, and its memory.
#ifndef CAAT_RUNTIME_CUDA_CUDADEVICE_H
#define CAAT_RUNTIME_CUDA_CUDADEVICE_H

#include "BlockWeights.h"
#include "Context.h"
#include "FusedAttention.h"
#include "Kernels.h"
#include "Queue.h"
#include "Staging.h"
#include "caat/runtime/Device.h"
#include "caat/runtime/Environment.h"
#include <unordered_map>

namespace caat::runtime::cuda {

struct AttentionArguments;

EpilogueOf forKernel(const Epilogue &epilogue);
/// Of a parameter as it lies in the device's memory.
size_t deviceBytes(const ParameterSpec &spec);

class CudaDevice final : public Device {
public:
  using Progress = std::function<void(const std::string &)>;
  CudaDevice(const Program &program, std::shared_ptr<Context> context, std::shared_ptr<const CublasLt> library,
             std::shared_ptr<ProductTimes> times, Progress progress);
  ~CudaDevice() override;

  void attach() override;
  void onCaller(const std::function<void()> &work) override;
  std::shared_ptr<std::byte> allocate(size_t bytes, const std::string &what) override;
  bool isHost() const override { return false; }
  void storeElement(void *to, DType dtype, int64_t bits) override;
  bool check(const void *condition, int64_t number) override;
  std::optional<int64_t> failedCheck() const override;
  void upload(void *to, const void *from, size_t bytes) override;
  void download(void *to, const void *from, size_t bytes) override;
  void copy(void *to, const void *from, size_t bytes) override;
  std::vector<void *> load(std::span<const HostParameter> parameters) override;
  size_t travellingBytes(size_t parameter) const override { return travelling[parameter].bytes; }
  void fillTravelling(size_t parameter, std::byte *to) override;
  void moveTravelling(size_t parameter, const std::byte *to) override { weights[parameter].data = to; }
  size_t productBytes() const override { return linearBytes; }
  void launch(const KernelLaunch &launch) override;
  void linear(const Linear &linear) override;
  bool useTimedAlgorithms(bool timed) override {
    products.takesFastest = timed;
    return products.timesAny();
  }
  void matmul(const MatMul &matmul) override;
  void attention(const Attention &attention) override;
  std::string attentionInfo() const override { return fused.info(); }
  AskedCandidates askBest(const float *first, int64_t rows, int64_t pitch, std::span<const ShardRun> runs,
                          int64_t count) override;
  void read(const void *from, size_t bytes) override;
  void beginRun() override;
  int64_t graphs() const override { return queue.graphs(); }
  void synchronize() override;
  Moment now() override { return nowOn(stream_); }
  /// Of what was asked of another stream so far.
  Moment nowOn(CUstream other);
  std::chrono::steady_clock::time_point timeOf(const Moment &moment) override;
  void setTiming(bool enabled) override;

  // For communicators.
  const LaunchSpec &specOf(size_t kernel) const { return program.manifest().launches[kernel]; }
  /// What sum a kernel of the program begins with, if it does so in this runtime's way.
  const std::optional<RowSum> &sumOf(size_t kernel) const;
  /// launch() of such a kernel: its blocks meet those of other ranks. `more` are its last parameters.
  void launchSumming(const KernelLaunch &launch, Exchange sum, std::span<const int64_t> more);
  int64_t blocksOf(const KernelLaunch &launch) const;
  /// Waits for all work so far, whatever has become of it.
  void settle() {
    context->enter();
    driver().cuStreamSynchronize(stream_);
  }
  const Driver &driver() const { return context->driver(); }
  const Context &place() const { return *context; }
  /// What was asked for so far is under way, before anything else goes to the stream.
  CUstream stream() {
    queue.flush();
    return stream_;
  }
  /// One of the runtime's own kernels, over `blocks` blocks; `arguments` is its only one. `waits`: itself, for those
  /// before it.
  template <typename Arguments>
  void launchOwn(const char *name, int64_t blocks, Arguments arguments, bool waits = false) {
    Step step = ownStep(name, blocks);
    step.addParameter(&arguments, sizeof arguments);
    step.isDependent = waits;
    if (blocks > 0)
      queue.add(std::move(step));
  }
  /// The same on another stream, at once.
  template <typename Arguments>
  void launchOwnOn(CUstream other, const char *name, int64_t blocks, Arguments arguments) {
    Step step = ownStep(name, blocks);
    step.addParameter(&arguments, sizeof arguments);
    if (blocks > 0)
      queue.startOn(other, step);
  }
  /// What ranks do together, by who was named for that.
  void exchange(Exchange exchange);
  void setExchanges(Exchanges *exchanges) { queue.setExchanges(exchanges); }
  /// The blocks that a grid-stride kernel over `count` elements gets.
  static int64_t blocksFor(int64_t count);

private:
  struct Weight {
    std::string_view name; // lives as long as the program
    const std::byte *data = nullptr;
    int64_t k = 0, n = 0;
    bool transposed = false;
    DType dtype = DType::F32;
    CUfunction stream = nullptr; // multiplies a few rows, on devices that have it
    // Where `data` is in blocks of few bits: how, the kernel for a few rows, and the one that makes floats.
    std::optional<BlockWeight> blocks = {};
    CUfunction readRows = nullptr, unpack = nullptr;
  };

  Step kernelStep(const KernelLaunch &launch, std::span<const int64_t> more);
  Step ownStep(const char *name, int64_t blocks);
  void multiply(const Gemm &gemm, std::string_view name);
  void multiplyRounded(const Weight &weight, const Linear &linear);
  void multiplyThenGate(const Weight &weight, const Linear &linear);
  bool multiplyGated(const Weight &weight, const Linear &linear);
  bool multiplyFewRows(const Weight &weight, const Linear &linear);
  void multiply(const Weight &weight, const Linear &linear, int64_t pitch);
  bool readsCodes(const Weight &weight, const Linear &linear) const;
  void multiplyCodes(const Weight &weight, const Linear &linear);
  void multiplyUnpacked(const Weight &weight, const Linear &linear);
  const void *roundRows(const Weight &weight, const Linear &linear);
  void uploadWhole(std::byte *to, const std::byte *data, size_t bytes, const std::function<void(size_t)> &done);
  void uploadTurned(std::byte *to, const std::byte *data, int64_t k, int64_t n);
  int64_t rowsAtOnce(const BlockWeight &weight, DType dtype) const;
  void addBlocks(Weight &weight, const ParameterSpec &spec, std::byte *to);
  void uploadBlocks(const ParameterSpec &spec, std::byte *to, const std::byte *data);
  void makeUpBlocks(const ParameterSpec &spec, std::byte *to, uint32_t seed);
  void fallBack(const MatMul &matmul);
  std::shared_ptr<std::byte> pinnedFor(size_t bytes);
  struct HeadRows;
  void attendOwn(const Attention &attention, int size, bool few);
  void attendFew(const AttentionArguments &arguments, DType via, int size);
  bool attendFused(const Attention &attention, const FusedAttention::Choice &choice, int size);
  std::string compareFused(const Attention &attention, const FusedCall &call, int size);
  HeadRows narrow(const HeadRows &rows, DType type, DType via, const Attention &attention, std::byte *to);
  void makeUp(const ParameterSpec &spec, std::byte *to, size_t bytes, uint32_t seed);

  /// Of a block; 0: cuBLASLt does these products too.
  unsigned fewRowsThreads = static_cast<unsigned>(environment::number("CAAT_CUDA_FEW_ROWS", 256, {0, 512, 32}));
  /// Of what a gated product of many rows computes, so many percent must be of its result.
  int64_t leastGatedShare = environment::number("CAAT_CUDA_GATED_ROWS", 85);
  /// A weight of 16 bits streams through products of few rows, on devices that can.
  bool streamsRows = environment::isOn("CAAT_CUDA_STREAM_ROWS", true);
  /// cuBLASLt does what it can of a product's epilogue.
  bool libraryEpilogues = environment::isOn("CAAT_CUDA_EPILOGUES", true);
  bool makesGraphs = environment::isOn("CAAT_CUDA_GRAPHS", true);
  bool checksSteps = environment::isOn("CAAT_CUDA_CHECK", false); // waits for each
  const Program &program;
  std::shared_ptr<Context> context;
  Progress progress;
  CUstream stream_ = nullptr;
  Products products;
  Staging staging;
  std::vector<std::pair<std::shared_ptr<std::byte>, size_t>> answers; // pinned memory, and its bytes
  std::shared_ptr<std::byte> failed; // pinned, an unsigned: 1 + the number of the first condition that did not hold
  std::vector<std::shared_ptr<std::byte>> memory; // of parameters
  std::vector<Weight> weights;                    // by parameter
  std::vector<HostParameter> travelling;          // by parameter, where it is one
  size_t linearBytes = 0;
  bool isNarrow = false; // a model of at most 10 bits of mantissa: its other products need no more than TF32's
  DeviceBuffer rounded, halves, scratch, unpacked, candidates, narrowed, attentionParts, attentionArrivals,
      fusedWorkspace;
  /// Bytes of them at most: large enough for a product's rows to keep all multiprocessors busy, and no more, as nothing
  /// else has that memory. And what the program's products need of that.
  int64_t mostUnpacked = environment::number("CAAT_CUDA_UNPACKED", 64 << 20);
  size_t unpackedBytes = 0;
  /// What `unpacked` holds: of which weight in blocks, from which row on.
  std::pair<const void *, int64_t> unpackedPlace;
  /// Attention of few tokens has a kernel of its own.
  bool attendsFew = environment::isOn("CAAT_CUDA_FEW_TOKENS", true);
  /// What `rounded` holds: rows of x in this type (f32: in parts), as long as nothing was asked for since.
  struct RoundedRows {
    const void *x = nullptr;
    DType dtype = DType::F32;
    int64_t m = 0, k = 0;
    uint64_t until = 0;
    bool operator==(const RoundedRows &) const = default;
  } roundedRows;
  FusedAttention fused;
  std::unordered_map<const char *, CUfunction> ownKernels; // that were asked for, by the text's address
  Queue queue;

  // Moments.
  bool timing = false;
  std::vector<CUevent> events;
  size_t used = 0;
  CUevent base = nullptr;
  std::chrono::steady_clock::time_point baseTime;
};

} // namespace caat::runtime::cuda

#endif
