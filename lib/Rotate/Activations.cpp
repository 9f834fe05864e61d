// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// An estimate of what lowering needs for intermediate values: the largest sum of values that are alive at an op. Values
// that share a buffer count once: movement that copies nothing, results over an operand that ends there.
#include "caat/Lower/Conversions.h"
#include "caat/Rotate/Cost.h"
#include "caat/Shard/ShardingChoice.h"
#include "dialects/onnx/ONNX.h"
#include "dialects/tp/TP.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace caat;

namespace {

class Liveness {
public:
  explicit Liveness(Block &block) : block(block) {
    int64_t count = 0;
    for (Operation &op : block)
      number[&op] = count++;
  }

  int64_t peak() {
    for (Operation &op : block) {
      for (Value result : op.getResults())
        if (growsWithTokens(result))
          add(op, result);
    }
    // Differences, summed up in the order of the program.
    std::vector<int64_t> change(number.size() + 1);
    for (const auto &[root, buffer] : buffers) {
      change[buffer.begin] += buffer.bytes;
      change[buffer.end + 1] -= buffer.bytes;
    }
    int64_t live = 0, peak = 0;
    for (int64_t step : change)
      peak = std::max(peak, live += step);
    return peak;
  }

private:
  struct Buffer {
    int64_t bytes, begin, end;
  };

  static bool growsWithTokens(Value value) {
    auto type = dyn_cast<RankedTensorType>(value.getType());
    return type && !type.hasStaticShape() && !isWeightExpression(value);
  }

  int64_t lastUse(Value value) {
    int64_t last = number.lookup(value.getDefiningOp());
    for (Operation *user : value.getUsers())
      last = std::max(last, number.lookup(block.findAncestorOpInBlock(*user)));
    return last;
  }

  /// The operand whose buffer the result of `op` may take, or null.
  Value reused(Operation &op, Value result) {
    if (isa<onnx::ReshapeOp, tensor::CastOp>(op))
      return op.getOperand(0);
    if (auto insert = dyn_cast<tensor::InsertSliceOp>(op))
      return insert.getDest();
    if (!op.hasTrait<onnx::BroadcastElementwise>() && !isa<tp::CollectiveOpInterface>(op))
      return {};
    for (Value operand : op.getOperands()) {
      auto buffer = buffers.find(rootOf(operand));
      if (buffer != buffers.end() && buffer->second.end == number.lookup(&op) &&
          buffer->second.bytes >= shard::bytesPerToken(result.getType()))
        return operand;
    }
    return {};
  }

  void add(Operation &op, Value result) {
    int64_t end = lastUse(result);
    Value root = reused(op, result);
    if (root && buffers.contains(root = rootOf(root))) {
      roots[result] = root;
      buffers[root].end = std::max(buffers[root].end, end);
      return;
    }
    buffers[result] = {shard::bytesPerToken(result.getType()), number.lookup(&op), end};
  }

  Value rootOf(Value value) const {
    auto root = roots.find(value);
    return root == roots.end() ? value : root->second;
  }

  Block &block;
  DenseMap<Operation *, int64_t> number;
  DenseMap<Value, Value> roots; // the value whose buffer another one has
  DenseMap<Value, Buffer> buffers;
};

} // namespace

int64_t caat::activationsPerToken(ModuleOp module) {
  return Liveness(module.lookupSymbol<func::FuncOp>("main").getBody().front()).peak();
}
