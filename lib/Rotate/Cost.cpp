// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Rotate/Cost.h"
#include "caat/Lower/Conversions.h"
#include "caat/Rotate/Passes.h"
#include "caat/Shard/ShardingChoice.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>

using namespace mlir;
using namespace caat;

static int64_t bytesOf(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor && tensor.hasStaticShape() ? onnx::storageBytes(tensor).value_or(0) : 0;
}

/// A weight expression that a tp.shard is part of.
static bool isSplit(Value value) {
  Operation *op = value.getDefiningOp();
  return op && (isa<tp::ShardOp>(op) || llvm::any_of(op->getOperands(), isSplit));
}

cost::Traffic caat::trafficPerToken(ModuleOp partitioned, int64_t ranks) {
  cost::Traffic traffic;
  partitioned.lookupSymbol<func::FuncOp>("main").walk([&](tp::CollectiveOpInterface collective) {
    Operation *op = collective;
    Value whole = isa<tp::ReduceScatterOp>(op) ? op->getOperand(0) : op->getResult(0);
    auto bytes = static_cast<double>(shard::bytesPerToken(whole.getType()));
    if (auto rounded =
            dyn_cast<tp::QuantizedAllReduceOp>(op)) { // scales, integers, exact channels: as runtime/comm/Quantize.h
      int64_t channels = rounded.getNumChannels(), blocks = llvm::divideCeil(channels, int64_t(rounded.getBlock()));
      bytes = static_cast<double>(blocks + llvm::divideCeil(channels, int64_t{8}) * int64_t(rounded.getBits()) +
                                  4 * static_cast<int64_t>(rounded.getExact().size()));
    }
    traffic += cost::trafficOf(op->getName().stripDialect(), ranks, bytes).value();
  });
  return traffic;
}

/// Of one row, on all ranks together. Caches are arguments of the rotated program, each with the shape of a part.
static int64_t bytesOfCaches(func::FuncOp function, int64_t ranks, int64_t maxLength) {
  int64_t total = 0;
  for (BlockArgument argument : function.getArguments())
    if (function.getArgAttr(argument.getArgNumber(), kCacheArgAttr))
      total += shard::bytesPerToken(argument.getType()) * maxLength *
               (function.getArgAttr(argument.getArgNumber(), tp::kShardAttrName) ? ranks : 1);
  return total;
}

CostModel CostModel::get(ModuleOp whole, ModuleOp partitioned, ModuleOp rotated, int64_t maxLength) {
  CostModel cost;
  for (auto mesh : partitioned.getOps<tp::MeshOp>())
    cost.ranks = mesh.getNumRanks();
  llvm::SmallDenseSet<Value> seen;
  partitioned.lookupSymbol<func::FuncOp>("main").walk([&](Operation *op) {
    if (op->getNumResults() == 1 && isWeightExpression(op->getResult(0)))
      return;
    for (Value operand : op->getOperands())
      if (isWeightExpression(operand) && seen.insert(operand).second)
        (isSplit(operand) ? cost.splitBytes : cost.wholeBytes) += bytesOf(operand.getType());
  });
  cost.sentPerToken = trafficPerToken(partitioned, cost.ranks);
  llvm::MapVector<Attribute, int64_t> groups;
  llvm::SmallDenseSet<std::pair<Value, Attribute>> counted;
  auto main = rotated.lookupSymbol<func::FuncOp>("main");
  cost.cacheBytes = bytesOfCaches(main, cost.ranks, maxLength);
  main.walk([&](tp::HeldOp held) {
    if (counted.insert({held.getInput(), held.getGroupAttr()}).second)
      groups[held.getGroupAttr()] += bytesOf(held.getType());
  });
  for (auto [name, bytes] : groups)
    cost.groups.push_back(bytes);
  cost.wholeActivations = activationsPerToken(whole);
  cost.splitActivations = activationsPerToken(partitioned);
  cost.rotatedActivations = activationsPerToken(rotated);
  return cost;
}

static cost::Traffic forTokens(const cost::Traffic &perToken, int64_t tokens) {
  return {perToken.messages, perToken.bytes * static_cast<double>(tokens)};
}

StrategyCost CostModel::tensorParallel(int64_t tokens) const {
  return {"tp", forTokens(sentPerToken, tokens), splitBytes + wholeBytes, 0, tokens, tokens * splitActivations};
}

StrategyCost CostModel::planned(int64_t tokens) const {
  StrategyCost cost = tensorParallel(tokens);
  if (plannedPerToken) {
    cost.name = "tp + plan";
    cost.sent = forTokens(*plannedPerToken, tokens);
  }
  return cost;
}

StrategyCost CostModel::rotated(int64_t tokens, bool inPlace) const {
  int64_t mine = llvm::divideCeil(tokens, ranks);
  StrategyCost cost{inPlace ? "rtp in place" : "rtp", {}, wholeBytes, 0, mine, mine * rotatedActivations};
  llvm::SmallDenseSet<int64_t> sizes;
  for (int64_t bytes : groups) {
    for (int64_t hop = 1; hop < ranks; ++hop)
      cost.sent += cost::permute(ranks, static_cast<double>(bytes));
    cost.weightBytes += bytes;
    if (!inPlace && sizes.insert(bytes).second)
      cost.spareBytes += bytes;
  }
  return cost;
}

StrategyCost CostModel::dataParallel(int64_t tokens) const {
  int64_t mine = llvm::divideCeil(tokens, ranks);
  return {"data parallel", {}, ranks * splitBytes + wholeBytes, 0, mine, mine * wholeActivations};
}

std::optional<int64_t> CostModel::crossover() const {
  const cost::Traffic &sent = plannedPerToken ? *plannedPerToken : sentPerToken;
  if (sent.bytes <= 0)
    return std::nullopt;
  return static_cast<int64_t>(std::ceil(rotated(1, false).sent.bytes / sent.bytes));
}

void CostModel::print(llvm::raw_ostream &os, int64_t tokens, const cost::Link &link) const {
  auto mib = [](double bytes) { return bytes / (1 << 20); };
  bool fast = link.bandwidth >= 1e9;
  os << llvm::formatv("a step of {0} token{1} on {2} ranks, link ", tokens, tokens == 1 ? "" : "s", ranks)
     << llvm::format("%g %s, %g us; by rank\n", link.bandwidth / (fast ? 1e9 : 1e6), fast ? "GB/s" : "MB/s",
                     link.latency * 1e6);
  os << llvm::formatv("  {0,-16} {1,10} {2,10} {3,12} {4,10} {5,15} {6,8}\n", "strategy", "sends MiB", "link ms",
                      "weights MiB", "spare MiB", "activations MiB", "tokens");
  SmallVector<StrategyCost> rows{tensorParallel(tokens)};
  if (plannedPerToken)
    rows.push_back(planned(tokens));
  rows.append({rotated(tokens, false), rotated(tokens, true), dataParallel(tokens)});
  for (const StrategyCost &cost : rows)
    os << llvm::formatv("  {0,-16} {1,10:F2} {2,10:F2} {3,12:F1} {4,10:F1} {5,15:F1} {6,8}\n", cost.name,
                        mib(cost.sent.bytes), cost.sent.seconds(link) * 1e3, mib(cost.weightBytes),
                        mib(cost.spareBytes), mib(cost.activationBytes), cost.tokens);
  if (cacheBytes)
    os << llvm::formatv("  caches: {0:F2} MiB (in f32) for each row of the batch, all ranks together\n",
                        mib(cacheBytes));
  if (std::optional<int64_t> tokensFrom = crossover())
    os << llvm::formatv("  rtp sends less than {0} from {1} tokens a step on\n", plannedPerToken ? "tp + plan" : "tp",
                        *tokensFrom);
}
