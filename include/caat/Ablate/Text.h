// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What plans are measured on, cut into stretches and batches.
#ifndef CAAT_ABLATE_TEXT_H
#define CAAT_ABLATE_TEXT_H

#include "caat/runtime/Engine.h"

namespace caat::ablate {

/// Rows of a model's inputs: windows of a text, i64 [windows, length], which a language model reads as its tokens, or
/// any inputs by name whose first dimension are the rows.
class Text {
public:
  /// `count` windows from token `first` on of `tokens`, i64 [n]. Throws Error (Input) where there are not as many.
  static Text cut(const runtime::Tensor &tokens, int64_t first, int64_t count, int64_t length, int64_t batch);
  /// `count` rows from row `first` on. Throws Error (Input) where arrays differ in their rows, or have too few.
  static Text rows(const runtime::TensorMap &inputs, int64_t first, int64_t count, int64_t batch);

  bool isTokens() const { return tokens; }
  int64_t size() const { return count; }
  int64_t batchSize() const { return batch; }
  int64_t batches() const { return (count + batch - 1) / batch; }
  /// Rows of a batch, with the memory of all.
  runtime::TensorMap at(int64_t number) const;
  /// The tokens of a batch of windows.
  runtime::Tensor tokensAt(int64_t number) const { return at(number).begin()->second; }

  /// Runs a batch; outputs of a language model stay with the ranks, others are returned.
  runtime::TensorMap run(runtime::Engine &engine, int64_t number, const runtime::SiteRange &range) const;

private:
  runtime::TensorMap arrays;
  int64_t count = 0, batch = 1;
  bool tokens = false;
};

} // namespace caat::ablate

#endif
