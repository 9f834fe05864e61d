// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Kernels run on the OpenMP team that oneDNN uses as well, so that a rank never has two sets of threads that wait in
// turns. The team is reached through libgomp's own functions: the compiler that builds the runtime may have another
// OpenMP library.
#include "CpuDevice.h"

extern "C" {
void GOMP_parallel(void (*body)(void *), void *data, unsigned threads, unsigned flags);
int omp_get_thread_num();
int omp_get_num_threads();
void omp_set_num_threads(int threads);
}

namespace caat::runtime {

namespace {
struct Launch {
  caat_kernel_fn kernel;
  int64_t grid;
  void *const *buffers;
  const int64_t *dims;

  static void body(void *data) {
    const auto &launch = *static_cast<const Launch *>(data);
    int64_t thread = omp_get_thread_num(), threads = omp_get_num_threads();
    int64_t begin = launch.grid * thread / threads, end = launch.grid * (thread + 1) / threads;
    if (begin < end)
      launch.kernel(begin, end, launch.buffers, launch.dims);
  }
};
} // namespace

void runKernel(caat_kernel_fn kernel, int64_t grid, void *const *buffers, const int64_t *dims, int threads) {
  if (grid <= 0)
    return;
  if (threads <= 1 || grid == 1)
    return kernel(0, grid, buffers, dims);
  Launch launch{kernel, grid, buffers, dims};
  GOMP_parallel(Launch::body, &launch, static_cast<unsigned>(std::min<int64_t>(threads, grid)), 0);
}

void setThreads(int threads) { omp_set_num_threads(threads); }

} // namespace caat::runtime
