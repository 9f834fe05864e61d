// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_RUNTIME_CPU_BF16PRODUCTS_H
#define CAAT_RUNTIME_CPU_BF16PRODUCTS_H

#include "Linear.h"

namespace caat::runtime {

/// A product of type bf16 by oneDNN, of k > 0, with beta = 0 and rows of c that do not overlap. False where this
/// processor has no fast ones.
bool runBf16(const MatMul &matmul);
/// The same of any form, as a product of f32.
void runWidened(const MatMul &matmul);

} // namespace caat::runtime

#endif
