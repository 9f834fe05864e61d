// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the outputs of an encoder are worth: sentence embeddings beside the exact program's.
#ifndef CAAT_ABLATE_EMBEDDINGS_H
#define CAAT_ABLATE_EMBEDDINGS_H

#include "caat/runtime/Judge.h"
#include <vector>

namespace caat::ablate {

/// Embeddings of the rows of a text under the exact program.
class Embeddings {
public:
  /// How many sentences of the text a sentence finds; fewer where there are fewer.
  static constexpr size_t found = 10;

  /// An encoder's embeddings of a batch: its first f32 output, [rows, h], or [rows, n, h] averaged over the positions
  /// that `attention_mask` marks (all where the inputs have none). Throws Error (Input) where there is no such output.
  static std::vector<std::vector<float>> of(const runtime::Manifest &manifest, const runtime::TensorMap &inputs,
                                            const runtime::TensorMap &outputs);

  void add(const std::vector<std::vector<float>> &rows) { exact.insert(exact.end(), rows.begin(), rows.end()); }

  /// Rows from `first` on under a plan. By row: nll and kl are 1 - cosine to the exact embedding; `agree` says for each
  /// of the sentences that the exact embedding finds (those of largest cosine beside itself) whether this one, looking
  /// among the exact embeddings, finds it too.
  runtime::Judgement compare(size_t first, const std::vector<std::vector<float>> &rows) const;

private:
  std::vector<size_t> search(size_t self, const std::vector<float> &query) const;

  std::vector<std::vector<float>> exact;
};

} // namespace caat::ablate

#endif
