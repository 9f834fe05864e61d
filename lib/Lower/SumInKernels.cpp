// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A small sum over the ranks takes a GPU about as long as starting a kernel does. Where the kernel that reads the sum
// reads each row of it in the row's own turn, it can make the sum itself, row by row, in memory that the GPUs share. It
// gets a variant that does, and the runtime decides which of the two runs when it knows how large the sum is.
#include "caat/Lower/Passes.h"
#include "caat/Lower/Program.h"
#include "caat/Support/HalfTypes.h"
#include "dialects/tp/TP.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/Remarks.h"
#include "runtime/cuda/Kernels.h"

namespace caat {
#define GEN_PASS_DEF_RTSUMINKERNELSPASS
#include "caat/Lower/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;

/// A row is summed in pieces of so many bytes.
static constexpr int64_t kPieceBytes = 16;

namespace {

/// What a kernel does with the rows of one of its buffers.
class Rows {
public:
  /// `number`: among the kernel's buffers.
  Rows(func::FuncOp kernel, unsigned number)
      : buffer(kernel.getArgument(number + 2)), rows(*kernel.getBody().front().getOps<scf::ForOp>().begin()) {}

  /// Elements of a row where row i of the buffer is touched in turn i of the kernel's loop alone.
  std::optional<int64_t> elements() {
    int64_t elements = 0;
    SmallVector<Value> names{buffer};
    while (!names.empty())
      for (Operation *user : names.pop_back_val().getUsers()) {
        if (isa<memref::CastOp, memref::ReinterpretCastOp>(user) && !rows->isAncestor(user)) {
          names.push_back(user->getResult(0));
          continue;
        }
        std::optional<int64_t> found;
        if (auto view = dyn_cast<memref::SubViewOp>(user))
          found = ownRow(user, view.getSource(), view.getMixedOffsets(), view.getStaticSizes());
        else if (auto load = dyn_cast<memref::LoadOp>(user))
          found = ownRow(user, load.getMemRef(), getAsOpFoldResult(load.getIndices()));
        else if (auto store = dyn_cast<memref::StoreOp>(user))
          found = ownRow(user, store.getMemRef(), getAsOpFoldResult(store.getIndices()));
        if (!found || (elements && elements != *found))
          return std::nullopt;
        elements = *found;
      }
    return elements ? std::optional(elements) : std::nullopt;
  }

private:
  /// Elements of a row of `source` where `op` touches of it a part of the loop's row: [i / n, i % n, …] or [i, …].
  /// `parts`: sizes of the part, one element where empty.
  std::optional<int64_t> ownRow(Operation *op, Value source, ArrayRef<OpFoldResult> offsets,
                                ArrayRef<int64_t> parts = {}) {
    if (auto cast = source.getDefiningOp<memref::CastOp>())
      source = cast.getSource();
    auto shape = source.getDefiningOp<memref::ReinterpretCastOp>();
    if (!shape || shape.getSource() != buffer || !rows->isAncestor(op))
      return std::nullopt;
    SmallVector<OpFoldResult> sizes = shape.getMixedSizes();
    for (size_t leading = 1; leading <= sizes.size(); ++leading) {
      auto trailing = ArrayRef(sizes).drop_front(leading);
      bool isRow = isLoopRow(offsets.take_front(leading), ArrayRef(sizes).take_front(leading), parts);
      if (!isRow || !llvm::all_of(trailing, [](OpFoldResult size) { return getConstantIntValue(size); }))
        continue;
      int64_t elements = 1;
      for (OpFoldResult size : trailing)
        elements *= *getConstantIntValue(size);
      return elements;
    }
    return std::nullopt;
  }

  /// Whether `offsets` are those of the loop's row in dimensions of these sizes.
  bool isLoopRow(ArrayRef<OpFoldResult> offsets, ArrayRef<OpFoldResult> sizes, ArrayRef<int64_t> parts) {
    size_t first = 0; // behind sizes of 1
    while (first < offsets.size() && isConstantIntValue(offsets[first], 0) && isConstantIntValue(sizes[first], 1))
      ++first;
    if (first == offsets.size())
      return false;
    for (size_t d = first; d < offsets.size(); ++d)
      if (!parts.empty() && parts[d] != 1)
        return false;
    Value row = rows.getInductionVar();
    for (size_t d = offsets.size(); d-- > first + 1;) {
      auto rest = definingOp<arith::RemUIOp>(offsets[d]);
      if (!rest || rest.getLhs() != row || getAsOpFoldResult(rest.getRhs()) != sizes[d])
        return false;
      arith::DivUIOp quotient;
      for (Operation *user : row.getUsers())
        if (auto op = dyn_cast<arith::DivUIOp>(user); op && op.getLhs() == row && op.getRhs() == rest.getRhs())
          quotient = op;
      if (!quotient)
        return false;
      row = quotient.getResult();
    }
    return offsets[first] == OpFoldResult(row);
  }

  template <typename Op> static Op definingOp(OpFoldResult value) {
    auto dynamic = dyn_cast<Value>(value);
    return dynamic ? dynamic.getDefiningOp<Op>() : Op();
  }

  Value buffer;
  scf::ForOp rows;
};

class Fuser {
public:
  Fuser(ModuleOp module, func::FuncOp host) : symbols(module), host(host) {}

  void run() {
    for (auto launch : llvm::make_early_inc_range(host.getBody().front().getOps<rt::LaunchOp>()))
      visit(launch);
  }

private:
  static void remarkOn(Operation *sum, StringRef site, bool passed, const Twine &text) {
    remark::RemarkOpts options = remark::RemarkOpts::name("sum-in-kernels").category("caat");
    std::string message = (site + ": " + text).str();
    passed ? void(remark::passed(sum->getLoc(), options) << message)
           : void(remark::missed(sum->getLoc(), options) << message);
  }

  /// The sums that end right before `launch`, of one buffer: an all-reduce, or waits for all its parts, in their order.
  static SmallVector<Operation *> sumsBefore(rt::LaunchOp launch) {
    SmallVector<Operation *> sums;
    memref::AllocOp buffer;
    for (Operation *op = launch->getPrevNode(); op; op = op->getPrevNode()) {
      if (isa<memref::AllocOp>(op) || isMemoryEffectFree(op))
        continue;
      auto sum = dyn_cast<tp::AllReduceOp>(op);
      auto wait = dyn_cast<rt::AllReduceWaitOp>(op);
      memref::AllocOp of = sum    ? allocationOf(sum.getInput())
                           : wait ? allocationOf(wait.getBuffer())
                                  : memref::AllocOp();
      if (!of || (buffer && (of != buffer || sum)))
        break;
      buffer = of;
      sums.insert(sums.begin(), op);
      if (sum)
        break;
    }
    return sums;
  }

  void visit(rt::LaunchOp launch) {
    SmallVector<Operation *> sums = sumsBefore(launch);
    if (sums.empty())
      return;
    auto sum = dyn_cast<tp::AllReduceOp>(sums.front());
    auto wait = dyn_cast<rt::AllReduceWaitOp>(sums.front());
    memref::AllocOp buffer = allocationOf(sum ? sum.getInput() : wait.getBuffer());
    tp::CollectiveOpInterface site = sum ? tp::CollectiveOpInterface(sum) : tp::CollectiveOpInterface(wait.getStart());
    FailureOr<FlatSymbolRefAttr> summing = summingKernel(launch, buffer, site);
    if (failed(summing))
      return;
    if (sum) { // in one part
      OpBuilder b(sum);
      auto start = rt::AllReduceStartOp::create(b, sum.getLoc(), rt::TokenType::get(b.getContext()), sum.getInput(),
                                                sum.getMeshAttr(), sum.getAxesAttr(), sum.getSiteAttr(),
                                                b.getI64IntegerAttr(0), b.getI64IntegerAttr(1), b.getUnitAttr());
      launch.getSumsMutable().append(start.getToken());
      sum.erase();
    } else {
      for (Operation *op : sums) {
        launch.getSumsMutable().append(cast<rt::AllReduceWaitOp>(op).getToken());
        op->erase();
      }
    }
    launch.setSummingAttr(*summing);
  }

  /// The variant of the launch's kernel that sums `buffer`.
  FailureOr<FlatSymbolRefAttr> summingKernel(rt::LaunchOp launch, memref::AllocOp buffer,
                                             tp::CollectiveOpInterface sum) {
    auto miss = [&](const Twine &reason) {
      remarkOn(sum, sum.getSiteName(), false, "a launch of its own, since " + reason);
      return failure();
    };
    SmallVector<unsigned> positions;
    for (auto [i, operand] : llvm::enumerate(launch.getBuffers()))
      if (allocationOf(operand) == buffer)
        positions.push_back(i);
    if (positions.empty())
      return miss("the kernel that follows does not read it");
    if (positions.size() > 1)
      return miss("the kernel that follows has two views of it");
    Type element = buffer.getType().getElementType();
    if (!element.isF32() && !isHalf(element))
      return miss("its elements are no floats of at most 32 bits");
    auto kernel = symbols.lookup<func::FuncOp>(launch.getKernel());
    std::optional<int64_t> elements;
    if (!kernel.isExternal() && llvm::hasSingleElement(kernel.getBody().front().getOps<scf::ForOp>()))
      elements = Rows(kernel, positions[0]).elements();
    if (!elements)
      return miss("the kernel that follows reads it in other rows than its own");
    int64_t bytes = *elements * element.getIntOrFloatBitWidth() / 8;
    if (bytes % kPieceBytes != 0 || bytes > runtime::cuda::rowBytes)
      return miss("a row has " + Twine(bytes) + " bytes: not a multiple of " + Twine(kPieceBytes) + " up to " +
                  Twine(runtime::cuda::rowBytes));
    remarkOn(sum, sum.getSiteName(), true, "the kernel that follows can make it");
    return variantOf(kernel, positions[0], *elements);
  }

  FlatSymbolRefAttr variantOf(func::FuncOp kernel, unsigned buffer, int64_t elements) {
    FlatSymbolRefAttr &known = variants[{kernel, buffer}];
    if (known)
      return known;
    func::FuncOp variant = kernel.clone();
    variant.setSymName((kernel.getSymName() + "_sum").str());
    symbols.insert(variant, std::next(kernel->getIterator()));
    Builder b(kernel.getContext());
    auto number = [&](StringRef name, int64_t value) { return b.getNamedAttr(name, b.getI64IntegerAttr(value)); };
    variant->setAttr(kSumAttr, b.getDictionaryAttr({number("buffer", buffer), number("elements", elements)}));
    for (int i = 0; i < 2; ++i)
      if (failed(variant.insertArgument(variant.getNumArguments(), b.getIndexType(), {}, variant.getLoc())))
        llvm_unreachable("an argument behind the last");
    return known = FlatSymbolRefAttr::get(variant);
  }

  SymbolTable symbols;
  func::FuncOp host;
  DenseMap<std::pair<Operation *, unsigned>, FlatSymbolRefAttr> variants;
};

struct SumInKernelsPass : caat::impl::RTSumInKernelsPassBase<SumInKernelsPass> {
  void runOnOperation() override {
    auto host = getOperation().lookupSymbol<func::FuncOp>("caat_forward");
    if (host && host.getBody().hasOneBlock())
      Fuser(getOperation(), host).run();
  }
};
} // namespace
