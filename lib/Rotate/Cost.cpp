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

namespace caat {

static int64_t bytesOf(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor && tensor.hasStaticShape() ? onnx::storageBytes(tensor).value_or(0) : 0;
}

/// A weight expression that a tp.shard is part of.
static bool isSplit(Value value) {
  Operation *op = value.getDefiningOp();
  return op && (isa<tp::ShardOp>(op) || llvm::any_of(op->getOperands(), isSplit));
}

CostModel CostModel::get(ModuleOp partitioned, ModuleOp rotated) {
  CostModel cost;
  for (auto mesh : partitioned.getOps<tp::MeshOp>())
    cost.ranks = mesh.getNumRanks();
  auto main = partitioned.lookupSymbol<func::FuncOp>("main");
  llvm::SmallDenseSet<Value> seen;
  main.walk([&](Operation *op) {
    if (op->getNumResults() == 1 && isWeightExpression(op->getResult(0)))
      return;
    for (Value operand : op->getOperands())
      if (isWeightExpression(operand) && seen.insert(operand).second)
        (isSplit(operand) ? cost.splitBytes : cost.wholeBytes) += bytesOf(operand.getType());
    if (auto collective = dyn_cast<tp::CollectiveOpInterface>(op)) {
      Value whole = isa<tp::ReduceScatterOp>(op) ? op->getOperand(0) : op->getResult(0);
      auto bytes = static_cast<double>(shard::bytesPerToken(whole.getType()));
      cost.sentPerToken += cost::trafficOf(op->getName().stripDialect(), cost.ranks, bytes).value();
    }
  });
  llvm::MapVector<Attribute, int64_t> groups;
  llvm::SmallDenseSet<std::pair<Value, Attribute>> counted;
  rotated.lookupSymbol<func::FuncOp>("main").walk([&](tp::HeldOp held) {
    if (counted.insert({held.getInput(), held.getGroupAttr()}).second)
      groups[held.getGroupAttr()] += bytesOf(held.getType());
  });
  for (auto [name, bytes] : groups)
    cost.groups.push_back(bytes);
  return cost;
}

StrategyCost CostModel::tensorParallel(int64_t tokens) const {
  cost::Traffic sent{sentPerToken.messages, sentPerToken.bytes * static_cast<double>(tokens)};
  return {"tp", sent, splitBytes + wholeBytes, 0, false};
}

StrategyCost CostModel::rotated(bool inPlace) const {
  StrategyCost cost{inPlace ? "rtp in place" : "rtp", {}, wholeBytes, 0, true};
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

StrategyCost CostModel::dataParallel() const { return {"data parallel", {}, ranks * splitBytes + wholeBytes, 0, true}; }

std::optional<int64_t> CostModel::crossover() const {
  if (sentPerToken.bytes <= 0)
    return std::nullopt;
  return static_cast<int64_t>(std::ceil(rotated(false).sent.bytes / sentPerToken.bytes));
}

void CostModel::print(llvm::raw_ostream &os, int64_t tokens, const cost::Link &link) const {
  constexpr double mib = 1 << 20;
  bool fast = link.bandwidth >= 1e9;
  os << llvm::formatv("a step of {0} token{1} on {2} ranks, link ", tokens, tokens == 1 ? "" : "s", ranks)
     << llvm::format("%g %s, %g us\n", link.bandwidth / (fast ? 1e9 : 1e6), fast ? "GB/s" : "MB/s", link.latency * 1e6);
  os << llvm::formatv("  {0,-14} {1,12} {2,10} {3,12} {4,12}  {5}\n", "strategy", "sends MiB", "link ms", "weights MiB",
                      "spare MiB", "tokens a rank");
  for (const StrategyCost &cost : {tensorParallel(tokens), rotated(false), rotated(true), dataParallel()})
    os << llvm::formatv("  {0,-14} {1,12:F2} {2,10:F2} {3,12:F1} {4,12:F1}  {5}\n", cost.name, cost.sent.bytes / mib,
                        cost.sent.seconds(link) * 1e3, static_cast<double>(cost.weightBytes) / mib,
                        static_cast<double>(cost.spareBytes) / mib,
                        cost.dividesBatch ? (tokens + ranks - 1) / ranks : tokens);
  if (std::optional<int64_t> tokensFrom = crossover())
    os << llvm::formatv("  rtp sends less than tp from {0} tokens a step on\n", *tokensFrom);
}

} // namespace caat
