// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The switchable program that an ablation runs on.
#ifndef CAAT_TOOLS_CAATABLATE_PREPAREPROGRAM_H
#define CAAT_TOOLS_CAATABLATE_PREPAREPROGRAM_H

#include "CompileProgram.h"
#include "caat/Ablate/Ablation.h"

namespace caat::ablate {

struct Arguments : Options {
  int64_t tp = 2;
  std::vector<std::string> budgetTexts, choiceTexts; // of no budget: ppl:1.05 or cos:0.995
  std::vector<std::string> dims, values;
  NumberFormats formats;
  bool groupsHeads = false, quiet = false;

  /// Room of the caches.
  int64_t maxLength() const { return std::max(length, stepTokens); }
};

/// Compiles the program into the output folder unless it is there already, and names it in the arguments. Heads that
/// are to be grouped are so, on the text that estimates are fitted on. False, with errors on stderr, where the model
/// cannot be compiled; throws Error.
bool prepareProgram(Arguments &arguments);

} // namespace caat::ablate

#endif
