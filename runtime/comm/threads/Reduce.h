// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Sums of the ranks' arrays, in rank order.
#ifndef CAAT_RUNTIME_COMM_THREADS_REDUCE_H
#define CAAT_RUNTIME_COMM_THREADS_REDUCE_H

#include "caat/runtime/Tensor.h"

namespace caat::runtime {

/// destinations[d][i] = sum over s of sources[s][i] for i in [begin, end): added in the order of the sources, 16-bit
/// types in fp32 with one rounding at the end. A destination may be one of the sources.
void sumInOrder(DType dtype, std::span<const void *const> sources, std::span<void *const> destinations, int64_t begin,
                int64_t end);

/// Throws Error for a type that cannot be summed.
void checkSummable(DType dtype);

} // namespace caat::runtime

#endif
