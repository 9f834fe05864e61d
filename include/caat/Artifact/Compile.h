// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// From a model file to an artifact directory: all stages in one call.
#ifndef CAAT_ARTIFACT_COMPILE_H
#define CAAT_ARTIFACT_COMPILE_H

#include "caat/Rotate/Cost.h"
#include "mlir/Support/LLVM.h"
#include "llvm/ADT/SmallVector.h"
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace caat {

struct CompileOptions {
  std::string model;                     // .onnx, or .mlir of the onnx dialect
  std::string output;                    // directory, created where missing
  int64_t tp = 1;                        // number of ranks
  std::string plan;                      // file; empty: synchronise everything
  std::string heads;                     // without a plan: file of one whose order of heads is taken
  bool switchable = false;               // the runtime reads the policies of sync points from a plan
  std::string strategy = "tp";           // tp, rtp, auto
  int64_t tokens = 1;                    // of a step, all rows together: what auto decides by
  cost::Link link{5e-6, 10e9};           // the same
  std::string messages = "f32";          // what sums of sync points travel as: f32, bf16 or f16
  bool overlap = true;                   // sums go on beside what does not need them
  bool rotateInPlace = false;            // rtp: no spare buffer, no transfer beside products
  std::string dtype = "f32";             // of weights and products
  std::vector<std::string> weightRules;  // "[GLOB=]i4|i8|float": which matrices are stored in blocks
  std::string cache;                     // cpu: of caches of attention: f32, bf16 or f16; empty: dtype
  bool wideActivations = false;          // cuda: f32 between products where weights have 16 bits
  bool weights = true;                   // read and write them; without, external files may be absent
  std::string target = "cpu";            // cpu, cuda
  std::vector<std::string> gpuArchs;     // chips that kernels are assembled for: sm_80, ...
  bool hostKernels = false;              // cuda: kernels for this processor too, for a double of the driver
  bool emulate = false;                  // cuda: an artifact for the CPU whose kernels are the GPU's, for tests
  std::vector<std::string> dims, values; // NAME=SIZE of symbols, NAME=VALUE of inputs that are fixed
  int64_t maxLength = 1024;              // positions of a cache
  bool rowLengths = false;               // rows of a cache may have lengths of their own
  std::string dumpDirectory;             // where to write the module between stages; empty: nowhere
  bool progress = true;                  // a line on stderr while weights are written
  bool report = false;                   // tell on stderr how every op is sharded
  bool raise = true;                     // decomposed patterns become one op where they match
};

/// What was compiled, for the summary.
struct CompileSummary {
  struct Site {
    std::string name, policy;
    int64_t bytesPerToken;
  };
  /// Matrices of products in one form.
  struct Matrices {
    size_t count = 0;
    int64_t bytes = 0; // of one rank
  };
  std::vector<Site> sites;
  Matrices floats, fourBits, eightBits;
  size_t roundedMatrices = 0; // to fewer bits than the model has, by weightRules
  size_t collectives = 0, kernels = 0, parameters = 0;
  int64_t weightBytes = 0; // of one rank
  std::string strategy;    // tp, rtp
  std::string reason;      // why auto took it
  std::optional<CostModel> cost;
  int64_t codeBytes = 0;
  std::vector<std::pair<std::string, double>> stages; // seconds
};

/// A chip as ptxas names it, "sm_90": its number, or nothing where kernels cannot be made for it.
std::optional<unsigned> gpuArch(llvm::StringRef name);

/// Largest number of ranks.
inline constexpr int64_t kMaxRanks = 64;

/// Compiles `options.model` into `options.output`: manifest.json, code.so and weights-RANK.safetensors. Files are
/// written under another name and renamed, the manifest last. Errors are printed on stderr.
mlir::LogicalResult compileModel(const CompileOptions &options, CompileSummary &summary);

/// A table of sites, bytes and times.
void printSummary(const CompileOptions &options, const CompileSummary &summary, bool timing);

} // namespace caat

#endif // CAAT_ARTIFACT_COMPILE_H
