// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The pieces of quantised messages (comm/Quantize.h) in a device's memory, for kernels of one block a piece.
#ifndef CAAT_RUNTIME_CUDA_QUANTIZEDPIECES_H
#define CAAT_RUNTIME_CUDA_QUANTIZEDPIECES_H

#include "CudaDevice.h"

namespace caat::runtime::cuda {

class QuantizedPieces {
public:
  struct Table {
    std::shared_ptr<std::byte> memory;
    const QuantizedPiece *pieces = nullptr; // by owner
    const long long *exact = nullptr;
    int64_t count = 0, exacts = 0;
    std::vector<std::pair<int64_t, int64_t>> owned; // by owner: first and number
  };

  explicit QuantizedPieces(CudaDevice &device) : device(device) {}
  /// Made once for each format and number of rows. `format` must stay where it is.
  const Table &of(const WireFormat &format, int64_t rows, int ranks);

private:
  CudaDevice &device;
  std::map<std::pair<const WireFormat *, int64_t>, Table> tables;
};

} // namespace caat::runtime::cuda

#endif
