// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "PolicyText.h"
#include "llvm/Support/FormatVariadic.h"

std::string caat::describePolicy(tp::PolicyAttr policy, int64_t channels) {
  if (policy.isExact(channels))
    return "full";
  std::string text = "drop";
  if (policy.getShared() > 0 || policy.isPrivate())
    text = llvm::formatv("partial {0}/{1} {2}", policy.getShared(), channels, tp::stringifyRest(policy.getRest()));
  if (policy.getScaleValue() != 1.0)
    text += llvm::formatv(" x{0:F3}", policy.getScaleValue()).str();
  return policy.getEstimateScale() ? text + ", estimate" : text;
}
