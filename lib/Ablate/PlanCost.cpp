// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Ablate/PlanCost.h"
#include "caat/runtime/Wire.h"
#include <algorithm>

namespace caat::ablate {

double CostModel::bytesPerToken(size_t site, const Choice &choice) const {
  int64_t channels = choice.getShared(manifest.sites[site].channels);
  if (choice.rate > 0) // at most: what the division leaves over is less than a block
    return choice.rate / 8 * static_cast<double>(manifest.sites[site].channels);
  if (!choice.bits)
    return static_cast<double>(channels) * elementBytes;
  runtime::WireFormat wire{channels, choice.bits, choice.block, {}};
  return static_cast<double>(wire.rowBytes()) +
         std::min<double>(choice.exact, static_cast<double>(channels)) * elementBytes;
}

double CostModel::seconds(double bytes, bool isRounded, const cost::Link &over) const {
  if (isRounded)
    return cost::trafficOf("quantized_all_reduce", manifest.tp, bytes)->seconds(over);
  cost::AllReduce way = rings ? cost::AllReduce::Ring : cost::fastestAllReduce(manifest.tp, bytes, over);
  return cost::allReduce(way, manifest.tp, bytes).seconds(over);
}

PlanCost CostModel::of(size_t site, const Choice &choice, const cost::Link &over) const {
  PlanCost cost;
  cost.bytesPerToken = bytesPerToken(site, choice);
  auto tokens = static_cast<double>(workload.tokens);
  if (double bytes = cost.bytesPerToken * tokens; bytes > 0) {
    cost.syncs = 1;
    cost.seconds = seconds(bytes, choice.isRounded(), over);
  }
  cost.seconds += choice.isFull()      ? workload.sumSeconds
                  : choice.isRounded() ? workload.roundedSeconds
                                       : workload.deferredSeconds;
  if (choice.estimate == Estimate::SmallRank && !choice.isPrivate && (choice.shared < 1 || choice.rate > 0)) {
    int64_t channels = manifest.sites[site].channels, features = (choice.feature == Feature::Both ? 2 : 1) * channels;
    cost.seconds += 2 * tokens * static_cast<double>(choice.rank * (channels + features)) * workload.flopSeconds;
  }
  return cost;
}

PlanCost CostModel::of(const Choices &choices, const cost::Link &other) const {
  PlanCost cost;
  cost.seconds = workload.computeSeconds;
  for (size_t site = 0; site < choices.size(); ++site) {
    PlanCost part = of(site, choices[site], other);
    cost.syncs += part.syncs;
    cost.bytesPerToken += part.bytesPerToken;
    cost.seconds += part.seconds;
  }
  return cost;
}

} // namespace caat::ablate
