// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What manifest.json of an artifact says, checked. The file is untrusted: every number is bounded and every reference
// resolved before anything else uses it.
#ifndef CAAT_RUNTIME_MANIFEST_H
#define CAAT_RUNTIME_MANIFEST_H

#include "caat/runtime/Blocks.h"
#include "caat/runtime/ShapeExpr.h"
#include "caat/runtime/Tensor.h"
#include "caat/runtime/Wire.h"
#include <array>
#include <map>

namespace caat::runtime {

/// How one dimension of an array is divided over the ranks: rank r holds the concatenation of its [start, length]
/// pieces, then padding up to the local size. A piece that starts at -1 is padding too.
struct ShardSpec {
  int64_t dim = 0;
  int64_t global = 0;
  std::vector<std::vector<std::array<int64_t, 2>>> pieces; // per rank
};

/// A run of indices of a sharded dimension: whole[global ..] = local[local ..].
struct ShardRun {
  int64_t global, local, length;
};

struct ArraySpec {
  std::string name;
  DType dtype = DType::F32;      // in the program's memory
  std::optional<DType> declared; // of the array that is given or returned, where it is another
  std::vector<ShapeExpr> shape;  // a rank's local shape
  std::optional<ShardSpec> shard;

  DType outside() const { return declared.value_or(dtype); }
  Shape evaluate(std::span<const int64_t> dims) const;
};

/// A cache updated in place; its array has max_length positions along `axis`.
struct CacheSpec {
  ArraySpec array; // name = past
  std::string present;
  int64_t axis = 0;
  ShapeExpr pastLength, presentLength;
};

struct ParameterSpec {
  std::string name;
  DType dtype = DType::F32;
  Shape shape; // as stored
  bool linear = false;
  bool transposed = false;             // linear: stored [N, K]
  std::optional<size_t> rotation = {}; // the group that it travels with
  // linear and transposed: stored in few bits, and multiplied as `dtype`
  std::optional<BlockFormat> blocks = {};

  int64_t k() const { return shape[transposed ? 1 : 0]; }
  int64_t n() const { return shape[transposed ? 0 : 1]; }
  /// Of the array in the file.
  DType storedType() const { return blocks ? DType::UI8 : dtype; }
  Shape storedShape() const { return blocks ? Shape{n(), blocks->rowBytes(k())} : shape; }
  size_t storedBytes() const { return static_cast<size_t>(elementCount(storedShape())) * sizeOf(storedType()); }
};

enum class CollectiveKind { AllReduce, AllGather, ReduceScatter, AllToAll, Permute, Broadcast, QuantizedAllReduce };
inline constexpr int numCollectiveKinds = 7;
std::string_view nameOf(CollectiveKind kind);

struct CollectiveSpec {
  std::string name;
  CollectiveKind kind = CollectiveKind::AllReduce;
  DType dtype = DType::F32;
  ShapeExpr count;
  WireFormat wire = {}; // of a quantised all-reduce
};

/// A sync point whose policy is read at run time.
struct SiteSpec {
  std::string name;
  int64_t channels = 0;
  int64_t input = 0;                     // columns of the module's normalised input, 0 where there is none
  bool startsBase = false;               // the sum is no addition to a stream
  bool startsPending = false;            // nothing can be pending from an earlier site
  bool flushes = false;                  // what is read behind it is equal on all ranks
  std::string notDeferrable, notPrivate; // why a policy is not possible; empty where it is
};

/// Weights that travel round the ring together.
struct RotationSpec {
  std::string name;
  std::optional<size_t> spare; // number of the buffer that receives them; groups may share one. Nothing: in place
};

/// A kernel begins with the sum over the ranks of a buffer of the launch, whose rows have so many elements. It takes
/// two more parameters behind its dims (PeerMemory::rowsArguments).
struct RowSum {
  int64_t buffer, elements;
};

/// How a kernel of a GPU is started: blocks of `threads` threads, each for some rows of the grid.
struct LaunchSpec {
  int64_t threads = 256, rowsPerBlock = 1, blocksPerRow = 1;
  int64_t shared = 0;     // bytes of shared memory beside what the kernel declares itself
  bool dependent = false; // for sm_90 and later it waits itself for the kernels before it, and may start earlier
  std::optional<RowSum> sum = {};
};

/// Files with a GPU's kernels.
struct GpuSpec {
  std::string ptx;
  std::map<std::string, std::string> laterPtx; // for chips from sm_90 on, by architecture
  std::map<std::string, std::string> cubins;   // by architecture: sm_90
  int64_t sums = 0;                            // in which way kernels sum rows, where any do (rowsVersion)
  std::map<std::string, std::string> digests;  // of each file; none from a caat-compile that wrote none

  /// The names of all files.
  std::vector<std::string> files() const;
};

/// Along which dimensions a run can be divided in two, whose results are those of the whole: that was proved when the
/// program was compiled. Where it was not, why.
struct HalvesSpec {
  std::optional<size_t> tokens; // fed one half after the other, with the caches between them
  std::optional<size_t> batch;  // dimension 0 of all that depends on it
  std::string tokensRefused = "the artifact does not say", batchRefused = tokensRefused;
};

struct Manifest {
  int tp = 1;
  std::string strategy, device, features, code; // features: "+avx512f,..." that the code needs
  std::vector<RotationSpec> rotations;          // rtp
  std::optional<size_t> batch;                  // rtp: the dimension that is divided over the ranks
  HalvesSpec halves;
  std::vector<std::string> dims;
  std::vector<ArraySpec> inputs, outputs;
  std::vector<CacheSpec> caches;
  std::vector<ParameterSpec> parameters;
  std::vector<std::string> kernels, messages;
  std::optional<GpuSpec> gpu;       // where the device is one
  std::vector<LaunchSpec> launches; // of the kernels, then
  std::vector<CollectiveSpec> collectives;
  std::vector<SiteSpec> sites;                       // of a switchable program, in the order of the graph
  std::map<std::string, std::vector<int64_t>> heads; // of it, by attention: in which order its KV heads are dealt out
  std::string digest;
  std::vector<std::string> weights; // digests of the ranks' weights; none where they were not written
  std::optional<int64_t> vocabulary, maxLength;

  /// Throws Error (Artifact) that names the file and the entry. `path` is manifest.json.
  static Manifest read(const std::string &path);
  /// `origin` is only for messages.
  static Manifest parse(std::string_view json, const std::string &origin);

  /// Parts of a sharded array that one rank holds: its own, or with rotated weights those of all virtual ranks.
  int64_t partsOf(const ArraySpec &array) const { return array.shard && batch ? tp : 1; }
  /// True where each rank has some rows of the array.
  bool isDivided(const ArraySpec &array) const {
    return batch && !array.shape.empty() && array.shape[0].asSymbol() == static_cast<int64_t>(*batch);
  }

  size_t bufferCount() const { return inputs.size() + caches.size() + outputs.size() + parameters.size(); }
  std::optional<size_t> dim(std::string_view name) const;
};

} // namespace caat::runtime

#endif
