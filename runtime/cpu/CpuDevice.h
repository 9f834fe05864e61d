// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Ranks that are threads of this process, with native kernels and oneDNN's products.
#ifndef CAAT_RUNTIME_CPU_CPUDEVICE_H
#define CAAT_RUNTIME_CPU_CPUDEVICE_H

#include "Linear.h"

namespace caat::runtime {

/// Plainly: programs for the CPU have kernels of their own.
void runAttention(const Attention &attention);

class CpuDevice final : public Device {
public:
  CpuDevice(const Program &program, int threads) : program(program), threads(threads), weights(threads) {}

  void attach() override;
  std::shared_ptr<std::byte> allocate(size_t bytes, const std::string &what) override;
  bool isHost() const override { return true; }
  void upload(void *to, const void *from, size_t bytes) override { copy(to, from, bytes); }
  void download(void *to, const void *from, size_t bytes) override { copy(to, from, bytes); }
  void copy(void *to, const void *from, size_t bytes) override;
  /// Parameters stay where they are, but for those of products.
  std::vector<void *> load(std::span<const HostParameter> parameters) override;
  size_t travellingBytes(size_t parameter) const override;
  void fillTravelling(size_t parameter, std::byte *to) override;
  void moveTravelling(size_t parameter, const std::byte *to) override;
  size_t productBytes() const override { return weights.bytes(); }
  void launch(const KernelLaunch &launch) override;
  void linear(const Linear &linear) override;
  void matmul(const MatMul &matmul) override { runMatMul(matmul); }
  void attention(const Attention &attention) override { runAttention(attention); }
  void read(const void *from, size_t bytes) override;
  void synchronize() override {}

private:
  void linearGated(const Linear &linear);

  const Program &program;
  int threads;
  Linears weights;
  struct Product {
    size_t weight = 0; // its number in `weights`
    int64_t k = 0, n = 0;
  };
  std::vector<Product> products;         // by parameter, where it is a linear one
  std::vector<HostParameter> travelling; // by parameter, where it is one
};

class CpuBackend final : public Backend {
public:
  CpuBackend(const Program &program, const BackendOptions &options) : program(program), options(options) {}
  std::unique_ptr<Device> makeDevice(int rank) override;
  std::unique_ptr<RankGroup> makeGroup(std::span<Device *const> devices) override;

private:
  const Program &program;
  BackendOptions options;
};

/// Runs `rows` of a kernel's grid over `threads` threads of oneDNN's own team.
void runKernel(caat_kernel_fn kernel, int64_t grid, void *const *buffers, const int64_t *dims, int threads);
/// Sets the team size of the calling thread, for runKernel and for oneDNN.
void setThreads(int threads);

} // namespace caat::runtime

#endif
