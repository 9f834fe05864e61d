// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Where programs run: memory, kernels and products of one rank (Device), and what makes the ranks' devices and connects
// them (Backend). The CPU's are in this library; others are plugins, loaded when an artifact asks for them.
#ifndef CAAT_RUNTIME_DEVICE_H
#define CAAT_RUNTIME_DEVICE_H

#include "caat/runtime/Abi.h"
#include "caat/runtime/Attention.h"
#include "caat/runtime/Communicator.h"
#include "caat/runtime/Program.h"
#include <functional>
#include <limits>
#include <span>

namespace caat::runtime {

class Peers;

/// c = alpha * a * b + beta * c for each of the batch; strides in elements, c's column stride is 1.
struct MatMul {
  DType dtype; // of a, b and c; where it is bf16, c is f32
  int64_t batch, m, n, k;
  const void *a;
  int64_t aBatch, aRow, aCol;
  const void *b;
  int64_t bBatch, bRow, bCol;
  void *c;
  int64_t cBatch, cRow;
  float alpha, beta;
};

/// What a product does to its elements before they are stored: f(x + bias).
struct Epilogue {
  const void *bias = nullptr;  // one element for each column, or null
  DType biasType = DType::F32; // f32, or the type of the result
  caat_activation activation = CAAT_UNCHANGED;
  float alpha = 1; // of swish
  explicit operator bool() const { return bias || activation != CAAT_UNCHANGED; }
  bool operator==(const Epilogue &) const = default;
};

/// y[m, N] = f(x[m, K] * W + bias) with linear parameter `parameter`, or f(y + x * W + bias); x and y are f32, bf16 or
/// f16, sums f32. With a gate y is [m, N / 2]: f of the half of x * W + bias that is the gate, times the other half;
/// then nothing is accumulated.
struct Linear {
  size_t parameter;
  const void *x;
  DType xType;
  int64_t m;
  void *y;
  DType yType;
  bool accumulate = false;
  Epilogue epilogue = {};
  caat_gate gate = CAAT_UNGATED;
};

/// A parameter as the file has it; without `data` the device makes numbers up. `taken`, where not empty, is called when
/// the device has its own copy.
struct HostParameter {
  const ParameterSpec *spec;
  const std::byte *data;
  size_t bytes;
  std::function<void()> taken;
  uint32_t seed = 0;
};

/// What made-up numbers of a parameter are: offset + uniform in [-scale, scale), so that the sizes of activations stay
/// what they are. Zeros for what is no float.
struct MadeUp {
  float scale = 0, offset = 0;
  explicit MadeUp(const ParameterSpec &spec);
};
/// The numbers of one: a parameter of the host.
Tensor madeUp(const ParameterSpec &spec, uint32_t seed);

/// The best logit among some: of equal ones that of the lowest token.
struct Candidate {
  float logit;
  int32_t notFinite; // whether any of them is NaN or infinite
  int64_t token;
};
inline constexpr Candidate noCandidate{-std::numeric_limits<float>::infinity(), 0, INT64_MAX};
Candidate better(const Candidate &a, const Candidate &b);
/// Whether `a` comes before `b`.
bool isBefore(const Candidate &a, const Candidate &b);
/// Puts the best `count` first, in their order, and drops the others; the first of them keeps what is known of all.
void keepBest(std::vector<Candidate> &candidates, size_t count);

/// Gives, once and after synchronize(), what a device was asked for.
using AskedCandidates = std::function<std::vector<Candidate>()>;

/// The memory and the work of one rank. Its members are called by that rank's threads, one at a time. Pointers are into
/// the device's memory unless said otherwise; what a member asks for is done in the order of the calls, but maybe
/// later. All throw Error (Run).
class Device {
public:
  virtual ~Device() = default;

  /// Called on each of the rank's threads, before all others.
  virtual void attach() {}
  /// Does `work` of the rank on a thread that belongs to somebody else, who finds it as it was.
  virtual void onCaller(const std::function<void()> &work) { work(); }

  /// Zeros, aligned to 64 bytes; `what` is for messages.
  virtual std::shared_ptr<std::byte> allocate(size_t bytes, const std::string &what) = 0;
  /// Whether the host may read and write the memory as its own.
  virtual bool isHost() const = 0;
  /// From the host's memory, which may be changed after the call.
  virtual void upload(void *to, const void *from, size_t bytes) = 0;
  /// To the host's memory, after all work so far.
  virtual void download(void *to, const void *from, size_t bytes) = 0;
  /// The places may overlap.
  virtual void copy(void *to, const void *from, size_t bytes) = 0;
  /// The bits of an element, filled up with zeros, after all work so far.
  int64_t loadElement(const void *from, DType dtype);
  virtual void storeElement(void *to, DType dtype, int64_t bits);
  /// A condition that the program numbers: one byte. False where it does not hold. A device may look at it later, when
  /// it has done all work so far; then this is true, and failedCheck() tells after synchronize().
  virtual bool check(const void *condition, int64_t number) { return loadElement(condition, DType::Bool) != 0; }
  /// The first of the conditions since beginRun() that did not hold, of those that were looked at later.
  virtual std::optional<int64_t> failedCheck() const { return std::nullopt; }

  /// Takes the program's parameters, once. Returns where kernels find each; nothing for those that travel.
  virtual std::vector<void *> load(std::span<const HostParameter> parameters) = 0;

  // Parameters that travel round the ranks (ParameterSpec::rotation): they lie in memory that others have allocated.
  // What load() was given of them is kept by the caller.

  /// Bytes of one, as products and kernels read it.
  virtual size_t travellingBytes(size_t parameter) const = 0;
  /// Writes this rank's own slice.
  virtual void fillTravelling(size_t parameter, std::byte *to) = 0;
  /// Products read another rank's slice, written by that rank's fillTravelling(), from now on.
  virtual void moveTravelling(size_t parameter, const std::byte *to) = 0;

  /// Bytes of the weights that products read in one step.
  virtual size_t productBytes() const = 0;

  virtual void launch(const KernelLaunch &launch) = 0;
  virtual void linear(const Linear &linear) = 0;
  /// Whether products take the algorithms that were timed, as in the beginning, or those that were proposed first.
  /// False where there is no choice.
  virtual bool useTimedAlgorithms(bool timed) { return false; }
  virtual void matmul(const MatMul &matmul) = 0;
  virtual void attention(const Attention &attention) = 0;
  /// Who has computed attention so far, where there is a choice, for people.
  virtual std::string attentionInfo() const { return {}; }

  /// Asks for the best `count` of each row, from the best on, filled up with noCandidate: `rows` rows that begin
  /// `pitch` elements apart, whose elements are the runs' tokens. Where anything in a row is not finite, its first
  /// candidate says so.
  virtual AskedCandidates askBest(const float *first, int64_t rows, int64_t pitch, std::span<const ShardRun> runs,
                                  int64_t count);

  /// Reads memory and does nothing with it, to measure how fast that is at most: of `bytes`, a multiple of 32 KiB.
  virtual void read(const void *from, size_t bytes) = 0;

  /// Begins a run of the program: of what is the same in every run, a device may keep more than the results.
  virtual void beginRun() {}
  /// Graphs that were started so far, instead of steps one by one.
  virtual int64_t graphs() const { return 0; }
  /// Waits for all work so far.
  virtual void synchronize() = 0;

  /// Of the work asked for so far.
  virtual Moment now() { return {std::chrono::steady_clock::now(), nullptr}; }
  /// When it was, after synchronize(); the moment is given back.
  virtual std::chrono::steady_clock::time_point timeOf(const Moment &moment) { return moment.time; }
  /// Asks for moments of the device's own work, which cost some time.
  virtual void setTiming(bool enabled) {}
};

/// Memory of a device that grows as it is asked for; what was in it is lost then.
class DeviceBuffer {
public:
  std::byte *reserve(Device &device, size_t bytes, const std::string &what);
  std::byte *data() const { return memory.get(); }

private:
  std::shared_ptr<std::byte> memory;
  size_t size = 0;
};

/// `array`, in the device's memory, as the host reads it: itself, or a copy.
Tensor onHost(Device &device, const Tensor &array);

struct BackendOptions {
  int ranks = 1;
  int threadsPerRank = 1;
  std::vector<int> devices; // numbers of the devices; rank r runs on devices[r % size]. Empty: the first one
  CommunicatorOptions communicator;
  std::function<void(const std::string &)> progress; // of loading; may be empty, called by the first rank's thread
  std::shared_ptr<Peers> peers = {}; // where this process runs one rank, and others the others; `ranks` is 1 then
};

/// Makes what the ranks of a process need. Outlives what it has made.
class Backend {
public:
  virtual ~Backend() = default;
  virtual std::unique_ptr<Device> makeDevice(int rank) = 0;
  /// `devices` by rank. Outlived by them.
  /// Ranks are numbered as `devices` there.
  virtual std::unique_ptr<RankGroup> makeGroup(std::span<Device *const> devices) = 0;
};

/// For the device that the program was compiled for. Throws Error (Run) where that is not at hand, (Artifact) where the
/// device cannot do what the program needs.
std::unique_ptr<Backend> makeBackend(const Program &program, const BackendOptions &options);

} // namespace caat::runtime

#endif
