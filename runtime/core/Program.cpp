// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/runtime/Program.h"
#include "caat/runtime/Digest.h"
#include "caat/runtime/Error.h"
#include "caat/runtime/Fnv.h"
#include <algorithm>
#include <dlfcn.h>
#include <unistd.h>

namespace caat::runtime {

namespace {

/// Whether this processor has an LLVM feature; features that are not known here are taken as present.
bool processorHas(std::string_view feature) {
#if defined(__x86_64__)
  __builtin_cpu_init();
#define CAAT_FEATURE(NAME)                                                                                             \
  if (feature == NAME)                                                                                                 \
    return __builtin_cpu_supports(NAME);
  CAAT_FEATURE("sse4.1")
  CAAT_FEATURE("sse4.2")
  CAAT_FEATURE("avx")
  CAAT_FEATURE("avx2")
  CAAT_FEATURE("fma")
  CAAT_FEATURE("bmi2")
  CAAT_FEATURE("avx512f")
  CAAT_FEATURE("avx512bw")
  CAAT_FEATURE("avx512dq")
  CAAT_FEATURE("avx512vl")
  CAAT_FEATURE("avx512vnni")
  CAAT_FEATURE("avx512bf16")
#undef CAAT_FEATURE
#endif
  return true;
}

void checkProcessor(const std::string &features, const std::string &origin) {
  for (size_t begin = 0; begin < features.size();) {
    size_t end = std::min(features.find(',', begin), features.size());
    std::string_view feature(features.data() + begin, end - begin);
    if (feature.starts_with('+') && !processorHas(feature.substr(1)))
      failArtifact(origin, ": compiled for a processor with ", feature.substr(1),
                   ", which this one lacks; compile for this machine");
    begin = end + 1;
  }
}

} // namespace

Program::Program(const std::string &directory) : directory_(directory) {
  if (directory_.empty())
    failInput("the artifact's directory has no name");
  std::string path = directory_ + "/manifest.json";
  if (access(path.c_str(), F_OK) != 0)
    failArtifact("'", directory_, "' is not an artifact: it has no manifest.json");
  manifest_ = Manifest::read(path);
  if (!manifest_.device.empty() && manifest_.device != "cpu" && manifest_.device != "cuda")
    failArtifact(path, ": compiled for '", manifest_.device, "', this runtime runs 'cpu' and 'cuda'");
  checkProcessor(manifest_.features, path);

  std::string code = directory_ + "/" + manifest_.code;
  handle = dlopen(code.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle)
    failArtifact("cannot load ", dlerror());
  try {
    checkDigest(path);
    workspaceBytes = reinterpret_cast<caat_workspace_bytes_fn>(symbol("caat_workspace_bytes"));
    forward = reinterpret_cast<caat_forward_fn>(symbol("caat_forward"));
    if (!manifest_.gpu)
      for (const std::string &kernel : manifest_.kernels)
        kernels.push_back(reinterpret_cast<caat_kernel_fn>(symbol(kernel)));
  } catch (...) {
    dlclose(handle);
    throw;
  }
}

Program::~Program() { dlclose(handle); }

/// Code believes its manifest: in which order buffers and kernels come, and how large they are.
void Program::checkDigest(const std::string &path) const {
  const void *digest = dlsym(handle, manifestDigestName);
  if (!digest)
    return; // not written by caat-compile
  MappedFile file = MappedFile::open(path);
  if (*static_cast<const uint64_t *>(digest) != fnv({reinterpret_cast<const char *>(file.data()), file.size()}))
    failArtifact(path, ": does not belong to ", manifest_.code,
                 "; one of them was changed, or is of another program: compile it again");
}

void *Program::symbol(const std::string &name) const {
  void *address = dlsym(handle, name.c_str());
  if (!address)
    failArtifact(directory_, "/", manifest_.code, " has no function '", name, "'");
  return address;
}

std::string Program::weightsPath(int rank) const {
  return directory_ + "/weights-" + std::to_string(rank) + ".safetensors";
}

/// Files of two compilations, or of two ranks of one, may have equal names and shapes.
SafeTensors Program::openWeights(int rank) const {
  SafeTensors weights = SafeTensors::open(weightsPath(rank));
  if (manifest_.weights.empty())
    return weights; // not written with the manifest, or by a caat-compile that had no digests
  auto found = weights.metadata().find(arraysDigestKey);
  std::string digest = found == weights.metadata().end() ? "" : found->second;
  if (digest == manifest_.weights[static_cast<size_t>(rank)])
    return weights;
  std::string why = digest.empty() ? "it has no digest" : "its weights are those of another compilation";
  if (auto own = std::find(manifest_.weights.begin(), manifest_.weights.end(), digest); own != manifest_.weights.end())
    why = "its weights are those of rank " + std::to_string(own - manifest_.weights.begin());
  failArtifact(weights.path(), ": does not belong to ", directory_, "/manifest.json: ", why,
               "; put back the file that was written with it, or compile again");
}

void Program::checkWeights(int rank) const {
  SafeTensors weights = openWeights(rank);
  if (manifest_.weights.empty())
    failArtifact(directory_, "/manifest.json: has no digests of weights, which only a caat-compile that writes them "
                             "with it leaves there; compile again");
  std::string digest = digestOf(weights).text();
  if (digest != manifest_.weights[static_cast<size_t>(rank)])
    failArtifact(weights.path(), ": its data was changed or damaged: the digest of what it holds is ", digest, ", not ",
                 manifest_.weights[static_cast<size_t>(rank)], "; copy the file or compile again");
}

/// They are small beside weights, so all of them is read whenever they are loaded.
MappedFile Program::openKernels(const std::string &file) const {
  MappedFile content = MappedFile::open(directory_ + "/" + file);
  auto known = manifest_.gpu->digests.find(file);
  if (known == manifest_.gpu->digests.end())
    return content; // not written by caat-compile, or by one that had no digests of them
  Digest digest;
  digest.add(content.bytes());
  if (digest.text() != known->second)
    failArtifact(directory_, "/", file, ": does not belong to ", directory_,
                 "/manifest.json, or is damaged: its digest is ", digest.text(), ", not ", known->second,
                 "; put back the file that was written with it, or compile again");
  return content;
}

} // namespace caat::runtime
