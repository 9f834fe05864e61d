// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Names.h"
#include "dialects/onnx/ONNX.h"

using namespace mlir;
using namespace caat;

std::string NameSet::unique(const Twine &wanted) {
  std::string name = wanted.str();
  unsigned &number = next[name];
  std::string base = name;
  while (!taken.insert(name).second)
    name = base + "_" + std::to_string(++number);
  return name;
}

StringRef caat::nameIn(Location loc) {
  if (auto name = dyn_cast<NameLoc>(loc))
    return name.getName();
  if (auto fused = dyn_cast<FusedLoc>(loc))
    for (Location part : fused.getLocations())
      if (StringRef name = nameIn(part); !name.empty())
        return name;
  if (auto call = dyn_cast<CallSiteLoc>(loc))
    return nameIn(call.getCallee());
  return "";
}

StringRef caat::operatorOf(Operation *op) {
  if (auto custom = dyn_cast<caat::onnx::CustomOp>(op))
    return custom.getOpType();
  return op->getName().stripDialect();
}

llvm::DenseMap<Operation *, std::string> caat::nameNodes(ArrayRef<Operation *> nodes) {
  llvm::StringMap<Operation *> owners;
  for (Operation *op : nodes) {
    StringRef name = nameIn(op->getLoc());
    Operation *&owner = owners[name];
    bool isNamed = name.contains(operatorOf(op));
    if (!owner || isNamed || !name.contains(operatorOf(owner)))
      owner = op;
  }
  NameSet names;
  for (const auto &entry : owners)
    if (!entry.getKey().empty())
      names.unique(entry.getKey());
  llvm::DenseMap<Operation *, std::string> result;
  for (Operation *op : nodes) {
    StringRef name = nameIn(op->getLoc());
    if (name.empty())
      result[op] = names.unique(operatorOf(op));
    else if (owners.lookup(name) == op)
      result[op] = name.str();
    else
      result[op] = names.unique(name + "/" + operatorOf(op));
  }
  return result;
}
