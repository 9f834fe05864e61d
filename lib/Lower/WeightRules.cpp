// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Lower/WeightRules.h"
#include "llvm/ADT/StringSwitch.h"

using namespace caat;
using llvm::StringRef;

llvm::Expected<WeightRule> WeightRule::parse(StringRef text) {
  size_t sign = text.rfind('=');
  StringRef names = sign == StringRef::npos ? "*" : text.take_front(sign), kind = text.substr(sign + 1);
  auto known = llvm::StringSwitch<std::optional<Kind>>(kind)
                   .Case("i4", FourBits)
                   .Case("i8", EightBits)
                   .Case("float", Float)
                   .Default(std::nullopt);
  if (!known)
    return llvm::createStringError("'" + kind + "' is none of i4, i8 and float");
  llvm::Expected<llvm::GlobPattern> pattern = llvm::GlobPattern::create(names, /*MaxSubPatterns=*/1024);
  if (!pattern || names.empty())
    return llvm::createStringError(
        "'" + names + "' is no pattern of names: " + (pattern ? "it is empty" : llvm::toString(pattern.takeError())));
  return WeightRule{text.str(), std::move(*pattern), *known};
}
