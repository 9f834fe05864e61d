// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_RUNTIME_CPU_EPILOGUES_H
#define CAAT_RUNTIME_CPU_EPILOGUES_H

#include "caat/runtime/Device.h"

namespace caat::runtime {

/// y[m, n] = f(y + bias), for products that oneDNN does not compute; the bias is fp32.
void applyEpilogue(const Epilogue &epilogue, float *y, int64_t m, int64_t n);

/// y[m, n] = f(gate) * other half, of `halves` [m, 2 n], whose gate becomes f of it; of the epilogue f alone counts.
void applyGate(const Epilogue &epilogue, caat_gate gate, float *halves, float *y, int64_t m, int64_t n);

} // namespace caat::runtime

#endif
