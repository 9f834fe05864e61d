// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Lowering of the onnx dialect to linalg on tensors: patterns by topic, and the pass `onnx-to-linalg` that runs them.
//
// Rules that hold for all of it:
// - Types stay builtin tensors, so patterns need no type converter: an op is replaced by values of its own result
// types.
// - A static 1 broadcasts; `?` against `?` is taken as equal (shape analysis made every known 1 static before).
// - Floating-point ops carry reassoc, contract, afn, nsz and arcp; nnan only on a maximum (additive -inf masks must
// work).
//   16-bit floats are computed in f32.
// - An index into a tensor (Gather and its kin) counts from the end when negative, and is clamped into range.
// - Every scf.forall at the top level is one-dimensional over rows and means one kernel. A tensor.empty inside is a
// row's
//   scratch memory.
//
// Caches. A past operand that is `tensor.extract_slice %cache[0, 0, 0, 0] [%batch, H, %length, D]` of a function
// argument with the attribute `rt.cache` is appended in place: the new keys become
// `%updated = tensor.insert_slice %new into %cache[0, 0, %length, 0]`, present is an extract_slice of %updated, and
// everything reads from %updated. Any other past is concatenated.
#ifndef CAAT_LOWER_CONVERSIONS_H
#define CAAT_LOWER_CONVERSIONS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Pass/Pass.h"

namespace caat {

/// What of a program decides about the forms of its ops.
struct ProgramForms {
  bool forGPU = false;
  mlir::Type matrixType; // of its matrices, where that is bf16 or f16; else null
};

/// Attribute of a function argument that is a key or value cache [batch, heads, max_length, head_dim], written in
/// place.
inline constexpr llvm::StringLiteral kCacheArgAttr = "rt.cache";

/// Whether `value` depends only on initializers and constants, on at least one initializer, through ops that the
/// artifact writer evaluates. Such a value is stored per rank and never computed at run time.
bool isWeightExpression(mlir::Value value);

/// The weight whose travelling slice `value` is (tp.held), or `value` itself.
mlir::Value withoutHeld(mlir::Value value);

/// Whether `op` is an onnx.MatMul by a rank-2 weight expression, or a travelling slice of one, which this conversion
/// leaves alone.
bool isWeightProduct(mlir::Operation *op);

/// What is known of the shapes of a function before its ops are lowered. Optional: without it, a reshape may go through
/// a flat tensor and sizes are computed from the shape operands.
class ShapeFacts;

void populateOnnxElementwiseToLinalgPatterns(mlir::RewritePatternSet &patterns);
void populateOnnxReductionToLinalgPatterns(mlir::RewritePatternSet &patterns);
void populateOnnxNormalizationToLinalgPatterns(mlir::RewritePatternSet &patterns);
void populateOnnxReshapeToLinalgPatterns(mlir::RewritePatternSet &patterns, const ShapeFacts *facts = nullptr);
void populateOnnxDataMovementToLinalgPatterns(mlir::RewritePatternSet &patterns, const ShapeFacts *facts = nullptr);
void populateOnnxShapesToLinalgPatterns(mlir::RewritePatternSet &patterns, const ShapeFacts *facts = nullptr);
void populateOnnxGatherToLinalgPatterns(mlir::RewritePatternSet &patterns);
void populateOnnxMatMulToLinalgPatterns(mlir::RewritePatternSet &patterns);
void populateOnnxPoolingToLinalgPatterns(mlir::RewritePatternSet &patterns);
void populateOnnxConvolutionToLinalgPatterns(mlir::RewritePatternSet &patterns);
void populateOnnxQuantizeToLinalgPatterns(mlir::RewritePatternSet &patterns);
void populateOnnxRotaryToLinalgPatterns(mlir::RewritePatternSet &patterns, bool forGPU = false);
void populateOnnxLinearAttentionToLinalgPatterns(mlir::RewritePatternSet &patterns);
void populateOnnxAttentionToLinalgPatterns(mlir::RewritePatternSet &patterns, const ProgramForms &forms = {});

/// All of the above.
void populateOnnxToLinalgPatterns(mlir::RewritePatternSet &patterns, const ShapeFacts *facts = nullptr,
                                  const ProgramForms &forms = {});

#define GEN_PASS_DECL
#include "caat/Lower/ConversionPasses.h.inc"

#define GEN_PASS_REGISTRATION
#include "caat/Lower/ConversionPasses.h.inc"

} // namespace caat

#endif // CAAT_LOWER_CONVERSIONS_H
