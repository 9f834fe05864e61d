// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// When attention of many tokens is cuDNN's, where that is installed. The library compiles a kernel for each shape,
// which takes it about a second; so a shape is computed by the runtime's own kernel until cuDNN's would have won that
// back. What it computes first is compared with the runtime's own.
#ifndef CAAT_RUNTIME_CUDA_FUSEDATTENTION_H
#define CAAT_RUNTIME_CUDA_FUSEDATTENTION_H

#include "CudnnAttention.h"
#include <map>

namespace caat::runtime::cuda {

/// Of one rank. The choice depends on the shapes that were asked for alone, so all ranks choose alike.
class FusedAttention {
public:
  /// CAAT_CUDNN=off does without it, FILE names the library; CAAT_CUDNN_AFTER=N takes it from the N-th call of a shape
  /// on, whatever its size; CAAT_CUDNN_TOKENS is another number of tokens of a piece.
  FusedAttention();

  /// Of how many tokens at once it is to be chosen: causal attention of many goes in pieces, which prompts of other
  /// lengths have in common.
  int64_t tokensOfPiece(const Attention &attention) const;
  struct Choice {
    std::shared_ptr<const FusedPlan> plan; // null: the runtime's own kernel
    bool isNew = false;                    // to be compared, once
  };
  /// `stream` is the rank's, on a device that is the calling thread's.
  Choice choose(const Attention &attention, CUstream stream);
  /// What came of the comparison: nothing where it was good, else why the library is not to be used for this shape.
  void compared(const Attention &attention, const std::string &problem);
  /// Who has computed so far, for people; empty where nobody has.
  std::string info() const;

private:
  struct Entry {
    double asked = 0; // operations
    int64_t calls = 0;
    uint64_t used = 0; // when, at last
    std::shared_ptr<const FusedPlan> plan;
    bool isProven = false, isRefused = false;
  };
  Entry &entryFor(const FusedShape &shape);
  bool isWorthPlan(const Entry &entry) const;

  bool isOff = false;
  int64_t after = 0; // 0: by what is won
  int64_t piece;     // tokens
  std::shared_ptr<const CudnnTarget> target;
  std::map<FusedShape, Entry> entries;
  uint64_t time = 0;
  std::string reason; // why not
  int64_t fused = 0, own = 0;
};

} // namespace caat::runtime::cuda

#endif
