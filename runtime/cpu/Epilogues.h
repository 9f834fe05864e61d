// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_RUNTIME_CPU_EPILOGUES_H
#define CAAT_RUNTIME_CPU_EPILOGUES_H

#include "caat/runtime/Device.h"

namespace caat::runtime {

/// y[m, n] = f(y + bias), for products that oneDNN does not compute; the bias is fp32.
void applyEpilogue(const Epilogue &epilogue, float *y, int64_t m, int64_t n);

} // namespace caat::runtime

#endif
