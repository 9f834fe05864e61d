// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A GPU as all ranks on it share it: its context, its memory, the program's kernels and the runtime's own.
#ifndef CAAT_RUNTIME_CUDA_CONTEXT_H
#define CAAT_RUNTIME_CUDA_CONTEXT_H

#include "Api.h"
#include "caat/runtime/Program.h"
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

namespace caat::runtime::cuda {

inline CUdeviceptr addressOf(const void *pointer) { return reinterpret_cast<CUdeviceptr>(pointer); }

/// "1.50 GB", "20.0 kB"
std::string sizeText(size_t bytes);

/// PTX that is loaded when something of it is needed.
struct OwnModule {
  const char *ptx;
};

class Context {
public:
  /// Makes the context of device `number`. Throws Error (Run).
  Context(std::shared_ptr<const Driver> driver, int number);
  ~Context();
  Context(const Context &) = delete;

  /// Makes it the calling thread's.
  void enter() const;
  /// Makes it the calling thread's for as long as this lives; then that has again what it had.
  class Guest {
  public:
    explicit Guest(const Context &context);
    ~Guest();
    Guest(const Guest &) = delete;

  private:
    const Context &context;
  };
  /// Loads the kernels of a program and the runtime's own, once. Throws Error (Artifact) where there are none for this
  /// GPU.
  void loadKernels(const Program &program);

  CUfunction kernel(size_t index) const { return kernels[index]; } // of the program
  /// The runtime's own.
  CUfunction own(const std::string &name) const;
  /// The runtime's kernel for attention of many or few tokens with a 16-bit type and heads of up to `size` (of
  /// CAAT_ATTENTION_SIZES), made ready at first use.
  CUfunction attention(bool few, bool bf16, int size) const;
  /// The runtime's kernel for products of few rows with a 16-bit weight that streams through shared memory
  /// (StreamRows.cu), made ready at first use. Only with hasDependentLaunch().
  CUfunction streamRows(bool bf16) const;
  /// The runtime's kernel for gated products of many rows (GatedRows.cu), made ready at first use. Only with
  /// hasWarpGroups().
  CUfunction gatedRows(bool bf16) const;
  /// The runtime's kernel for products of few rows with a weight in blocks (BlockRows.cu), made ready at first use.
  CUfunction blockRows(int bits, bool bf16, int span, bool wideScales, bool hasMinima) const;
  /// The one that makes floats of such a weight.
  CUfunction blockUnpack(int bits, DType dtype) const;

  /// Freed with the last owner. Throws Error (Run) that says how much there is.
  std::shared_ptr<std::byte> allocate(size_t bytes, const std::string &what) const;
  /// Memory of the host that copies and kernels of all devices reach. Throws Error (Run).
  std::shared_ptr<std::byte> allocatePinned(size_t bytes) const;
  /// Whether a kernel may start while the one before it runs: from sm_90 on.
  bool hasDependentLaunch() const { return dependentLaunch; }
  /// Whether four warps multiply together, as sm_90a does and no later chip.
  bool hasWarpGroups() const { return major == 9 && minor == 0; }
  /// Whether the program's kernels that are launched so wait themselves: those made for such chips do.
  bool haveKernelsThatWait() const { return kernelsWait; }
  struct Room {
    size_t free, total;
  };
  Room room() const;

  const Driver &driver() const { return *driver_; }
  int number() const { return number_; }
  int multiprocessors() const { return multiprocessors_; }
  CUdevice device() const { return device_; }
  /// Lets this device's work touch the other's memory; whether that is possible.
  bool enableAccessTo(const Context &other) const;
  /// "device 0 (NVIDIA H100, sm_90)"
  const std::string &name() const { return name_; }

private:
  CUmodule load(const std::string &image, const std::string &origin) const;
  void preload(CUfunction function, const std::string &name) const;
  CUfunction later(const std::string &name, std::span<const OwnModule> modules, int shared) const;

  std::shared_ptr<const Driver> driver_;
  int number_, multiprocessors_ = 0;
  CUdevice device_ = 0;
  CUcontext context = nullptr;
  int major = 0, minor = 0;
  bool dependentLaunch = false, kernelsWait = false;
  std::string name_;
  std::vector<CUmodule> modules;
  std::vector<CUfunction> kernels;
  std::map<std::string, CUfunction> owns;

  mutable std::mutex mutex;                              // of what comes later
  mutable std::map<const char *, CUmodule> laterModules; // by their text
  mutable std::map<std::string, CUfunction> laterKernels;
};

} // namespace caat::runtime::cuda

#endif
