// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "PolicyText.h"
#include "caat/runtime/Wire.h"
#include "llvm/Support/FormatVariadic.h"

using namespace caat;

std::string caat::describePolicy(tp::PolicyAttr policy, int64_t channels) {
  if (policy.isExact(channels))
    return "full";
  std::string text = "drop";
  if (policy.getReduced(channels) == channels)
    text = "full";
  else if (policy.getShared() > 0 || policy.isPrivate())
    text = llvm::formatv("partial {0}/{1} {2}", policy.getShared(), channels, tp::stringifyRest(policy.getRest()));
  if (policy.getScaleValue() != 1.0)
    text += llvm::formatv(" x{0:F3}", policy.getScaleValue()).str();
  if (tp::RoundingAttr rounding = policy.getRounding()) {
    text += llvm::formatv(" {0} bits", rounding.getBits()).str();
    if (!rounding.getExact().empty())
      text += llvm::formatv(", {0} exact", rounding.getExact().size()).str();
    if (!rounding.getFeedback())
      text += ", no feedback";
  }
  if (policy.getLowRank())
    return text + llvm::formatv(", estimate of rank {0}", policy.getLowRank().getU().getType().getShape()[2]).str();
  return policy.getEstimateScale() ? text + ", estimate" : text;
}

int64_t caat::getRoundedBytes(tp::RoundingAttr rounding, int64_t channels) {
  return runtime::WireFormat{
      channels, rounding.getBits(), rounding.getBlock(), {rounding.getExact().begin(), rounding.getExact().end()}}
      .rowBytes();
}
