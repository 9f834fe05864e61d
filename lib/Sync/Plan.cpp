// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The runtime's reader of plans with LLVM's errors. What needs a program to be checked is in CheckPlan.cpp.
#include "caat/Sync/Plan.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/SHA256.h"

using namespace caat;
using llvm::Expected;
using llvm::StringRef;

Expected<Plan> caat::parsePlan(StringRef text, StringRef file) {
  std::string error;
  std::optional<runtime::Plan> read = runtime::tryParsePlan(text, file.str(), error);
  if (!read)
    return llvm::createStringError(error);
  Plan plan{std::move(*read), {}};
  plan.digest = llvm::toHex(llvm::SHA256::hash(llvm::arrayRefFromStringRef(text)), /*LowerCase=*/true);
  return plan;
}

Expected<Plan> caat::readPlan(StringRef file) {
  std::string error;
  std::optional<std::string> text = runtime::tryReadPlanText(file.str(), error);
  if (!text)
    return llvm::createStringError(error);
  return parsePlan(*text, file);
}

Expected<SiteEstimate> caat::readEstimate(const Plan &plan, const PlanEntry &entry, StringRef site, int64_t ranks,
                                          int64_t channels) {
  std::string error;
  std::optional<SiteEstimate> estimate = runtime::tryReadEstimate(plan, entry, site.str(), ranks, channels, error);
  if (!estimate)
    return llvm::createStringError(error);
  return std::move(*estimate);
}
