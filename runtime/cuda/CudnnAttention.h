// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Attention as cuDNN takes it: a graph of two products and a softmax between them, which the library knows as a whole
// and compiles into one kernel, for one shape.
#ifndef CAAT_RUNTIME_CUDA_CUDNNATTENTION_H
#define CAAT_RUNTIME_CUDA_CUDNNATTENTION_H

#include "Cudnn.h"
#include "caat/runtime/Attention.h"
#include <compare>
#include <deque>
#include <memory>
#include <optional>

namespace caat::runtime::cuda {

/// All that a plan is made for. Strides in elements; those of dimensions of one are what they would be in one piece.
struct FusedShape {
  int type; // CUDNN_DATA_*, of all four arrays
  int64_t batch, tokens, total, heads, kvHeads, size, valueSize;
  struct Strides {
    int64_t batch, head, row;
    auto operator<=>(const Strides &) const = default;
  } query, keys, values, out;
  bool causal;
  auto operator<=>(const FusedShape &) const = default;

  /// Multiplications and additions, of which causal attention has about half.
  double operations() const;
};

/// Nothing where the library does not take it: everything of one 16-bit type, rows at multiples of 16 bytes, all keys
/// or those up to a token, which are the last ones; no mask, lengths, window or soft cap.
std::optional<FusedShape> fusedShapeOf(const Attention &attention);

/// The library, and what plans are made for: a device, or its properties as the library writes them (JSON).
class CudnnTarget {
public:
  /// The calling thread's device, whose work goes to `stream`.
  CudnnTarget(std::shared_ptr<const Cudnn> library, CUstream stream);
  CudnnTarget(std::shared_ptr<const Cudnn> library, const std::string &properties);
  ~CudnnTarget();
  CudnnTarget(const CudnnTarget &) = delete;

  const std::shared_ptr<const Cudnn> library;
  cudnnHandle_t handle = nullptr;
  std::optional<Descriptor> properties;
};

/// An execution plan, compiled. Not for two threads at once.
class FusedPlan {
public:
  /// Throws Error (Run) where the library does not take it.
  FusedPlan(std::shared_ptr<const CudnnTarget> target, const FusedShape &shape);

  size_t workspaceBytes() const { return workspace; }
  void run(const void *query, const void *keys, const void *values, void *out, float scale, void *workspace) const;

private:
  Descriptor &makePlan(const Descriptor &engine);

  std::shared_ptr<const CudnnTarget> target;
  FusedShape shape;
  std::deque<Descriptor> parts; // of the graph, and what was made of it
  const Descriptor *plan = nullptr;
  size_t workspace = 0;
};

/// A call of a plan, as a step of a queue has it.
struct FusedCall {
  std::shared_ptr<const FusedPlan> plan; // a graph may need it longer than who has chosen it
  const void *query = nullptr, *keys = nullptr, *values = nullptr;
  void *out = nullptr, *workspace = nullptr;
  float scale = 0;
  bool operator==(const FusedCall &) const = default;
  void run() const { plan->run(query, keys, values, out, scale, workspace); }
};

} // namespace caat::runtime::cuda

#endif
