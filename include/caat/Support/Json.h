// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_SUPPORT_JSON_H
#define CAAT_SUPPORT_JSON_H

#include "llvm/Support/JSON.h"

namespace caat {

/// llvm::json::parse for untrusted text: that recurses, so what is nested more than 100 deep is an error here.
llvm::Expected<llvm::json::Value> parseJson(llvm::StringRef text);

} // namespace caat

#endif // CAAT_SUPPORT_JSON_H
