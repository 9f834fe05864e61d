// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_LOWER_WEIGHTRULES_H
#define CAAT_LOWER_WEIGHTRULES_H

#include "llvm/Support/Error.h"
#include "llvm/Support/GlobPattern.h"
#include <string>

namespace caat {

/// How the matrices of products are stored whose initializers' names match.
struct WeightRule {
  enum Kind { Float, FourBits, EightBits };

  std::string text; // as it was given
  llvm::GlobPattern names;
  Kind kind;

  /// "[GLOB=]i4|i8|float"; without GLOB all names match.
  static llvm::Expected<WeightRule> parse(llvm::StringRef text);
};

} // namespace caat

#endif // CAAT_LOWER_WEIGHTRULES_H
