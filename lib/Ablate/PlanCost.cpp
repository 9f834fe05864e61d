// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Ablate/PlanCost.h"
#include "caat/runtime/Wire.h"
#include <algorithm>
#include <array>

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

double CostModel::workSeconds(size_t site, const Choice &choice) const {
  double seconds = choice.isFull()      ? workload.sumSeconds
                   : choice.isRounded() ? workload.roundedSeconds
                                        : workload.deferredSeconds;
  if (choice.estimate == Estimate::SmallRank && !choice.isPrivate && (choice.shared < 1 || choice.rate > 0)) {
    int64_t channels = manifest.sites[site].channels, features = (choice.feature == Feature::Both ? 2 : 1) * channels;
    auto products = static_cast<double>(workload.tokens * choice.rank * (channels + features));
    seconds += 2 * products * workload.flopSeconds;
  }
  return seconds;
}

PlanCost CostModel::of(size_t site, const Choice &choice, const cost::Link &over) const {
  PlanCost cost;
  cost.bytesPerToken = bytesPerToken(site, choice);
  if (double bytes = cost.bytesPerToken * static_cast<double>(workload.tokens); bytes > 0) {
    cost.syncs = 1;
    cost.seconds = seconds(bytes, choice.isRounded(), over);
  }
  cost.seconds += workSeconds(site, choice);
  return cost;
}

/// The schedule of such a run: a half computes up to its next sum, then the other one does, on the same processor; sums
/// travel one after the other, and a half goes on when its own is there.
double CostModel::inHalves(const Choices &choices, const cost::Link &over) const {
  const std::array<double, 2> shares = {workload.firstHalf, 1 - workload.firstHalf};
  double each = (workload.computeSeconds - workload.headSeconds) / static_cast<double>(choices.size());
  double work = 0; // of the whole step since the last sum: who has none to wait for goes on
  double processor = 0, wire = 0;
  std::array<double, 2> arrived = {};
  auto compute = [&](size_t half) { processor = std::max(processor, arrived[half]) + work * shares[half]; };
  for (size_t site = 0; site < choices.size(); ++site) {
    work += each + workSeconds(site, choices[site]);
    double bytes = bytesPerToken(site, choices[site]) * static_cast<double>(workload.tokens);
    if (bytes <= 0)
      continue;
    for (size_t half : {0, 1}) {
      compute(half);
      wire = std::max(wire, processor) + seconds(bytes * shares[half], choices[site].isRounded(), over);
      arrived[half] = wire;
    }
    work = 0;
  }
  work += workload.headSeconds;
  for (size_t half : {0, 1})
    compute(half);
  return processor;
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
  if (workload.firstHalf > 0)
    cost.halvedSeconds = inHalves(choices, other);
  return cost;
}

} // namespace caat::ablate
