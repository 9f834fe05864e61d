// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Weights in blocks of few bits: how they come to the device, and products with them: of few rows by a kernel that
// reads the codes, of more by cuBLASLt, part by part, when a kernel has made floats of them.
#include "BlockWeights.h"
#include "CudaDevice.h"
#include "caat/runtime/Error.h"
#include <algorithm>
#include <utility>

namespace caat::runtime::cuda {

static_assert(BlockWeight::Middle == static_cast<int>(BlockOffset::Middle) &&
              BlockWeight::Zeros == static_cast<int>(BlockOffset::Zeros) &&
              BlockWeight::Minimum == static_cast<int>(BlockOffset::Minimum));

static BlockWeight layoutOf(const ParameterSpec &spec) {
  const BlockFormat &format = *spec.blocks;
  return {nullptr,
          nullptr,
          nullptr,
          spec.n(),
          spec.k(),
          format.bits,
          static_cast<int>(format.size),
          format.scales == DType::F32,
          static_cast<int>(format.offset)};
}

static BlockWeight weightAt(const ParameterSpec &spec, std::byte *to) {
  BlockWeight weight = layoutOf(spec);
  weight.codes = reinterpret_cast<const unsigned *>(to);
  weight.scales = to += weight.codeWords() * 4;
  weight.offsets = to += weight.scaleCount() * weight.scaleBytes();
  return weight;
}

size_t deviceBytes(const ParameterSpec &spec) {
  return spec.blocks ? static_cast<size_t>(layoutOf(spec).bytes()) : spec.storedBytes();
}

/// Rows that become floats at once, at least a tile.
int64_t CudaDevice::rowsAtOnce(const BlockWeight &weight, DType dtype) const {
  int64_t rows = mostUnpacked / (weight.k * static_cast<int64_t>(sizeOf(dtype)));
  int64_t step = rows >= 256 ? 256 : BlockWeight::tileRows;
  return std::min<int64_t>(std::max<int64_t>(rows / step * step, BlockWeight::tileRows), weight.n);
}

static int partsOf(DType dtype) { return dtype == DType::F32 ? splitParts : 1; }

/// What products need is made ready when weights are loaded: none waits for memory or a kernel later, or changes what
/// graphs have recorded.
void CudaDevice::addBlocks(Weight &weight, const ParameterSpec &spec, std::byte *to) {
  weight.blocks = weightAt(spec, to);
  weight.readRows = context->blockRows(spec.blocks->bits, spec.dtype != DType::F16, weight.blocks->span(),
                                       weight.blocks->hasWideScales, spec.blocks->offset == BlockOffset::Minimum);
  weight.unpack = context->blockUnpack(spec.blocks->bits, spec.dtype);
  int64_t row = spec.k() * static_cast<int64_t>(sizeOf(spec.dtype));
  unpackedBytes = std::max(unpackedBytes, static_cast<size_t>(rowsAtOnce(*weight.blocks, spec.dtype) * row));
}

/// Kernels compute with zeros that are codes.
static void checkZeros(const ParameterSpec &spec, const std::byte *rows, int64_t count) {
  const BlockFormat &format = *spec.blocks;
  if (format.bits == 8 || format.offset != BlockOffset::Zeros)
    return;
  for (int64_t row = 0; row < count; ++row) {
    const std::byte *zero = rows + row * format.rowBytes(spec.k()) + format.offsetsAt(spec.k());
    for (const std::byte *end = zero + spec.k() / format.size; zero != end; ++zero)
      if (int{std::to_integer<int>(*zero)} >= 1 << format.bits)
        failArtifact("'", spec.name, "': zero point ", std::to_integer<int>(*zero), " of codes of ", format.bits,
                     " bits");
  }
}

/// Some rows at a time.
void CudaDevice::uploadBlocks(const ParameterSpec &spec, std::byte *to, const std::byte *data) {
  constexpr int64_t piece = 64 << 20; // bytes at once
  int64_t k = spec.k(), row = spec.blocks->rowBytes(k);
  int64_t rows = std::min(std::max<int64_t>(piece / row / 16 * 16, 16), spec.n());
  std::byte *from = scratch.reserve(*this, static_cast<size_t>(rows * row), "a part of a weight");
  BlockWeight weight = weightAt(spec, to);
  for (int64_t first = 0; first < spec.n(); first += rows) {
    int64_t count = std::min(rows, spec.n() - first);
    checkZeros(spec, data + first * row, count);
    upload(from, data + first * row, static_cast<size_t>(count * row));
    launchOwn("caat_blocks_repack", blocksFor(weight.codeWords()),
              RepackArguments{weight, reinterpret_cast<const unsigned char *>(from), count, row,
                              spec.blocks->scalesAt(k), spec.blocks->offsetsAt(k), first});
  }
}

void CudaDevice::makeUpBlocks(const ParameterSpec &spec, std::byte *to, uint32_t seed) {
  BlockWeight weight = weightAt(spec, to);
  launchOwn("caat_blocks_random", blocksFor(weight.codeWords()),
            RandomBlocksArguments{weight, MadeUp(spec).scale, seed});
}

/// Whether so few rows are multiplied with the codes as they are. They are rounded, or divided into parts, where they
/// are f32.
bool CudaDevice::readsCodes(const Weight &weight, const Linear &l) const {
  int64_t most = int64_t{mostBlockGroups} * BlockRowsArguments::rowsOf(partsOf(weight.dtype));
  return weight.blocks && fewRowsThreads > 0 && l.m <= most && (l.yType == DType::F32 || l.yType == weight.dtype) &&
         (l.xType == DType::F32 || addressOf(l.x) % 16 == 0);
}

void CudaDevice::multiplyCodes(const Weight &weight, const Linear &l) {
  int parts = partsOf(weight.dtype), rows = BlockRowsArguments::rowsOf(parts);
  auto groups = static_cast<int>((l.m + rows - 1) / rows);
  Step step = queue.newStep();
  step.name = weight.name;
  step.function = weight.readRows;
  step.blocks = static_cast<unsigned>(weight.blocks->tiles() * groups);
  step.threads = blockRowsThreads;
  step.shared = blockRowsShared;
  step.isDependent = true;
  BlockRowsArguments arguments{*weight.blocks,       l.x, l.y, l.m, parts, groups, l.yType == DType::F32, l.accumulate,
                               forKernel(l.epilogue)};
  step.addParameter(&arguments, sizeof arguments);
  queue.add(std::move(step));
}

/// Products of parts of the rows, as where a sum goes on beside them, find the floats of the part before them.
void CudaDevice::multiplyUnpacked(const Weight &weight, const Linear &l) {
  int64_t atOnce = rowsAtOnce(*weight.blocks, weight.dtype);
  for (int64_t first = 0; first < weight.n; first += atOnce) {
    int64_t rows = std::min(atOnce, weight.n - first);
    if (std::pair<const void *, int64_t> place{weight.data, first}; std::exchange(unpackedPlace, place) != place) {
      UnpackArguments arguments{*weight.blocks, unpacked.data(), first, rows};
      Step step = queue.newStep();
      step.name = "floats of a weight";
      step.function = weight.unpack;
      step.blocks = static_cast<unsigned>(blocksFor(rows * weight.blocks->chunks() * 2)); // of 16 rows, 32 threads each
      step.threads = kernelThreads;
      step.addParameter(&arguments, sizeof arguments);
      queue.add(std::move(step));
    }
    Weight part{weight.name, unpacked.data(), weight.k, rows, true, weight.dtype};
    Linear columns = l;
    columns.y = static_cast<std::byte *>(l.y) + first * static_cast<int64_t>(sizeOf(l.yType));
    if (l.epilogue.bias)
      columns.epilogue.bias =
          static_cast<const std::byte *>(l.epilogue.bias) + first * static_cast<int64_t>(sizeOf(l.epilogue.biasType));
    multiply(part, columns, weight.n);
  }
}

} // namespace caat::runtime::cuda
