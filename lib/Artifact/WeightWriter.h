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

struct WrittenWeights {
  int64_t bytes = 0;                // of one rank
  std::vector<std::string> digests; // of each rank's arrays (runtime::arraysDigestKey)
};

/// Writes weights-RANK.safetensors for every rank, one weight in memory at a time.
llvm::Expected<WrittenWeights> writeWeights(mlir::ModuleOp module, llvm::ArrayRef<rt::WeightOp> weights,
                                            const WeightWriterOptions &options);

} // namespace caat

#endif // CAAT_LIB_ARTIFACT_WEIGHTWRITER_H
