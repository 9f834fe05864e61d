// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Lower/Passes.h"
#include "caat/Lower/Program.h"
#include "mlir/Conversion/LLVMCommon/MemRefBuilder.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/IRMapping.h"

namespace caat {
#define GEN_PASS_DEF_RTEMULATEGPUPASS
#include "caat/Lower/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;

namespace {

/// What the test library offers.
struct Library {
  Library(ModuleOp module) {
    OpBuilder b = OpBuilder::atBlockBegin(module.getBody());
    Type i32 = b.getI32Type(), i64 = b.getI64Type();
    threadType = b.getFunctionType({i64, i64, i64, i64}, {});
    auto declare = [&](StringRef name, TypeRange arguments, TypeRange results) {
      auto func = func::FuncOp::create(b, module.getLoc(), name, b.getFunctionType(arguments, results));
      func.setPrivate();
      return func;
    };
    launch = declare("caat_emulate", {threadType, i64, i64, i64, i64}, {});
    barrier = declare("caat_emulate_barrier", {}, {});
    warpBarrier = declare("caat_emulate_warp_barrier", {}, {});
    shuffle = declare("caat_emulate_shuffle", {i32, i32}, i32);
  }

  /// What stands for a function that kernels call, caat_NAME: caat_emulate_NAME.
  static func::FuncOp function(LLVM::CallOp call) {
    StringRef name = *call.getCallee();
    name.consume_front("caat_");
    auto module = call->getParentOfType<ModuleOp>();
    std::string emulated = ("caat_emulate_" + name).str();
    if (auto known = module.lookupSymbol<func::FuncOp>(emulated))
      return known;
    OpBuilder b = OpBuilder::atBlockBegin(module.getBody());
    auto func = func::FuncOp::create(b, module.getLoc(), emulated,
                                     b.getFunctionType(call.getArgOperands().getTypes(), call.getResultTypes()));
    func.setPrivate();
    return func;
  }

  FunctionType threadType; // (slots, thread, block, shared)
  func::FuncOp launch, barrier, warpBarrier, shuffle;
};

struct EmulateGPUPass : caat::impl::RTEmulateGPUPassBase<EmulateGPUPass> {
  using Base::Base;

  /// A buffer without sizes at an address.
  static Value pointTo(OpBuilder &b, Location loc, Value address, MemRefType type) {
    LLVMTypeConverter converter(b.getContext());
    Value pointer = LLVM::IntToPtrOp::create(b, loc, LLVM::LLVMPointerType::get(b.getContext()), address);
    auto descriptor = MemRefDescriptor::fromStaticShape(b, loc, converter, type, pointer);
    return UnrealizedConversionCastOp::create(b, loc, TypeRange(type), ValueRange(descriptor)).getResult(0);
  }

  /// The kernel for one thread: func(slots, thread, block, shared), where slots holds addresses and numbers. It calls
  /// the body, func(buffers..., dims..., thread, block, shared), whose buffers are noalias where the kernel's are: LLVM
  /// is to draw the conclusions here that it draws for the GPU.
  static func::FuncOp buildThread(gpu::GPUFuncOp kernel, ModuleOp module, const Library &library) {
    Location loc = kernel.getLoc();
    OpBuilder b = OpBuilder::atBlockEnd(module.getBody());
    auto func = func::FuncOp::create(b, loc, (kernel.getName() + "_thread").str(), library.threadType);
    func.setPrivate();
    Block *entry = func.addEntryBlock();
    b.setInsertionPointToStart(entry);
    SmallVector<Value> operands;
    Type i64 = b.getI64Type(), index = b.getIndexType();
    auto toIndex = [&](Value v) -> Value { return arith::IndexCastOp::create(b, loc, index, v); };
    int64_t count = kernel.getFunctionType().getNumInputs();
    auto slots = MemRefType::get({count}, i64);
    Value values = pointTo(b, loc, entry->getArgument(0), slots);
    // Shared memory comes behind them among the block's arguments.
    for (auto [i, argument] : llvm::enumerate(kernel.getBody().getArguments().take_front(count))) {
      Value slot = memref::LoadOp::create(b, loc, values, ValueRange(arith::ConstantIndexOp::create(b, loc, i)));
      auto type = dyn_cast<MemRefType>(argument.getType());
      operands.push_back(type ? pointTo(b, loc, slot, type) : toIndex(slot));
    }
    llvm::append_range(operands, entry->getArguments().drop_front());
    func::CallOp::create(b, loc, buildBody(kernel, module, library), operands);
    func::ReturnOp::create(b, loc);
    return func;
  }

  static func::FuncOp buildBody(gpu::GPUFuncOp kernel, ModuleOp module, const Library &library) {
    Location loc = kernel.getLoc();
    OpBuilder b = OpBuilder::atBlockEnd(module.getBody());
    SmallVector<Type> types(kernel.getFunctionType().getInputs());
    size_t count = types.size();
    types.append(3, b.getI64Type());
    auto func = func::FuncOp::create(b, loc, (kernel.getName() + "_body").str(), b.getFunctionType(types, {}));
    func.setPrivate();
    for (size_t i = 0; i < count; ++i)
      if (Attribute noAlias = kernel.getArgAttr(i, LLVM::LLVMDialect::getNoAliasAttrName()))
        func.setArgAttr(i, LLVM::LLVMDialect::getNoAliasAttrName(), noAlias);
    Block *entry = func.addEntryBlock();
    b.setInsertionPointToStart(entry);
    IRMapping mapping;
    mapping.map(kernel.getBody().getArguments().take_front(count), entry->getArguments().take_front(count));
    for (BlockArgument shared : kernel.getWorkgroupAttributions()) {
      auto type = cast<MemRefType>(shared.getType());
      mapping.map(shared, pointTo(b, loc, entry->getArguments().back(),
                                  MemRefType::get(type.getShape(), type.getElementType())));
    }
    for (Operation &op : kernel.getBody().front().without_terminator())
      b.clone(op, mapping);
    func::ReturnOp::create(b, loc);
    func.walk([&](Operation *op) { replace(op, func, count, library); });
    return func;
  }

  /// One memory, and calls instead of what concerns several threads.
  static void replace(Operation *op, func::FuncOp func, size_t threadArgument, const Library &library) {
    OpBuilder b(op);
    Location loc = op->getLoc();
    auto replaceBy = [&](Value value) {
      op->getResult(0).replaceAllUsesWith(value);
      op->erase();
    };
    auto toIndex = [&](Value v) -> Value { return arith::IndexCastOp::create(b, loc, b.getIndexType(), v); };
    if (isa<gpu::ThreadIdOp>(op))
      return replaceBy(toIndex(func.getArgument(threadArgument)));
    if (isa<gpu::BlockIdOp>(op))
      return replaceBy(toIndex(func.getArgument(threadArgument + 1)));
    if (isa<gpu::BarrierOp, NVVM::SyncWarpOp>(op)) {
      func::CallOp::create(b, loc, isa<gpu::BarrierOp>(op) ? library.barrier : library.warpBarrier);
      return op->erase();
    }
    if (auto shuffle = dyn_cast<gpu::ShuffleOp>(op)) {
      Type type = shuffle.getValue().getType();
      Value bits = shuffle.getValue();
      if (type != b.getI32Type())
        bits = arith::BitcastOp::create(b, loc, b.getI32Type(), bits);
      Value result = func::CallOp::create(b, loc, library.shuffle, ValueRange{bits, shuffle.getOffset()}).getResult(0);
      if (type != b.getI32Type())
        result = arith::BitcastOp::create(b, loc, type, result);
      return replaceBy(result);
    }
    if (auto call = dyn_cast<LLVM::CallOp>(op)) {
      func::CallOp::create(b, loc, Library::function(call), call.getArgOperands());
      return op->erase();
    }
    if (auto cast = dyn_cast<memref::MemorySpaceCastOp>(op))
      return replaceBy(cast.getSource());
    // A weight mapped from its file is aligned to its elements only.
    if (isa<vector::LoadOp, vector::StoreOp>(op))
      op->removeAttr("alignment");
    for (OpResult result : op->getResults())
      if (auto type = dyn_cast<MemRefType>(result.getType()); type && type.getMemorySpace())
        result.setType(MemRefType::get(type.getShape(), type.getElementType(), type.getLayout()));
  }

  /// kernel(begin, end, buffers..., dims...) runs all threads of all blocks.
  static void buildLaunch(func::FuncOp kernel, gpu::GPUFuncOp gpuKernel, func::FuncOp thread, const Library &library) {
    Location loc = kernel.getLoc();
    auto launch = kernel->getAttrOfType<DictionaryAttr>(kLaunchAttr);
    auto number = [&](StringRef name) { return launch.getAs<IntegerAttr>(name).getInt(); };
    kernel.setArgAttrsAttr(ArrayAttr());
    Block *entry = kernel.addEntryBlock();
    OpBuilder b = OpBuilder::atBlockBegin(entry);
    Type i64 = b.getI64Type();
    auto constant = [&](int64_t value) -> Value { return arith::ConstantIntOp::create(b, loc, value, 64); };
    auto toI64 = [&](Value v) -> Value { return arith::IndexCastOp::create(b, loc, i64, v); };
    int64_t count = kernel.getNumArguments() - 1;
    Value slots = memref::AllocaOp::create(b, loc, MemRefType::get({count}, i64));
    auto put = [&](int64_t slot, Value value) {
      memref::StoreOp::create(b, loc, value, slots, ValueRange(arith::ConstantIndexOp::create(b, loc, slot)));
    };
    for (int64_t i = 2; i < kernel.getNumArguments(); ++i) {
      Value value = entry->getArgument(i);
      if (isa<MemRefType>(value.getType()))
        value = memref::ExtractAlignedPointerAsIndexOp::create(b, loc, value);
      put(i - 2, toI64(value));
    }
    // Rows of a launch are not split: the runtime has one thread a rank in such tests.
    Value rows = toI64(entry->getArgument(1));
    put(count - 1, rows);
    Value blocks = arith::CeilDivUIOp::create(b, loc, rows, constant(number("rows_per_block")));
    if (launch.contains("blocks_per_row"))
      blocks = arith::MulIOp::create(b, loc, blocks, constant(number("blocks_per_row")));
    int64_t shared = 0;
    for (BlockArgument attribution : gpuKernel.getWorkgroupAttributions())
      shared += cast<MemRefType>(attribution.getType()).getNumElements();
    Value function = func::ConstantOp::create(b, loc, library.threadType, thread.getName());
    Value address = memref::ExtractAlignedPointerAsIndexOp::create(b, loc, slots);
    func::CallOp::create(b, loc, library.launch,
                         ValueRange{function, toI64(address), blocks, constant(number("threads")), constant(shared)});
    func::ReturnOp::create(b, loc);
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    Library library(module);
    for (auto kernels : llvm::make_early_inc_range(module.getOps<gpu::GPUModuleOp>())) {
      for (auto kernel : kernels.getOps<gpu::GPUFuncOp>())
        buildLaunch(module.lookupSymbol<func::FuncOp>(kernel.getName()), kernel, buildThread(kernel, module, library),
                    library);
      for (auto global : kernels.getOps<memref::GlobalOp>())
        if (!module.lookupSymbol(global.getSymName()))
          OpBuilder::atBlockBegin(module.getBody()).clone(*global);
      if (!keep)
        kernels.erase();
    }
  }
};
} // namespace
