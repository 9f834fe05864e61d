// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// First rt and tp ops become calls in the LLVM dialect, tied to memrefs by casts; then upstream's conversions run (see
// buildCodePipeline), and the casts cancel.
#include "caat/Lower/Passes.h"
#include "caat/Lower/Program.h"
#include "caat/runtime/Abi.h"
#include "dialects/onnx/ONNX.h"
#include "mlir/Conversion/LLVMCommon/MemRefBuilder.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Transforms/DialectConversion.h"

namespace caat {
#define GEN_PASS_DEF_RTTOLLVMPASS
#include "caat/Lower/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;

namespace {

/// Arguments of caat_forward, in order.
enum HostArgument { Api, Context, Buffers, Dims, Workspace };

/// What the entry point sync_point is given besides the live buffers.
constexpr size_t kSiteBuffers = 6, kSiteSizes = 2;
constexpr size_t kAttentionBuffers = 6, kAttentionSizes = 33;

/// The pieces of a memref as i64 and pointer.
struct Pieces {
  Value pointer; // to the first element
  SmallVector<Value> sizes, strides;
};

class HostLowering {
public:
  HostLowering(Program &program, OpBuilder &builder)
      : program(program), b(builder), converter(builder.getContext()), loc(program.host.getLoc()) {
    pointer = LLVM::LLVMPointerType::get(b.getContext());
    i64 = b.getI64Type();
    for (auto [i, weight] : llvm::enumerate(program.weights))
      weightIndex[weight.getSymName()] = i;
    for (auto [i, kernel] : llvm::enumerate(program.kernels))
      kernelIndex[kernel.getSymName()] = i;
  }

  LogicalResult run() {
    // caat_forward(api, ctx, buffers, dims, workspace)
    Block &entry = program.host.getBody().front();
    SmallVector<Type> arguments(5, pointer);
    for (Type type : arguments)
      entry.addArgument(type, loc);
    program.host.setFunctionType(b.getFunctionType(arguments, {}));

    // One list of buffers and one of dims serve every launch: calls return when their arguments are read.
    size_t maxBuffers = 1, maxDims = 1;
    SmallVector<Operation *> ops;
    program.host.walk([&](Operation *op) {
      if (auto launch = dyn_cast<rt::LaunchOp>(op)) {
        maxBuffers = std::max(maxBuffers, launch.getBuffers().size());
        maxDims = std::max(maxDims, launch.getDims().size());
      }
      if (auto site = dyn_cast<rt::SyncPointOp>(op)) {
        maxBuffers = std::max<size_t>(maxBuffers, kSiteBuffers + site.getLive().size());
        maxDims = std::max<size_t>(maxDims, kSiteSizes + site.getLive().size());
      }
      if (isa<rt::AttentionOp>(op)) {
        maxBuffers = std::max<size_t>(maxBuffers, kAttentionBuffers);
        maxDims = std::max<size_t>(maxDims, kAttentionSizes);
      }
      bool isElement = isa<memref::LoadOp, memref::StoreOp>(op) && program.isOnDevice();
      if (isa<rt::RTDialect, tp::TPDialect>(op->getDialect()) || isElement)
        ops.push_back(op);
    });
    b.setInsertionPointToStart(&entry);
    launchBuffers = LLVM::AllocaOp::create(b, loc, pointer, pointer, constant(maxBuffers), 8);
    launchDims = LLVM::AllocaOp::create(b, loc, pointer, i64, constant(maxDims), 8);
    for (Operation *op : ops) {
      b.setInsertionPoint(op);
      loc = op->getLoc();
      if (failed(lower(op)))
        return failure();
      op->dropAllUses(); // a token's
      op->erase();
    }
    return success();
  }

  /// Dims of the function that computes the workspace's size.
  void lowerDims(func::FuncOp function) {
    SmallVector<rt::DimOp> dims;
    function.walk([&](rt::DimOp dim) { dims.push_back(dim); });
    for (rt::DimOp dim : dims) {
      b.setInsertionPoint(dim);
      loc = dim.getLoc();
      dim.replaceAllUsesWith(loadDim(function.getArgument(0), dim.getNameAttr()));
      dim.erase();
    }
  }

  /// void kernel(i64 begin, i64 end, ptr buffers, ptr dims), which calls what is now kernel's body.
  void wrapKernel(func::FuncOp kernel, SymbolTable &symbols) {
    loc = kernel.getLoc();
    StringAttr name = kernel.getSymNameAttr();
    // The host names kernels by number by now: there is no use to rename.
    symbols.remove(kernel);
    kernel.setSymNameAttr(b.getStringAttr(name.getValue() + "_rows"));
    symbols.insert(kernel);
    kernel->setAttr("llvm.linkage", LLVM::LinkageAttr::get(b.getContext(), LLVM::Linkage::Internal));
    b.setInsertionPoint(kernel);
    auto wrapper = func::FuncOp::create(b, loc, name, b.getFunctionType({i64, i64, pointer, pointer}, {}));
    b.setInsertionPointToStart(wrapper.addEntryBlock());
    SmallVector<Value> operands{toIndex(wrapper.getArgument(0)), toIndex(wrapper.getArgument(1))};
    int64_t nextBuffer = 0, nextDim = 0;
    for (Type type : ArrayRef(kernel.getArgumentTypes()).drop_front(2)) {
      if (auto memref = dyn_cast<MemRefType>(type))
        operands.push_back(toMemRef(load(pointer, wrapper.getArgument(2), nextBuffer++), memref, {}));
      else
        operands.push_back(toIndex(load(i64, wrapper.getArgument(3), nextDim++)));
    }
    func::CallOp::create(b, loc, kernel, operands);
    func::ReturnOp::create(b, loc);
  }

private:
  Value constant(int64_t value) { return LLVM::ConstantOp::create(b, loc, i64, b.getI64IntegerAttr(value)); }
  Value toIndex(Value value) { return arith::IndexCastOp::create(b, loc, b.getIndexType(), value); }
  Value toI64(Value value) {
    return value.getType() == i64 ? value : arith::IndexCastOp::create(b, loc, i64, value).getResult();
  }
  Value host(HostArgument which) { return program.host.getArgument(which); }
  Value load(Type type, Value array, int64_t index) {
    Value address =
        LLVM::GEPOp::create(b, loc, pointer, type, array, ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(index)});
    return LLVM::LoadOp::create(b, loc, type, address);
  }
  Value loadDim(Value dims, StringAttr name) {
    auto names = program.dims().getValue();
    return toIndex(load(i64, dims, llvm::find(names, name) - names.begin()));
  }

  /// A dense memref at `address`.
  Value toMemRef(Value address, MemRefType type, ValueRange dynamic) {
    auto descriptor = MemRefDescriptor::poison(b, loc, converter.convertType(type));
    descriptor.setAllocatedPtr(b, loc, address);
    descriptor.setAlignedPtr(b, loc, address);
    descriptor.setConstantOffset(b, loc, 0);
    SmallVector<Value> sizes;
    for (int64_t size : type.getShape()) {
      sizes.push_back(ShapedType::isDynamic(size) ? toI64(dynamic.front()) : constant(size));
      if (ShapedType::isDynamic(size))
        dynamic = dynamic.drop_front();
    }
    Value stride = constant(1);
    for (int64_t d = type.getRank(); d-- > 0;) {
      descriptor.setSize(b, loc, d, sizes[d]);
      descriptor.setStride(b, loc, d, stride);
      if (d > 0)
        stride = LLVM::MulOp::create(b, loc, stride, sizes[d]);
    }
    return UnrealizedConversionCastOp::create(b, loc, TypeRange(type), ValueRange(Value(descriptor))).getResult(0);
  }

  Pieces fromMemRef(Value memref) {
    auto type = cast<MemRefType>(memref.getType());
    Value cast =
        UnrealizedConversionCastOp::create(b, loc, TypeRange(converter.convertType(type)), memref).getResult(0);
    MemRefDescriptor descriptor(cast);
    Pieces pieces;
    pieces.pointer = LLVM::GEPOp::create(b, loc, pointer, converter.convertType(type.getElementType()),
                                         descriptor.alignedPtr(b, loc), ValueRange(descriptor.offset(b, loc)));
    for (int64_t d = 0; d < type.getRank(); ++d) {
      pieces.sizes.push_back(descriptor.size(b, loc, d));
      pieces.strides.push_back(descriptor.stride(b, loc, d));
    }
    return pieces;
  }

  Value product(ArrayRef<Value> factors) {
    Value result = constant(1);
    for (Value factor : factors)
      result = LLVM::MulOp::create(b, loc, result, factor);
    return result;
  }

  /// Calls an entry point of the runtime; the context comes first.
  Value call(caat_api_index entry, ArrayRef<Value> arguments, Type result = {}) {
    SmallVector<Value> operands{load(pointer, host(Api), entry), host(Context)};
    llvm::append_range(operands, arguments);
    SmallVector<Type> types(llvm::drop_begin(ValueRange(operands).getTypes()));
    auto type = LLVM::LLVMFunctionType::get(result ? result : LLVM::LLVMVoidType::get(b.getContext()), types);
    auto op = LLVM::CallOp::create(b, loc, type, operands);
    return result ? op.getResult() : Value();
  }

  Value rotation(StringAttr group) { return constant(program.rotations.find(group) - program.rotations.begin()); }

  LogicalResult lower(Operation *op) {
    if (auto dim = dyn_cast<rt::DimOp>(op))
      return dim.replaceAllUsesWith(loadDim(host(Dims), dim.getNameAttr())), success();
    if (auto buffer = dyn_cast<rt::BufferOp>(op))
      return lowerBuffer(buffer), success();
    if (auto parameter = dyn_cast<rt::ParameterOp>(op)) {
      int64_t position = program.firstWeight() + weightIndex.at(parameter.getWeight());
      parameter.replaceAllUsesWith(
          toMemRef(load(pointer, host(Buffers), position), cast<MemRefType>(parameter.getType()), {}));
      return success();
    }
    if (auto workspace = dyn_cast<rt::WorkspaceOp>(op)) {
      Value size = arith::ConstantIndexOp::create(b, loc, std::numeric_limits<int64_t>::max());
      workspace.replaceAllUsesWith(toMemRef(host(Workspace), cast<MemRefType>(workspace.getType()), size));
      return success();
    }
    if (auto copy = dyn_cast<rt::CopyOp>(op)) {
      Pieces from = fromMemRef(copy.getSource()), to = fromMemRef(copy.getTarget());
      int64_t bytes = std::max<int64_t>(1, cast<MemRefType>(copy.getTarget().getType()).getElementTypeBitWidth() / 8);
      to.sizes.push_back(constant(bytes));
      return call(CAAT_API_copy, {to.pointer, from.pointer, product(to.sizes)}), success();
    }
    if (auto check = dyn_cast<rt::CheckOp>(op)) {
      Value condition = arith::ExtUIOp::create(b, loc, i64, check.getCondition());
      int64_t message = llvm::find(program.messages, check.getMessageAttr()) - program.messages.begin();
      return call(CAAT_API_check, {condition, constant(message)}), success();
    }
    if (auto linear = dyn_cast<rt::LinearOp>(op)) {
      Pieces x = fromMemRef(linear.getX()), y = fromMemRef(linear.getInit());
      Value weight = constant(weightIndex.at(linear.getWeight())), rows = product(ArrayRef(x.sizes).drop_back());
      Value accumulate = constant(linear.getAccumulate());
      Type xType = getElementTypeOrSelf(linear.getX()), yType = getElementTypeOrSelf(linear.getInit());
      if (linear.getBias() || linear.getActivation())
        call(CAAT_API_linear_then,
             {weight, x.pointer, constant(*dtypeCode(xType)), rows, y.pointer, constant(*dtypeCode(yType)), accumulate,
              linear.getBias() ? fromMemRef(linear.getBias()).pointer : LLVM::ZeroOp::create(b, loc, pointer),
              constant(linear.getBias() ? *dtypeCode(getElementTypeOrSelf(linear.getBias())) : CAAT_F32),
              constant(linear.getActivation() ? static_cast<int64_t>(*linear.getActivation()) : CAAT_UNCHANGED),
              LLVM::ConstantOp::create(b, loc, b.getF32Type(), linear.getAlphaAttr())});
      else if (xType.isF32() && yType.isF32())
        call(CAAT_API_linear, {weight, x.pointer, rows, y.pointer, accumulate});
      else
        call(CAAT_API_linear_as, {weight, x.pointer, constant(*dtypeCode(xType)), rows, y.pointer,
                                  constant(*dtypeCode(yType)), accumulate});
      return success();
    }
    if (auto launch = dyn_cast<rt::LaunchOp>(op))
      return lowerLaunch(launch), success();
    if (auto site = dyn_cast<rt::SyncPointOp>(op))
      return lowerSyncPoint(site), success();
    if (auto matmul = dyn_cast<rt::MatmulOp>(op))
      return lowerMatmul(matmul);
    if (auto attention = dyn_cast<rt::AttentionOp>(op))
      return lowerAttention(attention);
    if (auto start = dyn_cast<rt::AllReduceStartOp>(op))
      return lowerSum(start.getLeft() ? CAAT_API_all_reduce_leave : CAAT_API_all_reduce_start, start, start.getInput()),
             success();
    if (auto wait = dyn_cast<rt::AllReduceWaitOp>(op))
      return lowerSum(CAAT_API_all_reduce_wait, wait, wait.getBuffer()), success();
    if (auto collective = dyn_cast<tp::CollectiveOpInterface>(op))
      return lowerCollective(collective);
    if (auto shard = dyn_cast<tp::RingShardOp>(op)) {
      shard.getResult().replaceAllUsesWith(toIndex(call(CAAT_API_ring_shard, {constant(shard.getStep())}, i64)));
      return success();
    }
    if (auto start = dyn_cast<rt::RotateStartOp>(op))
      return call(CAAT_API_rotate_start, {rotation(start.getGroupAttr())}), success();
    if (auto wait = dyn_cast<rt::RotateWaitOp>(op))
      return call(CAAT_API_rotate_wait, {rotation(wait.getGroupAttr())}), success();
    if (auto rotate = dyn_cast<rt::RotateOp>(op))
      return call(CAAT_API_rotate, {rotation(rotate.getGroupAttr())}), success();
    if (auto load = dyn_cast<memref::LoadOp>(op))
      return loadElement(load);
    if (auto store = dyn_cast<memref::StoreOp>(op))
      return storeElement(store);
    if (auto rank = dyn_cast<tp::RankOp>(op))
      return rank.getResult().replaceAllUsesWith(toIndex(call(CAAT_API_rank, {}, i64))), success();
    return op->emitOpError("cannot be lowered to a call of the runtime");
  }

  /// The address of an element of a buffer on the device, and the code of its type.
  FailureOr<std::pair<Value, Value>> element(Operation *op, Value memref, ValueRange indices) {
    Type type = cast<MemRefType>(memref.getType()).getElementType();
    std::optional<int64_t> dtype = dtypeCode(type);
    if (!dtype)
      return op->emitOpError("of an element of type ") << type << " on the device", failure();
    Pieces pieces = fromMemRef(memref);
    Value offset = constant(0);
    for (auto [index, stride] : llvm::zip_equal(indices, pieces.strides))
      offset = LLVM::AddOp::create(b, loc, offset, LLVM::MulOp::create(b, loc, toI64(index), stride));
    // Bits are stored as bytes.
    Type stored = type.isInteger(1) ? b.getI8Type() : converter.convertType(type);
    return std::pair(LLVM::GEPOp::create(b, loc, pointer, stored, pieces.pointer, ValueRange(offset)).getResult(),
                     constant(*dtype));
  }

  LogicalResult loadElement(memref::LoadOp load) {
    FailureOr<std::pair<Value, Value>> at = element(load, load.getMemRef(), load.getIndices());
    if (failed(at))
      return failure();
    Value bits = call(CAAT_API_load_element, {at->first, at->second}, i64);
    Type type = load.getType();
    if (type.isIndex()) {
      load.replaceAllUsesWith(toIndex(bits));
      return success();
    }
    Type narrow = b.getIntegerType(type.getIntOrFloatBitWidth());
    if (narrow != i64)
      bits = arith::TruncIOp::create(b, loc, narrow, bits);
    if (isa<FloatType>(type))
      bits = arith::BitcastOp::create(b, loc, type, bits);
    else if (type != narrow)
      bits = UnrealizedConversionCastOp::create(b, loc, type, bits).getResult(0);
    load.replaceAllUsesWith(bits);
    return success();
  }

  LogicalResult storeElement(memref::StoreOp store) {
    FailureOr<std::pair<Value, Value>> at = element(store, store.getMemRef(), store.getIndices());
    if (failed(at))
      return failure();
    Value bits = store.getValueToStore();
    Type type = bits.getType();
    if (type.isIndex()) {
      bits = toI64(bits);
    } else {
      Type narrow = b.getIntegerType(type.getIntOrFloatBitWidth());
      if (isa<FloatType>(type))
        bits = arith::BitcastOp::create(b, loc, narrow, bits);
      else if (type != narrow)
        bits = UnrealizedConversionCastOp::create(b, loc, narrow, bits).getResult(0);
      if (narrow != i64)
        bits = arith::ExtUIOp::create(b, loc, i64, bits);
    }
    call(CAAT_API_store_element, {at->first, at->second, bits});
    return success();
  }

  void lowerBuffer(rt::BufferOp buffer) {
    auto type = cast<MemRefType>(buffer.getType());
    Value address = load(pointer, host(Buffers), buffer.getPosition());
    if (buffer.getBlock()) {
      SmallVector<Value> factors{toI64(buffer.getBlock())};
      for (int64_t size : type.getShape())
        if (!ShapedType::isDynamic(size))
          factors.push_back(constant(size));
      for (Value size : buffer.getSizes())
        factors.push_back(toI64(size));
      address = LLVM::GEPOp::create(b, loc, pointer, converter.convertType(type.getElementType()), address,
                                    ValueRange(product(factors)));
    }
    buffer.replaceAllUsesWith(toMemRef(address, type, buffer.getSizes()));
  }

  void store(Value value, Value array, size_t index) {
    Value address = LLVM::GEPOp::create(b, loc, pointer, value.getType(), array,
                                        ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(index)});
    LLVM::StoreOp::create(b, loc, value, address);
  }

  void lowerSyncPoint(rt::SyncPointOp site) {
    size_t buffers = 0, sizes = 0;
    auto pass = [&](Value memref) {
      Value address = memref ? fromMemRef(memref).pointer : LLVM::ZeroOp::create(b, loc, pointer).getResult();
      store(address, launchBuffers, buffers++);
    };
    for (Value destination : site.getDestinations())
      pass(destination);
    pass(site.getPartial());
    pass(site.getBias());
    pass(site.getInput());
    store(product(ArrayRef(fromMemRef(site.getPartial()).sizes).drop_back()), launchDims, sizes++);
    store(site.getInput() ? fromMemRef(site.getInput()).sizes.back() : constant(0), launchDims, sizes++);
    for (Value live : site.getLive()) {
      pass(live);
      SmallVector<Value> factors = fromMemRef(live).sizes;
      factors.push_back(constant((cast<MemRefType>(live.getType()).getElementTypeBitWidth() + 7) / 8));
      store(product(factors), launchDims, sizes++);
    }
    int64_t number = llvm::find(program.sites, site) - program.sites.begin();
    call(CAAT_API_sync_point, {constant(number), launchBuffers, launchDims, constant(site.getLive().size())});
  }

  void lowerLaunch(rt::LaunchOp launch) {
    for (auto [i, buffer] : llvm::enumerate(launch.getBuffers()))
      store(fromMemRef(buffer).pointer, launchBuffers, i);
    for (auto [i, dim] : llvm::enumerate(launch.getDims()))
      store(toI64(dim), launchDims, i);
    Value kernel = constant(kernelIndex.at(launch.getKernel()));
    SmallVector<Value> how{toI64(launch.getGrid()), launchBuffers, constant(launch.getBuffers().size()), launchDims,
                           constant(launch.getDims().size())};
    if (launch.getSums().empty()) {
      how.insert(how.begin(), kernel);
      call(CAAT_API_launch, how);
      return;
    }
    how.insert(how.begin(),
               {constant(launch.getSums().size()), kernel, constant(kernelIndex.at(*launch.getSumming()))});
    call(CAAT_API_launch_behind_sums, how);
  }

  /// Batch dimensions before the last become loops.
  LogicalResult lowerMatmul(rt::MatmulOp op) {
    auto type = cast<MemRefType>(op.getInit().getType());
    std::optional<int64_t> dtype = dtypeCode(type.getElementType());
    if (!dtype)
      return op.emitOpError("no product of ") << type.getElementType();
    Pieces pieces[3] = {fromMemRef(op.getA()), fromMemRef(op.getB()), fromMemRef(op.getInit())};
    unsigned rank = type.getRank(), batchRank = rank - 2;
    auto repeated = [&](unsigned which, unsigned d) {
      auto shape = cast<MemRefType>(op->getOperand(which).getType()).getShape();
      return shape[d] == 1 && type.getDimSize(d) != 1;
    };
    OpBuilder::InsertionGuard guard(b);
    Type element = converter.convertType(type.getElementType());
    for (unsigned d = 0; d + 1 < batchRank; ++d) {
      Value zero = arith::ConstantIndexOp::create(b, loc, 0), one = arith::ConstantIndexOp::create(b, loc, 1);
      auto loop = scf::ForOp::create(b, loc, zero, toIndex(pieces[2].sizes[d]), one);
      b.setInsertionPoint(loop.getBody()->getTerminator());
      Value at = toI64(loop.getInductionVar());
      for (unsigned which = 0; which < 3; ++which)
        if (!repeated(which, d))
          pieces[which].pointer =
              LLVM::GEPOp::create(b, loc, pointer, element, pieces[which].pointer,
                                  ValueRange(LLVM::MulOp::create(b, loc, at, pieces[which].strides[d]).getResult()));
    }
    auto batchStride = [&](unsigned which) {
      return batchRank == 0 || repeated(which, batchRank - 1) ? constant(0) : pieces[which].strides[batchRank - 1];
    };
    auto rows = [&](unsigned which, bool transposed) {
      return pieces[which].strides[transposed ? rank - 1 : rank - 2];
    };
    auto columns = [&](unsigned which, bool transposed) {
      return pieces[which].strides[transposed ? rank - 2 : rank - 1];
    };
    auto f32 = [&](const APFloat &value) {
      return LLVM::ConstantOp::create(b, loc, b.getF32Type(), b.getF32FloatAttr(value.convertToFloat())).getResult();
    };
    Value k = pieces[0].sizes[op.getTransposeA() ? rank - 2 : rank - 1];
    call(CAAT_API_matmul,
         {constant(*dtype), batchRank ? pieces[2].sizes[batchRank - 1] : constant(1), pieces[2].sizes[rank - 2],
          pieces[2].sizes[rank - 1], k, pieces[0].pointer, batchStride(0), rows(0, op.getTransposeA()),
          columns(0, op.getTransposeA()), pieces[1].pointer, batchStride(1), rows(1, op.getTransposeB()),
          columns(1, op.getTransposeB()), pieces[2].pointer, batchStride(2), pieces[2].strides[rank - 2],
          f32(op.getAlpha()), f32(op.getBeta())});
    return success();
  }

  /// In the order of Entrypoints.def.
  LogicalResult lowerAttention(rt::AttentionOp op) {
    size_t buffers = 0, count = 0;
    auto number = [&](Value value) { store(value, launchDims, count++); };
    auto type = [&](Value memref) {
      number(constant(memref ? *dtypeCode(cast<MemRefType>(memref.getType()).getElementType()) : 0));
    };
    Value null = LLVM::ZeroOp::create(b, loc, pointer);
    Pieces query = fromMemRef(op.getQuery()), keys = fromMemRef(op.getKeys()), values = fromMemRef(op.getValues());
    Pieces out = fromMemRef(op.getInit()), mask, lengths;
    if (op.getMask())
      mask = fromMemRef(op.getMask());
    if (op.getLengths())
      lengths = fromMemRef(op.getLengths());
    for (Value address : {query.pointer, keys.pointer, values.pointer, mask.pointer, lengths.pointer, out.pointer})
      store(address ? address : null, launchBuffers, buffers++);

    number(constant(*dtypeCode(op.getVia())));
    for (Value memref : {op.getQuery(), op.getKeys(), op.getLengths(), op.getInit()})
      type(memref);
    number(query.sizes[0]);
    number(query.sizes[1]);
    number(toI64(op.getTotal()));
    number(toI64(op.getPast()));
    for (Value size : {query.sizes[2], keys.sizes[1], query.sizes[3], values.sizes[3]})
      number(size);
    for (int64_t value : {static_cast<int64_t>(op.getLeft()), static_cast<int64_t>(op.getRight()),
                          int64_t{op.getCausal()}, int64_t{op.getAppendsByRow()}})
      number(constant(value));
    for (const Pieces *pieces : {&query, &keys, &values})
      for (Value stride : ArrayRef(pieces->strides).take_front(3))
        number(stride);
    size_t missing = 4 - mask.strides.size();
    for (size_t d = 0; d < 4; ++d) {
      bool repeats = d < missing || cast<MemRefType>(op.getMask().getType()).getDimSize(d - missing) == 1;
      number(repeats ? constant(0) : mask.strides[d - missing]);
    }
    for (Value stride : ArrayRef(out.strides).take_front(3))
      number(stride);
    auto f32 = [&](const APFloat &value) {
      return LLVM::ConstantOp::create(b, loc, b.getF32Type(), b.getF32FloatAttr(value.convertToFloat())).getResult();
    };
    call(CAAT_API_attention, {launchBuffers, launchDims, f32(op.getScale()), f32(op.getSoftcap())});
    return success();
  }

  void lowerSum(caat_api_index entry, Operation *op, Value buffer) {
    Pieces pieces = fromMemRef(buffer);
    call(entry, {constant(program.numberOf(op)), pieces.pointer, product(pieces.sizes)});
  }

  LogicalResult lowerCollective(tp::CollectiveOpInterface op) {
    Value number = constant(program.numberOf(op));
    Pieces in = fromMemRef(op.getInput());
    Value count = product(in.sizes);
    if (isa<tp::AllReduceOp>(op))
      return lowerSum(CAAT_API_all_reduce, op, op.getInput()), success();
    if (auto reduce = dyn_cast<tp::QuantizedAllReduceOp>(*op)) {
      Value error =
          reduce.getError() ? fromMemRef(reduce.getError()).pointer : LLVM::ZeroOp::create(b, loc, pointer).getResult();
      Value rows = product(ArrayRef(in.sizes).drop_back());
      return call(CAAT_API_quantized_all_reduce, {number, in.pointer, error, rows}), success();
    }
    if (auto broadcast = dyn_cast<tp::BroadcastOp>(*op))
      return call(CAAT_API_broadcast, {number, in.pointer, count, constant(broadcast.getRoot())}), success();
    Pieces out = fromMemRef(op.getDestination());
    if (auto permute = dyn_cast<tp::PermuteOp>(*op))
      return call(CAAT_API_permute, {number, in.pointer, out.pointer, count, constant(permute.getShift())}), success();
    if (isa<tp::AllToAllOp>(op)) {
      Value peers = constant(op.getGroupSize());
      return call(CAAT_API_all_to_all, {number, in.pointer, out.pointer, LLVM::UDivOp::create(b, loc, count, peers)}),
             success();
    }
    auto gather = dyn_cast<tp::AllGatherOp>(*op);
    auto scatter = dyn_cast<tp::ReduceScatterOp>(*op);
    if (!gather && !scatter)
      return op.emitOpError("has no entry point in the runtime");
    // The local part is [outer, inner], with the split dimension the first of inner.
    int64_t dim = gather ? gather.getDim() : scatter.getDim();
    ArrayRef<Value> local = gather ? in.sizes : out.sizes;
    call(gather ? CAAT_API_all_gather : CAAT_API_reduce_scatter,
         {number, in.pointer, out.pointer, product(local.take_front(dim)), product(local.drop_front(dim))});
    return success();
  }

  Program &program;
  OpBuilder &b;
  LLVMTypeConverter converter;
  Location loc;
  Type pointer, i64;
  Value launchBuffers, launchDims;
  llvm::StringMap<int64_t> weightIndex, kernelIndex;
};

/// The host's loops become blocks here, the last one first: each splits the block that it stands in, which moves all
/// operations behind it. From the front that would take time with the square of the layers.
LogicalResult lowerLoops(func::FuncOp host) {
  SmallVector<scf::ForOp> loops;
  host.walk<WalkOrder::PreOrder>([&](scf::ForOp loop) { loops.push_back(loop); });
  RewritePatternSet set(host.getContext());
  populateSCFToControlFlowConversionPatterns(set);
  FrozenRewritePatternSet patterns(std::move(set));
  ConversionTarget target(*host.getContext());
  target.addIllegalOp<scf::ForOp>();
  target.markUnknownOpDynamicallyLegal([](Operation *) { return true; });
  for (scf::ForOp loop : llvm::reverse(loops))
    if (failed(applyPartialConversion(loop.getOperation(), target, patterns)))
      return failure();
  return success();
}

struct ToLLVMPass : caat::impl::RTToLLVMPassBase<ToLLVMPass> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    FailureOr<Program> program = Program::get(module);
    if (failed(program))
      return signalPassFailure();
    OpBuilder b(&getContext());
    HostLowering lowering(*program, b);
    if (failed(lowering.run()) || failed(lowerLoops(program->host)))
      return signalPassFailure();
    if (auto workspace = module.lookupSymbol<func::FuncOp>("caat_workspace_bytes"))
      lowering.lowerDims(workspace);
    SymbolTable symbols(module);
    for (func::FuncOp kernel : program->kernels)
      if (kernel.isExternal())
        kernel.erase(); // it runs on a GPU
      else
        lowering.wrapKernel(kernel, symbols);
    // What remains describes the program and is no code.
    for (Operation &op : llvm::make_early_inc_range(*module.getBody()))
      if (isa<rt::WeightOp, tp::MeshOp, onnx::InitializerOp>(op))
        op.erase();
    for (NamedAttribute attr : llvm::to_vector(module->getDiscardableAttrs()))
      module->removeDiscardableAttr(attr.getName());
  }
};
} // namespace
