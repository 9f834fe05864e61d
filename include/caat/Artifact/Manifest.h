// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_ARTIFACT_MANIFEST_H
#define CAAT_ARTIFACT_MANIFEST_H

#include "caat/Lower/Program.h"
#include "caat/Support/Version.h"
#include "llvm/Support/JSON.h"

namespace caat {

struct Target {
  std::string device = "cpu", triple, cpu, features;
};

/// Files of a GPU program's kernels.
inline constexpr llvm::StringLiteral kPtxFile = "kernels.ptx";
/// The same for chips from sm_90 on, where each kernel waits itself for those before it.
inline constexpr llvm::StringLiteral kDependentPtxFile = "kernels-sm_90.ptx", kDependentPtxArch = "sm_90";
inline std::string cubinFile(llvm::StringRef arch) { return ("kernels-" + arch + ".cubin").str(); }

struct ManifestOptions {
  std::string model; // name of the file it was made from
  int64_t tp = 1;
  int64_t maxLength = 0;
  Target target;
  std::string batch;                 // rtp: the dimension that is split over the ranks
  int64_t vocabulary = 0;            // rows of the table that tokens are looked up in; 0: none was found
  std::vector<std::string> gpuArchs; // chips that the kernels are assembled for
  bool isRotated() const { return !batch.empty(); }
};

/// The text of manifest.json of a program after rt-plan-memory.
mlir::FailureOr<std::string> writeManifest(const Program &program, const ManifestOptions &options);
/// The same with the digest of each rank's weights, which are written when the rest is known to be good.
std::string withWeights(llvm::StringRef manifest, llvm::ArrayRef<std::string> digests);
/// The same with the digest of each file of a GPU's kernels.
struct KernelFile {
  std::string name, digest;
};
std::string withKernels(llvm::StringRef manifest, llvm::ArrayRef<KernelFile> files);

} // namespace caat

#endif // CAAT_ARTIFACT_MANIFEST_H
