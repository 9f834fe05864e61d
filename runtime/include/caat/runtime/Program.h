// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// An artifact's manifest and its loaded code: what all ranks share.
#ifndef CAAT_RUNTIME_PROGRAM_H
#define CAAT_RUNTIME_PROGRAM_H

#include "caat/runtime/File.h"
#include "caat/runtime/Manifest.h"
#include "caat/runtime/SafeTensors.h"

namespace caat::runtime {

/// The constant of code.so that has the digest (fnv) of the text of the manifest that was written with it.
inline constexpr const char *manifestDigestName = "caat_manifest_digest";

class Program {
public:
  /// Reads manifest.json and loads code.so of an artifact directory. The code runs in this process: load only
  /// artifacts that you trust. Throws Error (Artifact).
  explicit Program(const std::string &directory);
  ~Program();
  Program(const Program &) = delete;

  const std::string &directory() const { return directory_; }
  const Manifest &manifest() const { return manifest_; }
  std::string weightsPath(int rank) const;
  /// The rank's weights, of which the manifest knows the digest; that it is what they have is another matter
  /// (checkWeights). Throws Error (Artifact).
  SafeTensors openWeights(int rank) const;
  /// Reads all weights of the rank, and whether they have the digest that they claim. Throws Error (Artifact).
  void checkWeights(int rank) const;
  /// A file of the GPU's kernels, as it was written with the manifest. Throws Error (Artifact).
  MappedFile openKernels(const std::string &file) const;

  caat_workspace_bytes_fn workspaceBytes = nullptr;
  caat_forward_fn forward = nullptr;
  std::vector<caat_kernel_fn> kernels; // in the manifest's order; none where they are a GPU's

private:
  void *symbol(const std::string &name) const;
  void checkDigest(const std::string &path) const;
  std::string directory_;
  Manifest manifest_;
  void *handle = nullptr;
};

} // namespace caat::runtime

#endif
