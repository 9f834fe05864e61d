// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Ablate/PlanCost.h"
#include "caat/runtime/Wire.h"
#include <algorithm>

namespace caat::ablate {

double CostModel::bytesPerToken(size_t site, const Choice &choice) const {
  int64_t channels = choice.getShared(manifest.sites[site].channels);
  if (!choice.bits)
    return static_cast<double>(channels) * elementBytes;
  runtime::WireFormat wire{channels, choice.bits, choice.block, {}};
  return static_cast<double>(wire.rowBytes()) +
         std::min<double>(choice.exact, static_cast<double>(channels)) * elementBytes;
}

double CostModel::seconds(double bytesPerToken, const cost::Link &over) const {
  double bytes = bytesPerToken * static_cast<double>(workload.tokens);
  if (bytes == 0)
    return 0;
  return cost::allReduce(cost::fastestAllReduce(manifest.tp, bytes, over), manifest.tp, bytes).seconds(over);
}

PlanCost CostModel::of(const Choices &choices, const cost::Link &other) const {
  PlanCost cost;
  cost.seconds = workload.computeSeconds;
  for (size_t site = 0; site < choices.size(); ++site) {
    double bytes = bytesPerToken(site, choices[site]);
    cost.syncs += bytes > 0;
    cost.bytesPerToken += bytes;
    cost.seconds += seconds(bytes, other);
  }
  return cost;
}

} // namespace caat::ablate
