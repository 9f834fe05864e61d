// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the files lib/Lower/Onnx*.cpp and Attention*.cpp share: dimensions as SSA values, constants read back from the
// IR, scalar arithmetic with the project's fast-math flags, and builders of common linalg forms.
#ifndef CAAT_LIB_LOWER_ONNXLOWERING_H
#define CAAT_LIB_LOWER_ONNXLOWERING_H

#include "caat/Lower/Conversions.h"
#include "dialects/onnx/ONNX.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

namespace caat::lower {

/// Switchable sync points become calls of the runtime: tp.sync_point with the reads of its stream -> rt.sync_point.
mlir::LogicalResult lowerSyncPoints(mlir::func::FuncOp func);

using Dims = llvm::SmallVector<mlir::OpFoldResult>;
using Scalars = llvm::ArrayRef<mlir::Value>;

/// Flags of generated floating-point ops, and those of a maximum (which LLVM vectorizes only with nnan).
inline constexpr auto kFastMath = mlir::arith::FastMathFlags::reassoc | mlir::arith::FastMathFlags::contract |
                                  mlir::arith::FastMathFlags::afn | mlir::arith::FastMathFlags::nsz |
                                  mlir::arith::FastMathFlags::arcp;
/// Flags of the model's own sums and products, which are computed in the order given: masks add the lowest float, and
/// (x + lowest) - lowest must not be found in `x + (1 - visible) * lowest`.
inline constexpr auto kInOrderFastMath = mlir::arith::FastMathFlags::contract | mlir::arith::FastMathFlags::afn |
                                         mlir::arith::FastMathFlags::nsz | mlir::arith::FastMathFlags::arcp;
inline constexpr auto kMaxFastMath = kFastMath | mlir::arith::FastMathFlags::nnan;

/// Scalar arithmetic at one place: integer or floating-point, signed or unsigned, by the operands' type. Unsigned
/// scalars keep their type uiN; what arith, which knows signless integers only, computes is cast to and fro.
struct ScalarBuilder {
  mlir::OpBuilder &b;
  mlir::Location loc;
  mlir::arith::FastMathFlags flags = kFastMath;

  /// The same without leave to reorder.
  ScalarBuilder inOrder() const { return {b, loc, kInOrderFastMath}; }

  mlir::Value constant(mlir::Type type, double value);
  mlir::Value integer(mlir::Type type, const llvm::APInt &value);
  mlir::Value index(int64_t value);
  mlir::Value add(mlir::Value x, mlir::Value y);
  mlir::Value sub(mlir::Value x, mlir::Value y);
  mlir::Value mul(mlir::Value x, mlir::Value y);
  mlir::Value div(mlir::Value x, mlir::Value y); // integers towards zero; by 0: anything, but no trap
  mlir::Value rem(mlir::Value x, mlir::Value y); // with the sign of x
  mlir::Value max(mlir::Value x, mlir::Value y); // propagates NaN
  mlir::Value min(mlir::Value x, mlir::Value y); // propagates NaN
  mlir::Value fma(mlir::Value x, mlir::Value y, mlir::Value z) { return add(mul(x, y), z); }
  mlir::Value bitAnd(mlir::Value x, mlir::Value y);
  mlir::Value bitOr(mlir::Value x, mlir::Value y);
  mlir::Value bitXor(mlir::Value x, mlir::Value y);
  mlir::Value shift(mlir::Value x, mlir::Value places, bool left);
  mlir::Value abs(mlir::Value x);
  mlir::Value neg(mlir::Value x);
  mlir::Value exp(mlir::Value x);
  mlir::Value sigmoid(mlir::Value x);
  mlir::Value select(mlir::Value condition, mlir::Value x, mlir::Value y);
  mlir::Value less(mlir::Value x, mlir::Value y);  // false if either is NaN
  mlir::Value equal(mlir::Value x, mlir::Value y); // false if either is NaN
  mlir::Value logicalNot(mlir::Value x);
  /// ONNX Cast of one scalar: float to bool is "not zero", float to integer truncates, index counts as an integer.
  mlir::Value cast(mlir::Value x, mlir::Type type);
  /// An index into a dimension of `size`: negative counts from the end; the result is clamped to [0, size).
  mlir::Value wrapIndex(mlir::Value index, mlir::Value size);
  /// Index arithmetic on OpFoldResults, folded where constant.
  mlir::OpFoldResult add(mlir::OpFoldResult x, mlir::OpFoldResult y);
  mlir::OpFoldResult sub(mlir::OpFoldResult x, mlir::OpFoldResult y);
  mlir::OpFoldResult mul(mlir::OpFoldResult x, mlir::OpFoldResult y);
  mlir::OpFoldResult min(mlir::OpFoldResult x, mlir::OpFoldResult y);
  mlir::OpFoldResult product(llvm::ArrayRef<mlir::OpFoldResult> factors);
  mlir::Value value(mlir::OpFoldResult x);
  /// The same bits as an integer without sign, and as an integer of `type`, of the same width.
  mlir::Value signless(mlir::Value x);
  mlir::Value as(mlir::Value x, mlir::Type type);
};

mlir::RankedTensorType tensorType(mlir::Value value);

/// The type that arithmetic on elements of `type` is done in: f32 for 16-bit floats, else `type`.
mlir::Type computeType(mlir::Type type);

/// The neutral element of a maximum (or minimum) of `type`.
mlir::Value extremeInit(ScalarBuilder &s, mlir::Type type, bool isMax);

/// `axis` counted from the end when negative.
int64_t normalizeAxis(int64_t axis, int64_t rank);

// Constants.

/// The dense value of an onnx.Constant or arith.constant, or null.
mlir::DenseElementsAttr constantValue(mlir::Value value);
/// The elements of a constant integer tensor.
std::optional<llvm::SmallVector<int64_t>> constantInts(mlir::Value value);
/// The scalar of a constant all whose elements are equal, in `type`.
mlir::Value splatScalar(ScalarBuilder s, mlir::Value value, mlir::Type type);
/// The elements of an integer tensor of static size as indices: constants, operands of tensor.from_elements, or
/// extracted.
Dims indexElements(ScalarBuilder s, mlir::Value value);
/// The element of a tensor that has one.
mlir::Value scalarOf(ScalarBuilder &s, mlir::Value tensor);

// Dimensions.

/// Dimension `dim` of `value`, looked up through ops that keep it so that it depends on function arguments where
/// possible.
mlir::OpFoldResult dimOf(ScalarBuilder s, mlir::Value value, int64_t dim);
Dims dimsOf(ScalarBuilder s, mlir::Value value);
/// The sizes of a result of type `type`: its static ones, and `dims` for the others.
Dims refine(mlir::RankedTensorType type, llvm::ArrayRef<mlir::OpFoldResult> dims, mlir::Builder &b);
/// The sizes of `op`'s result: what the analysis says, or `computed` where it does not. What the analysis has from
/// other ops than this one is checked.
Dims resultSizes(const ShapeFacts *facts, mlir::Operation *op, mlir::RankedTensorType type, mlir::OpBuilder &b,
                 llvm::function_ref<Dims()> computed);
/// The sizes of the broadcast of `operands` to `type`.
Dims broadcastDims(ScalarBuilder s, mlir::ValueRange operands, mlir::RankedTensorType type);
/// Map from the loops of a result of `resultRank` to an operand: leading dimensions dropped, static 1 read at 0.
mlir::AffineMap broadcastMap(mlir::RankedTensorType operand, mlir::RankedTensorType result);

/// Fails the run where `holds` is false; the message names the node of `op`.
void checkAtRunTime(ScalarBuilder s, mlir::Operation *op, mlir::Value holds, const llvm::Twine &message);

// Tensors.

mlir::Value empty(ScalarBuilder s, llvm::ArrayRef<mlir::OpFoldResult> dims, mlir::Type element);
mlir::Value filled(ScalarBuilder s, llvm::ArrayRef<mlir::OpFoldResult> dims, mlir::Value element);
/// tensor.cast to `type` where the types differ.
mlir::Value castTo(ScalarBuilder s, mlir::Value value, mlir::Type type);

using BodyFn = llvm::function_ref<llvm::SmallVector<mlir::Value>(ScalarBuilder &, Scalars)>;
using ScalarFn = llvm::function_ref<mlir::Value(ScalarBuilder &, Scalars)>;

/// linalg.generic over parallel loops of the result. `body` sees one scalar per input. 16-bit floats are widened to f32
/// before and narrowed after unless `exact`. Constant splat inputs become scalars of the body.
mlir::Value elementwise(ScalarBuilder s, mlir::RankedTensorType type, llvm::ArrayRef<mlir::OpFoldResult> dims,
                        mlir::ValueRange inputs, ScalarFn body, bool exact = false);
/// The same with given indexing maps (results: identity).
mlir::Value mapped(ScalarBuilder s, mlir::RankedTensorType type, llvm::ArrayRef<mlir::OpFoldResult> dims,
                   mlir::ValueRange inputs, llvm::ArrayRef<mlir::AffineMap> maps, ScalarFn body, bool exact = false);
/// A generic with no inputs: `body` gets the indices of the element and may read captured tensors by tensor.extract.
mlir::Value indexed(ScalarBuilder s, mlir::RankedTensorType type, llvm::ArrayRef<mlir::OpFoldResult> dims,
                    ScalarFn body);
/// tensor.extract, by zero in static-1 dimensions (broadcast).
mlir::Value extract(ScalarBuilder &s, mlir::Value tensor, mlir::ValueRange indices);

/// Reduction of `inputs` (of equal shape) over `axes`; the result keeps the other dimensions in order. `body` sees the
/// input scalars and then the accumulator, in `accumulator`'s type.
mlir::Value reduce(ScalarBuilder s, mlir::ValueRange inputs, llvm::ArrayRef<mlir::AffineMap> maps,
                   llvm::ArrayRef<mlir::OpFoldResult> dims, llvm::ArrayRef<int64_t> axes, mlir::Value accumulator,
                   ScalarFn body);

/// linalg.transpose with ONNX's meaning of `perm` (result dimension i is dimension perm[i] of the operand).
mlir::Value transposed(ScalarBuilder s, mlir::Value value, llvm::ArrayRef<int64_t> perm);
/// Collapse dimensions [begin, end) into one (of size 1 if the range is empty).
mlir::Value collapsed(ScalarBuilder s, mlir::Value value, int64_t begin, int64_t end);
/// Insert dimensions of size 1 at the (sorted) places `axes` of the result, or drop those at `axes`.
mlir::Value unsqueezed(ScalarBuilder s, mlir::Value value, llvm::ArrayRef<int64_t> axes);
mlir::Value squeezed(ScalarBuilder s, mlir::Value value, llvm::ArrayRef<int64_t> axes);
/// Split dimension `dim` into `sizes`.
mlir::Value expanded(ScalarBuilder s, mlir::Value value, int64_t dim, llvm::ArrayRef<mlir::OpFoldResult> sizes);
/// A box of `value`; the first `drop` dimensions, of size 1 there, are dropped.
mlir::Value slice(ScalarBuilder s, mlir::Value value, llvm::ArrayRef<mlir::OpFoldResult> offsets,
                  llvm::ArrayRef<mlir::OpFoldResult> sizes, int64_t drop = 0);
mlir::Value insert(ScalarBuilder s, mlir::Value source, mlir::Value dest, llvm::ArrayRef<mlir::OpFoldResult> offsets);
Dims zeros(ScalarBuilder s, int64_t rank);

/// Concatenation along `axis`: an in-place append when the first operand is the valid part of a cache (see
/// Conversions.h), else copies. Returns the whole, and in `buffer` the tensor that holds it (the cache, or the same).
mlir::Value concatenated(ScalarBuilder s, mlir::ValueRange parts, int64_t axis, mlir::Value *buffer = nullptr);

/// One-dimensional scf.forall over `rows` with shared outputs `outs`. `body(s, row, outs)` returns for each output the
/// updated piece; it is put back at `pieces[i]` (offsets and sizes) by the callback through `RowPiece`.
struct RowPiece {
  mlir::Value value;
  Dims offsets, sizes;
};
using RowFn = llvm::function_ref<llvm::SmallVector<RowPiece>(ScalarBuilder &, mlir::Value row, mlir::ValueRange outs)>;
llvm::SmallVector<mlir::Value> forEachRow(ScalarBuilder s, mlir::OpFoldResult rows, mlir::ValueRange outs, RowFn body);
/// `row` as indices into `dims` (row-major).
llvm::SmallVector<mlir::Value> delinearize(ScalarBuilder &s, mlir::Value row, llvm::ArrayRef<mlir::OpFoldResult> dims);

/// The tensor with elements of another type.
mlir::Value converted(ScalarBuilder s, mlir::Value value, mlir::Type element);

/// One function for products of activations: alpha * A[batch..., m, k] * B[batch..., k, n] (B [batch..., n, k] if
/// `transposeB`), written into `out` [batch..., m, n]. Batch dimensions of size 1 are repeated.
mlir::Value batchMatmul(ScalarBuilder s, mlir::Value a, mlir::Value bMatrix, mlir::Value out, bool transposeB,
                        float alpha = 1.0f);
/// The same as a linalg.generic.
mlir::Value generatedProduct(ScalarBuilder s, mlir::Value a, mlir::Value bMatrix, mlir::Value out, bool transposeB,
                             float alpha);

} // namespace caat::lower

#endif // CAAT_LIB_LOWER_ONNXLOWERING_H
