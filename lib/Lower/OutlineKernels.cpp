// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Lower/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Interfaces/ViewLikeInterface.h"
#include "mlir/Transforms/RegionUtils.h"

namespace caat {
#define GEN_PASS_DEF_RTOUTLINEKERNELSPASS
#include "caat/Lower/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;

namespace {

/// What a kernel takes from outside: buffers and index values become arguments, the ops in between are repeated inside.
struct Captures {
  SetVector<Value> buffers, scalars;
  SetVector<Operation *> inside; // in the order of dependence
  bool apart = true;             // no two buffers can overlap

  LogicalResult add(Value value) {
    Operation *op = value.getDefiningOp();
    if (op && inside.contains(op))
      return success();
    bool repeat = op && (op->hasTrait<OpTrait::ConstantLike>() ||
                         isa<memref::GetGlobalOp, memref::SubViewOp, memref::CastOp, memref::ExpandShapeOp,
                             memref::CollapseShapeOp, memref::ReinterpretCastOp, memref::ViewOp>(op));
    if (repeat) {
      for (Value operand : op->getOperands())
        if (failed(add(operand)))
          return failure();
      inside.insert(op);
      return success();
    }
    if (auto type = dyn_cast<MemRefType>(value.getType())) {
      if (!type.getLayout().isIdentity())
        return emitError(value.getLoc(), "a kernel uses a buffer of unknown layout ") << type;
      apart &= op && isa<rt::BufferOp, rt::ParameterOp, memref::AllocOp>(op);
      buffers.insert(value);
      for (Value size : sizes(value))
        if (failed(add(size)))
          return failure();
      return success();
    }
    if (!value.getType().isIntOrIndexOrFloat() ||
        (!value.getType().isIndex() && value.getType().getIntOrFloatBitWidth() > 64))
      return emitError(value.getLoc(), "a kernel uses a value of type ") << value.getType() << " from outside";
    scalars.insert(value);
    return success();
  }

  /// Values of a buffer's dynamic sizes.
  SmallVector<Value> sizes(Value buffer) {
    if (auto op = buffer.getDefiningOp<rt::BufferOp>())
      return SmallVector<Value>(op.getSizes());
    if (auto op = buffer.getDefiningOp<memref::AllocOp>())
      return SmallVector<Value>(op.getDynamicSizes());
    SmallVector<Value> &known = measured[buffer];
    auto type = cast<MemRefType>(buffer.getType());
    if (known.empty() && !type.hasStaticShape()) {
      OpBuilder b(buffer.getContext());
      b.setInsertionPointAfterValue(buffer);
      for (int64_t d = 0; d < type.getRank(); ++d)
        if (type.isDynamicDim(d))
          known.push_back(memref::DimOp::create(b, buffer.getLoc(), buffer, d));
    }
    return known;
  }

  DenseMap<Value, SmallVector<Value>> measured;
};

/// A scalar that was passed as index, in its own type again.
Value unpack(OpBuilder &b, Location loc, Value index, Type type) {
  if (type.isIndex())
    return index;
  Type bits = b.getIntegerType(type.getIntOrFloatBitWidth());
  Value value = arith::IndexCastUIOp::create(b, loc, bits, index);
  if (isa<FloatType>(type))
    return arith::BitcastOp::create(b, loc, type, value);
  return type == bits ? value : UnrealizedConversionCastOp::create(b, loc, type, value).getResult(0);
}

Value pack(OpBuilder &b, Location loc, Value value) {
  if (value.getType().isIndex())
    return value;
  Type bits = b.getIntegerType(value.getType().getIntOrFloatBitWidth());
  if (isa<FloatType>(value.getType()))
    value = arith::BitcastOp::create(b, loc, bits, value);
  else if (value.getType() != bits) // of an unsigned integer
    value = UnrealizedConversionCastOp::create(b, loc, bits, value).getResult(0);
  return arith::IndexCastUIOp::create(b, loc, b.getIndexType(), value);
}

/// "exp_reduce", "copy", …: what a kernel does, for its name in traces.
std::string describe(scf::ForallOp kernel) {
  SetVector<StringRef> words;
  kernel.walk([&](Operation *op) {
    if (isa<math::ExpOp>(op))
      words.insert("exp");
    else if (isa<math::RsqrtOp, math::SqrtOp>(op))
      words.insert("norm");
    else if (isa<math::ErfOp>(op))
      words.insert("erf");
    else if (isa<math::TanhOp>(op))
      words.insert("tanh");
    else if (auto generic = dyn_cast<linalg::LinalgOp>(op); generic && generic.getNumReductionLoops())
      words.insert("reduce");
  });
  return words.empty() ? "map" : llvm::join(words, "_");
}

struct OutlineKernelsPass : caat::impl::RTOutlineKernelsPassBase<OutlineKernelsPass> {
  /// Builds the function of `kernel`, with the name still to be chosen.
  func::FuncOp outline(scf::ForallOp kernel, Captures &captures) {
    OpBuilder b(&getContext());
    Location loc = kernel.getLoc();
    SmallVector<Type> types(2, b.getIndexType());
    for (Value buffer : captures.buffers)
      types.push_back(MemRefType::get({}, cast<MemRefType>(buffer.getType()).getElementType()));
    types.append(captures.scalars.size(), b.getIndexType());
    auto func = func::FuncOp::create(loc, "kernel", b.getFunctionType(types, {}));
    func.setPrivate();
    Block *block = func.addEntryBlock();
    b.setInsertionPointToStart(block);

    IRMapping mapping;
    unsigned next = 2 + captures.buffers.size();
    for (Value scalar : captures.scalars)
      mapping.map(scalar, unpack(b, loc, block->getArgument(next++), scalar.getType()));
    next = 2;
    for (Value buffer : captures.buffers) {
      for (Value size : captures.sizes(buffer))
        if (Operation *op = size.getDefiningOp(); op && captures.inside.contains(op) && !mapping.contains(size))
          b.clone(*op, mapping);
      if (captures.apart)
        func.setArgAttr(next, LLVM::LLVMDialect::getNoAliasAttrName(), b.getUnitAttr());
      mapping.map(buffer, rebuild(b, block->getArgument(next++), buffer, captures, mapping));
    }
    for (Operation *op : captures.inside)
      if (!mapping.contains(op->getResult(0)))
        b.clone(*op, mapping);

    Value step = arith::ConstantIndexOp::create(b, loc, 1);
    auto loop = scf::ForOp::create(b, loc, block->getArgument(0), block->getArgument(1), step);
    mapping.map(kernel.getInductionVar(0), loop.getInductionVar());
    OpBuilder body = OpBuilder::atBlockTerminator(loop.getBody());
    for (Operation &op : kernel.getBody()->without_terminator())
      isa<memref::AllocaOp>(op) ? OpBuilder(loop).clone(op, mapping) : body.clone(op, mapping);
    func::ReturnOp::create(b, loc);
    return func;
  }

  /// The buffer of rank-0 argument `pointer`: dense, with the sizes of `buffer`.
  Value rebuild(OpBuilder &b, Value pointer, Value buffer, Captures &captures, IRMapping &mapping) {
    auto type = cast<MemRefType>(buffer.getType());
    Location loc = buffer.getLoc();
    SmallVector<Value> dynamic = captures.sizes(buffer);
    SmallVector<OpFoldResult> sizes, strides(type.getRank());
    for (int64_t size : type.getShape()) {
      if (!ShapedType::isDynamic(size)) {
        sizes.push_back(b.getIndexAttr(size));
        continue;
      }
      sizes.push_back(mapping.lookup(dynamic.front()));
      dynamic.erase(dynamic.begin());
    }
    OpFoldResult stride = b.getIndexAttr(1);
    for (int64_t d = type.getRank(); d-- > 0;) {
      strides[d] = stride;
      std::optional<int64_t> x = getConstantIntValue(stride), y = getConstantIntValue(sizes[d]);
      if (x && y) {
        stride = b.getIndexAttr(*x * *y);
        continue;
      }
      auto value = [&](OpFoldResult v, std::optional<int64_t> constant) -> Value {
        return constant ? arith::ConstantIndexOp::create(b, loc, *constant).getResult() : cast<Value>(v);
      };
      if (d > 0)
        stride = arith::MulIOp::create(b, loc, value(stride, x), value(sizes[d], y)).getResult();
    }
    Value strided = memref::ReinterpretCastOp::create(b, loc, pointer, b.getIndexAttr(0), sizes, strides);
    return strided.getType() == type ? strided : memref::CastOp::create(b, loc, type, strided).getResult();
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    SymbolTable symbols(module);
    auto host = symbols.lookup<func::FuncOp>("caat_forward");
    if (!host)
      return;
    SmallVector<scf::ForallOp> kernels;
    host.walk<WalkOrder::PreOrder>([&](scf::ForallOp kernel) {
      kernels.push_back(kernel);
      return WalkResult::skip();
    });
    llvm::StringMap<StringAttr> known;
    for (scf::ForallOp kernel : kernels) {
      if (kernel.getRank() != 1 || !kernel.isNormalized() || kernel->getNumResults()) {
        kernel.emitOpError("a kernel is one-dimensional, from 0 by 1, on memrefs");
        return signalPassFailure();
      }
      Captures captures;
      SetVector<Value> values;
      getUsedValuesDefinedAbove(kernel.getRegion(), values);
      for (Value value : values)
        if (failed(captures.add(value)))
          return signalPassFailure();

      func::FuncOp func = outline(kernel, captures);
      std::string text;
      llvm::raw_string_ostream os(text);
      func.print(os, OpPrintingFlags().useLocalScope().assumeVerified());
      auto [entry, isNew] = known.try_emplace(text);
      if (isNew) {
        func.setSymName(llvm::formatv("k{0}_{1}", known.size() - 1, describe(kernel)).str());
        entry->second = symbols.insert(func);
      } else {
        func.erase();
      }

      OpBuilder b(kernel);
      Value grid = kernel.getUpperBound(b).front();
      SmallVector<Value> dims;
      for (Value scalar : captures.scalars)
        dims.push_back(pack(b, kernel.getLoc(), scalar));
      rt::LaunchOp::create(b, kernel.getLoc(), FlatSymbolRefAttr::get(entry->second), grid,
                           captures.buffers.getArrayRef(), dims, ValueRange(), FlatSymbolRefAttr());
      kernel.erase();
    }
  }
};
} // namespace
