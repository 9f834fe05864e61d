// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Lower/Passes.h"
#include "caat/Lower/Program.h"
#include "dialects/rt/RT.h"
#include "lib/Lower/GPU/RowEmitter.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Remarks.h"

namespace caat {
#define GEN_PASS_DEF_RTKERNELSTOGPUPASS
#include "caat/Lower/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;
using namespace caat::lower;

/// Threads of a block whose rows are computed by less than all of them.
static constexpr int64_t kBlock = 128;
/// A thread of a wide row has this many elements, as long as there are enough threads.
static constexpr int64_t kElementsOfThread = 8;
static constexpr int64_t kLargestTeam = 512;
/// A row too wide for that is shared by several blocks of this many threads, where they need not wait for each other.
static constexpr int64_t kSpreadBlock = 256, kMostBlocks = 256;
static constexpr int64_t kAlignment = 16;
/// What a block may have without being asked for at its launch.
static constexpr int64_t kMaxSharedBytes = 48 * 1024;

namespace {

/// Threads for a row that `width` of them could share.
int64_t teamSize(int64_t width) {
  if (width <= 4)
    return 1;
  int64_t size = kWarp;
  while (size < kLargestTeam && size * 2 * kElementsOfThread <= width)
    size *= 2;
  return size;
}

/// Where a block's row buffers lie in shared memory.
struct SharedLayout {
  llvm::MapVector<Operation *, int64_t> offsets; // of a memref.alloca, in the part of one team
  int64_t bytes = 0;                             // of one team

  void add(Operation *op, int64_t size) {
    offsets[op] = bytes;
    bytes = llvm::alignTo(bytes + size, kAlignment);
  }
};

class KernelConverter {
public:
  KernelConverter(func::FuncOp kernel, gpu::GPUModuleOp module, bool keep)
      : kernel(kernel), module(module), keep(keep) {}

  LogicalResult run() {
    for (scf::ForOp loop : kernel.getBody().front().getOps<scf::ForOp>())
      rows = rows ? scf::ForOp() : loop;
    if (!rows || rows.getNumResults())
      return kernel.emitError("a kernel for the GPU is one loop over rows");
    if (failed(checkMath()))
      return failure();
    int64_t width = widthOf(*rows.getBody());
    // A block that makes a sum has whole rows.
    bool mayBeSpread = width > kLargestTeam * kElementsOfThread && !kernel->hasAttr(kSumAttr);
    FailureOr<bool> spread = mayBeSpread ? buildSpread(width) : FailureOr<bool>(false);
    if (failed(spread) || (!*spread && failed(buildTeams(width))))
      return failure();
    remark::passed(kernel.getLoc(), remark::RemarkOpts::name("kernels-to-gpu").category("caat"))
        << (kernel.getSymName() + ": " + Twine(team.size) + " threads a row, " + Twine(threads) + " a block, " +
            Twine(sharedBytes()) + " bytes shared")
               .str();
    declare();
    return success();
  }

private:
  /// A row is a block's, a warp's or a thread's.
  LogicalResult buildTeams(int64_t width) {
    team = {};
    team.size = teamSize(width);
    team.chunk = chunkOf(width);
    // Only a whole block can wait for all its threads.
    threads = team.isBlock() ? team.size : kBlock;
    layoutBuffers();
    if (sharedBytes() > kMaxSharedBytes)
      threads = team.size;
    build();
    return buildRow();
  }

  /// A row is that of several blocks. False, and nothing is left, where its threads have to meet.
  FailureOr<bool> buildSpread(int64_t width) {
    blocks = std::min<int64_t>(llvm::divideCeil(width, kSpreadBlock * kElementsOfThread), kMostBlocks);
    threads = kSpreadBlock;
    team = {};
    team.size = blocks * threads;
    team.chunk = chunkOf(width);
    bool haveToMeet = false;
    team.haveToMeet = &haveToMeet;
    layoutBuffers();
    haveToMeet = !layout.offsets.empty();
    if (!haveToMeet) {
      layout.bytes = 0; // there are no reductions
      build();
      if (failed(buildRow()))
        return failure();
      team.haveToMeet = nullptr;
      if (!haveToMeet)
        return true;
      func.erase();
    }
    blocks = 1;
    layout = {};
    registers.clear();
    return false;
  }

  /// Functions that PTX has no instruction for and rt-approximate-math no expansion.
  LogicalResult checkMath() {
    WalkResult result = kernel.walk([&](Operation *op) {
      bool fits = !isa<math::MathDialect>(op->getDialect()) ||
                  isa<math::FmaOp, math::SqrtOp, math::RsqrtOp, math::AbsFOp, math::AbsIOp, math::FloorOp, math::CeilOp,
                      math::TruncOp, math::RoundEvenOp, math::CopySignOp, math::IsNaNOp, math::IsInfOp,
                      math::CountLeadingZerosOp, math::CountTrailingZerosOp, math::CtPopOp>(op);
      if (!fits)
        op->emitError("'") << op->getName() << "' of " << op->getResult(0).getType()
                           << " cannot be computed by a GPU kernel";
      return fits ? WalkResult::advance() : WalkResult::interrupt();
    });
    return failure(result.wasInterrupted());
  }

  /// Where anything has 16 bits, 16 bytes of that, as long as every thread of a block has some. One number for all ops
  /// of the row, so that what a thread has of one is what it has of the next.
  int64_t chunkOf(int64_t width) {
    bool anyNarrow = llvm::any_of(kernel.getArgumentTypes(), [](Type type) {
      auto buffer = dyn_cast<MemRefType>(type);
      return buffer && isa<FloatType>(buffer.getElementType()) && buffer.getElementTypeBitWidth() == 16;
    });
    return anyNarrow && (blocks > 1 || width >= kMostChunk * team.size) ? kMostChunk : kLeastChunk;
  }

  void layoutBuffers() {
    if (team.size == 1)
      return;
    kernel.walk([&](memref::AllocaOp alloca) {
      MemRefType type = alloca.getType();
      if (isKeptInRegisters(alloca, *rows.getBody(), team))
        registers.push_back(alloca);
      else if (!isReplicated(alloca))
        layout.add(alloca, type.getNumElements() * llvm::divideCeil(type.getElementTypeBitWidth(), 8));
    });
    if (team.isBlock())
      layout.bytes += kReductionBytes;
  }

  int64_t teams() const { return blocks > 1 ? 1 : threads / team.size; }
  int64_t sharedBytes() const { return layout.bytes * teams(); }

  void build() {
    OpBuilder b = OpBuilder::atBlockEnd(module.getBody());
    Location loc = kernel.getLoc();
    SmallVector<Type> types(llvm::drop_begin(kernel.getArgumentTypes(), 2));
    types.push_back(b.getIndexType());
    auto workgroup = gpu::AddressSpaceAttr::get(b.getContext(), gpu::AddressSpace::Workgroup);
    SmallVector<Type> shared;
    if (sharedBytes())
      shared.push_back(MemRefType::get({sharedBytes()}, b.getI8Type(), AffineMap(), workgroup));
    func = gpu::GPUFuncOp::create(b, loc, kernel.getSymName(), b.getFunctionType(types, {}), shared);
    func->setAttr(gpu::GPUDialect::getKernelFuncAttrName(), b.getUnitAttr());
    func.setKnownBlockSizeAttr(b.getDenseI32ArrayAttr({static_cast<int32_t>(threads), 1, 1}));
    for (unsigned i = 2; i < kernel.getNumArguments(); ++i)
      if (kernel.getArgAttr(i, LLVM::LLVMDialect::getNoAliasAttrName()))
        func.setArgAttr(i - 2, LLVM::LLVMDialect::getNoAliasAttrName(), b.getUnitAttr());
    if (!shared.empty())
      func.setWorkgroupAttributionAttr(0, LLVM::LLVMDialect::getAlignAttrName(), b.getI64IntegerAttr(kAlignment));
  }

  LogicalResult buildRow() {
    Location loc = kernel.getLoc();
    Block &entry = func.getBody().front();
    OpBuilder b = OpBuilder::atBlockEnd(&entry);
    auto constant = [&](int64_t value) -> Value { return arith::ConstantIndexOp::create(b, loc, value); };
    auto bound = [&](int64_t value) { return b.getIndexAttr(value); };
    Value thread = gpu::ThreadIdOp::create(b, loc, b.getIndexType(), gpu::Dimension::x, bound(threads));
    Value row = gpu::BlockIdOp::create(b, loc, gpu::Dimension::x), teamNumber;
    team.lane = thread;
    if (blocks > 1) {
      Value part = arith::RemUIOp::create(b, loc, row, constant(blocks));
      team.lane = arith::AddIOp::create(b, loc, arith::MulIOp::create(b, loc, part, constant(threads)), thread);
      row = arith::DivUIOp::create(b, loc, row, constant(blocks));
    } else if (teams() > 1) {
      team.lane =
          team.size == 1 ? constant(0) : arith::RemUIOp::create(b, loc, thread, constant(team.size)).getResult();
      teamNumber = team.size == 1 ? thread : arith::DivUIOp::create(b, loc, thread, constant(team.size)).getResult();
      row = arith::AddIOp::create(b, loc, arith::MulIOp::create(b, loc, row, constant(teams())), teamNumber);
    }

    IRMapping mapping;
    mapping.map(kernel.getArgument(0), constant(0));
    Value count = func.getArgument(kernel.getNumArguments() - 2);
    mapping.map(kernel.getArgument(1), count);
    for (unsigned i = 2; i < kernel.getNumArguments(); ++i)
      mapping.map(kernel.getArgument(i), func.getArgument(i - 2));
    Value shared;
    if (sharedBytes()) {
      shared = func.getWorkgroupAttributions().front();
      if (team.isBlock())
        team.scratch = part(b, loc, shared, teamNumber, layout.bytes - kReductionBytes,
                            MemRefType::get({kReductionBytes}, b.getI8Type()));
    }
    for (Operation &op : kernel.getBody().front().without_terminator()) {
      if (&op == rows.getOperation())
        break;
      if (llvm::is_contained(registers, &op))
        continue;
      auto it = layout.offsets.find(&op);
      if (it == layout.offsets.end())
        b.clone(op, mapping);
      else
        mapping.map(op.getResult(0),
                    part(b, loc, shared, teamNumber, it->second, cast<memref::AllocaOp>(op).getType()));
    }
    if (failed(copyGlobals()))
      return failure();

    gpu::ReturnOp::create(b, loc);
    b.setInsertionPoint(entry.getTerminator());
    if (auto sum = kernel->getAttrOfType<DictionaryAttr>(kSumAttr))
      sumRows(b, count, sum);
    if (teams() > 1) {
      Value isRow = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult, row, count);
      b.setInsertionPointToStart(scf::IfOp::create(b, loc, isRow, /*withElseRegion=*/false).thenBlock());
    }
    mapping.map(rows.getInductionVar(), row);
    if (failed(RowEmitter(b, mapping, team, registers).emit(*rows.getBody())))
      return failure();
    shareWritten();
    return success();
  }

  /// The sum over the ranks of the block's rows of a buffer: a function that is linked to the kernels (SumRows.cu).
  void sumRows(OpBuilder &b, Value count, DictionaryAttr sum) {
    Location loc = kernel.getLoc();
    auto number = [&](StringRef name) { return sum.getAs<IntegerAttr>(name).getInt(); };
    auto constant = [&](int64_t value) -> Value { return arith::ConstantIndexOp::create(b, loc, value); };
    unsigned position = number("buffer"), arguments = func.getFunctionType().getNumInputs();
    BlockArgument buffer = func.getArgument(position);
    Type element = cast<MemRefType>(buffer.getType()).getElementType(), i64 = b.getI64Type();
    Value first = arith::MulIOp::create(b, loc, gpu::BlockIdOp::create(b, loc, gpu::Dimension::x), constant(teams()));
    Value rest = arith::SubIOp::create(b, loc, count, first);
    Value here = arith::MinUIOp::create(b, loc, rest, constant(teams()));
    int64_t rowBytes = number("elements") * element.getIntOrFloatBitWidth() / 8;
    Value address = memref::ExtractAlignedPointerAsIndexOp::create(b, loc, buffer);
    address = arith::AddIOp::create(b, loc, address, arith::MulIOp::create(b, loc, first, constant(rowBytes)));
    Value elements = arith::MulIOp::create(b, loc, here, constant(number("elements")));
    SmallVector<Value> operands;
    // The kernel's last arguments are the call, the rank's place, and the rows.
    for (Value value :
         {Value(func.getArgument(arguments - 3)), Value(func.getArgument(arguments - 2)), address, elements})
      operands.push_back(arith::IndexCastOp::create(b, loc, i64, value));
    std::string name = (kSumFunction + (element.isF32() ? "f32" : element.isBF16() ? "bf16" : "f16")).str();
    if (!module.lookupSymbol(name)) {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(module.getBody());
      auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(b.getContext()), SmallVector<Type>(4, i64));
      LLVM::LLVMFuncOp::create(b, loc, name, type).setConvergent(true);
    }
    LLVM::CallOp::create(b, loc, TypeRange(), name, operands);
    // What other threads have written is no argument that nobody else writes.
    func.removeArgAttr(position, LLVM::LLVMDialect::getNoAliasAttrName());
  }

  /// `noalias` says that nobody else writes a buffer while the function runs, so LLVM moves loads from it across
  /// barriers. Of what the threads hand each other through memory it would be a lie.
  void shareWritten() {
    bool meets = func.walk([](Operation *op) {
                       return isa<gpu::BarrierOp, NVVM::SyncWarpOp, LLVM::CallOp>(op) ? WalkResult::interrupt()
                                                                                      : WalkResult::advance();
                     })
                     .wasInterrupted();
    if (!meets)
      return;
    auto share = [&](Value written) {
      auto argument = dyn_cast<BlockArgument>(rootOf(written));
      if (argument && argument.getOwner() == &kernel.getBody().front())
        func.removeArgAttr(argument.getArgNumber() - 2, LLVM::LLVMDialect::getNoAliasAttrName());
    };
    kernel.walk([&](Operation *op) {
      if (auto store = dyn_cast<memref::StoreOp>(op))
        share(store.getMemRef());
      if (auto linalg = dyn_cast<linalg::LinalgOp>(op))
        llvm::for_each(linalg.getDpsInits(), share);
    });
  }

  /// This team's buffer of `type`, `offset` bytes into the team's part of shared memory.
  Value part(OpBuilder &b, Location loc, Value shared, Value teamNumber, int64_t offset, MemRefType type) {
    Value at = arith::ConstantIndexOp::create(b, loc, offset);
    if (teamNumber)
      at = arith::AddIOp::create(
          b, loc, arith::MulIOp::create(b, loc, teamNumber, arith::ConstantIndexOp::create(b, loc, layout.bytes)), at);
    auto space = cast<MemRefType>(shared.getType()).getMemorySpace();
    Value view = memref::ViewOp::create(
        b, loc, MemRefType::get(type.getShape(), type.getElementType(), AffineMap(), space), shared, at, ValueRange());
    return memref::MemorySpaceCastOp::create(b, loc, type, view);
  }

  /// Constants that the kernel reads become the module's.
  LogicalResult copyGlobals() {
    WalkResult result = func.walk([&](memref::GetGlobalOp use) {
      if (module.lookupSymbol(use.getNameAttr()))
        return WalkResult::advance();
      auto global = SymbolTable::lookupNearestSymbolFrom<memref::GlobalOp>(kernel, use.getNameAttr());
      if (!global)
        return WalkResult::interrupt();
      OpBuilder::atBlockBegin(module.getBody()).clone(*global);
      return WalkResult::advance();
    });
    return failure(result.wasInterrupted());
  }

  /// Leaves of the function its name and how it is launched.
  void declare() {
    OpBuilder b(kernel);
    auto number = [&](StringRef name, int64_t value) { return b.getNamedAttr(name, b.getI64IntegerAttr(value)); };
    SmallVector<NamedAttribute> launch = {number("threads", threads), number("rows_per_block", teams()),
                                          number("shared", 0)};
    if (blocks > 1)
      launch.push_back(number("blocks_per_row", blocks));
    if (auto sum = kernel->getAttrOfType<DictionaryAttr>(kSumAttr)) {
      launch.emplace_back(b.getStringAttr("sum_buffer"), sum.get("buffer"));
      launch.emplace_back(b.getStringAttr("sum_elements"), sum.get("elements"));
    }
    if (keep) {
      kernel->setAttr(kLaunchAttr, b.getDictionaryAttr(launch));
      return;
    }
    auto declaration = func::FuncOp::create(b, kernel.getLoc(), kernel.getSymName(), kernel.getFunctionType());
    declaration.setPrivate();
    declaration->setAttr(kLaunchAttr, b.getDictionaryAttr(launch));
    kernel.erase();
  }

  func::FuncOp kernel;
  gpu::GPUModuleOp module;
  bool keep;
  scf::ForOp rows;
  Team team;
  int64_t threads = 0, blocks = 1; // of a block, of a row
  SharedLayout layout;
  SmallVector<Operation *> registers; // row buffers
  gpu::GPUFuncOp func;
};

struct KernelsToGPUPass : caat::impl::RTKernelsToGPUPassBase<KernelsToGPUPass> {
  using RTKernelsToGPUPassBase::RTKernelsToGPUPassBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    SymbolTable symbols(module);
    auto host = symbols.lookup<func::FuncOp>("caat_forward");
    if (!host)
      return;
    llvm::SetVector<Operation *> kernels;
    host.walk([&](rt::LaunchOp launch) {
      kernels.insert(symbols.lookup(launch.getKernel()));
      if (launch.getSumming())
        kernels.insert(symbols.lookup(*launch.getSumming()));
    });
    module->setAttr(kDeviceAttr, StringAttr::get(&getContext(), "cuda"));
    OpBuilder b = OpBuilder::atBlockEnd(module.getBody());
    auto gpuModule = gpu::GPUModuleOp::create(b, module.getLoc(), "kernels");
    bool good = true;
    for (Operation *kernel : kernels)
      good &= succeeded(KernelConverter(cast<func::FuncOp>(kernel), gpuModule, keep).run());
    if (!good)
      signalPassFailure();
  }
};
} // namespace
