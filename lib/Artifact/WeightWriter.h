// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_LIB_ARTIFACT_WEIGHTWRITER_H
#define CAAT_LIB_ARTIFACT_WEIGHTWRITER_H

#include "caat/Lower/Program.h"
#include "llvm/Support/Error.h"

namespace caat {

struct WeightWriterOptions {
  std::string directory;
  int64_t tp = 1;
  bool progress = true;
};

/// Bytes of a weight on one rank.
int64_t storedBytes(rt::WeightOp weight);

/// Writes weights-RANK.safetensors for every rank, one weight in memory at a time. Returns the bytes of one rank.
llvm::Expected<int64_t> writeWeights(mlir::ModuleOp module, llvm::ArrayRef<rt::WeightOp> weights,
                                     const WeightWriterOptions &options);

} // namespace caat

#endif // CAAT_LIB_ARTIFACT_WEIGHTWRITER_H
