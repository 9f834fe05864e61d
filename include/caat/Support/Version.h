// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_SUPPORT_VERSION_H
#define CAAT_SUPPORT_VERSION_H

#include "llvm/ADT/StringRef.h"

namespace caat {

/// Of caat, as everything that it writes says.
inline constexpr llvm::StringLiteral kVersion = "0.1.0";

} // namespace caat

#endif // CAAT_SUPPORT_VERSION_H
