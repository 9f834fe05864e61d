// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// First rt and tp ops become calls in the LLVM dialect, tied to memrefs by casts; then upstream's conversions run (see
// buildCodePipeline), and the casts cancel.
#include "caat/Lower/Passes.h"
#include "dialects/onnx/ONNX.h"
#include "lib/Lower/Host/HostOps.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Transforms/DialectConversion.h"

namespace caat {
#define GEN_PASS_DEF_RTTOLLVMPASS
#include "caat/Lower/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;
using namespace caat::lower;

static LogicalResult lowerHost(RuntimeCalls &calls) {
  func::FuncOp host = calls.getProgram().host;
  SmallVector<Operation *> ops;
  host.walk([&](Operation *op) {
    bool isElement = isa<memref::LoadOp, memref::StoreOp>(op) && calls.getProgram().isOnDevice();
    if (isa<rt::RTDialect, tp::TPDialect>(op->getDialect()) || isElement)
      ops.push_back(op);
  });
  for (Operation *op : ops) {
    calls.setInsertionPoint(op);
    if (failed(lowerHostOp(calls, op)))
      return failure();
    op->dropAllUses(); // a token's
    op->erase();
  }
  return success();
}

/// Code of the host goes on behind a check that fails, until it is asked for the next time: it must not trap. A size
/// that is divided by may be zero then.
static void guardDivisions(func::FuncOp function) {
  function.walk([](Operation *op) {
    if (!isa<arith::DivSIOp, arith::DivUIOp, arith::FloorDivSIOp, arith::CeilDivSIOp, arith::CeilDivUIOp,
             arith::RemSIOp, arith::RemUIOp>(op) ||
        !op->getResult(0).getType().isIntOrIndex())
      return;
    Value divisor = op->getOperand(1);
    if (std::optional<int64_t> constant = getConstantIntValue(divisor); constant && *constant != 0)
      return;
    OpBuilder b(op);
    auto number = [&](int64_t value) {
      return arith::ConstantOp::create(b, op->getLoc(), b.getIntegerAttr(divisor.getType(), value));
    };
    Value isZero = arith::CmpIOp::create(b, op->getLoc(), arith::CmpIPredicate::eq, divisor, number(0));
    op->setOperand(1, arith::SelectOp::create(b, op->getLoc(), isZero, number(1), divisor));
  });
}

/// Dims of the function that computes the workspace's size.
static void lowerDims(RuntimeCalls &calls, func::FuncOp function) {
  SmallVector<rt::DimOp> dims;
  function.walk([&](rt::DimOp dim) { dims.push_back(dim); });
  for (rt::DimOp dim : dims) {
    calls.setInsertionPoint(dim);
    dim.replaceAllUsesWith(calls.loadDim(function.getArgument(0), dim.getNameAttr()));
    dim.erase();
  }
}

/// void kernel(i64 begin, i64 end, ptr buffers, ptr dims), which calls what is now kernel's body.
static void wrapKernel(RuntimeCalls &calls, func::FuncOp kernel, SymbolTable &symbols) {
  OpBuilder &b = calls.getBuilder();
  Type i64 = calls.getI64Type(), pointer = calls.getPointerType();
  StringAttr name = kernel.getSymNameAttr();
  // The host names kernels by number by now: there is no use to rename.
  symbols.remove(kernel);
  kernel.setSymNameAttr(b.getStringAttr(name.getValue() + "_rows"));
  symbols.insert(kernel);
  kernel->setAttr("llvm.linkage", LLVM::LinkageAttr::get(b.getContext(), LLVM::Linkage::Internal));
  calls.setInsertionPoint(kernel);
  Location loc = calls.getLoc();
  auto wrapper = func::FuncOp::create(b, loc, name, b.getFunctionType({i64, i64, pointer, pointer}, {}));
  b.setInsertionPointToStart(wrapper.addEntryBlock());
  SmallVector<Value> operands{calls.toIndex(wrapper.getArgument(0)), calls.toIndex(wrapper.getArgument(1))};
  int64_t nextBuffer = 0, nextDim = 0;
  for (Type type : ArrayRef(kernel.getArgumentTypes()).drop_front(2)) {
    if (auto memref = dyn_cast<MemRefType>(type))
      operands.push_back(calls.toMemRef(calls.load(pointer, wrapper.getArgument(2), nextBuffer++), memref, {}));
    else
      operands.push_back(calls.toIndex(calls.load(i64, wrapper.getArgument(3), nextDim++)));
  }
  func::CallOp::create(b, loc, kernel, operands);
  func::ReturnOp::create(b, loc);
}

/// The host's loops and branches become blocks here, the last one first: each splits the block that it stands in, which
/// moves all operations behind it. From the front that would take time with the square of the layers.
static LogicalResult lowerControlFlow(func::FuncOp host) {
  SmallVector<Operation *> ops;
  host.walk<WalkOrder::PreOrder>([&](Operation *op) {
    if (isa<scf::ForOp, scf::IfOp>(op))
      ops.push_back(op);
  });
  RewritePatternSet set(host.getContext());
  populateSCFToControlFlowConversionPatterns(set);
  FrozenRewritePatternSet patterns(std::move(set));
  ConversionTarget target(*host.getContext());
  target.addIllegalOp<scf::ForOp, scf::IfOp>();
  target.markUnknownOpDynamicallyLegal([](Operation *) { return true; });
  for (Operation *op : llvm::reverse(ops))
    if (failed(applyPartialConversion(op, target, patterns)))
      return failure();
  return success();
}

namespace {
struct ToLLVMPass : caat::impl::RTToLLVMPassBase<ToLLVMPass> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    FailureOr<Program> program = Program::get(module);
    if (failed(program))
      return signalPassFailure();
    OpBuilder b(&getContext());
    RuntimeCalls calls(*program, b);
    if (failed(lowerHost(calls)) || failed(lowerControlFlow(program->host)))
      return signalPassFailure();
    guardDivisions(program->host);
    if (auto workspace = module.lookupSymbol<func::FuncOp>("caat_workspace_bytes")) {
      lowerDims(calls, workspace);
      guardDivisions(workspace);
    }
    SymbolTable symbols(module);
    for (func::FuncOp kernel : program->kernels)
      if (kernel.isExternal())
        kernel.erase(); // it runs on a GPU
      else
        wrapKernel(calls, kernel, symbols);
    // What remains describes the program and is no code.
    for (Operation &op : llvm::make_early_inc_range(*module.getBody()))
      if (isa<rt::WeightOp, tp::MeshOp, onnx::InitializerOp>(op))
        op.erase();
    for (NamedAttribute attr : llvm::to_vector(module->getDiscardableAttrs()))
      module->removeDiscardableAttr(attr.getName());
  }
};
} // namespace
