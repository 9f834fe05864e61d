// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Gated products of many rows by the plugin's kernel (GatedRows.cu).
#include "GatedRows.h"
#include "CudaDevice.h"

namespace caat::runtime::cuda {

/// Dense rows of 16-bit elements, of which copies take boxes: in the order in which tensor cores read tiles, or as they
/// lie. L2 lines of 256 bytes were as fast as any on an H100.
static TensorMap mapOf(const Driver &driver, const void *data, int64_t rows, int64_t columns, unsigned boxRows,
                       unsigned boxColumns, bool forTensorCores) {
  TensorMap map;
  const uint64_t size[] = {static_cast<uint64_t>(columns), static_cast<uint64_t>(rows)}, pitch[] = {size[0] * 2};
  const unsigned box[] = {boxColumns, boxRows}, steps[] = {1, 1};
  driver.check(driver.cuTensorMapEncodeTiled(&map, CU_TENSOR_MAP_DATA_TYPE_UINT16, 2, const_cast<void *>(data), size,
                                             pitch, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
                                             forTensorCores ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_NONE,
                                             CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
               "tiles of a matrix [", rows, ", ", columns, "]");
  return map;
}

/// Of what the clusters compute in rounds of a tile each, how much is part of y.
static double shareOfTiles(int64_t m, int64_t n, int64_t clusters) {
  int64_t rows = 2 * gatedTileRows, tiles = (m + rows - 1) / rows * ((n + gatedColumns - 1) / gatedColumns);
  int64_t rounds = (tiles + clusters - 1) / clusters;
  return static_cast<double>(m) * static_cast<double>(n) /
         (static_cast<double>(rounds * clusters) * static_cast<double>(rows * gatedColumns));
}

bool CudaDevice::multiplyGated(const Weight &weight, const Linear &l) {
  int64_t n = weight.n / 2, clusters = context->multiprocessors() / 2;
  bool fits = context->hasWarpGroups() && clusters > 0 && weight.dtype != DType::F32 && !weight.blocks &&
              l.yType == weight.dtype && weight.transposed && weight.k % 8 == 0 && n % 8 == 0 &&
              (addressOf(l.x) | addressOf(l.y) | addressOf(weight.data)) % 16 == 0;
  if (!fits || l.m <= mostFewRows || shareOfTiles(l.m, n, clusters) * 100 < static_cast<double>(leastGatedShare))
    return false;
  const Driver &driver = context->driver();
  GatedRowsArguments arguments{
      .x = mapOf(driver, l.x, l.m, weight.k, gatedTileRows, gatedDepth, true),
      .w = mapOf(driver, weight.data, weight.n, weight.k, gatedColumns, gatedDepth, true),
      .y = mapOf(driver, l.y, l.m, n, gatedTileRows / gatedGroups, gatedColumns, false),
      .m = l.m,
      .n = n,
      .k = weight.k,
      .clusters = clusters,
      .gate = l.gate,
      .epilogue = forKernel(l.epilogue),
  };
  Step step = queue.newStep();
  step.function = context->gatedRows(weight.dtype == DType::BF16);
  step.blocks = static_cast<unsigned>(2 * clusters);
  step.cluster = 2;
  step.threads = gatedThreads;
  step.shared = GatedRowsShape::bytes;
  step.name = weight.name;
  step.isDependent = true;
  step.addParameter(&arguments, sizeof arguments);
  queue.add(std::move(step));
  return true;
}

} // namespace caat::runtime::cuda
