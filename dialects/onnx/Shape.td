// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Operators that move elements, change shapes, or compute with shapes.
#ifndef CAAT_DIALECTS_ONNX_SHAPE_TD
#define CAAT_DIALECTS_ONNX_SHAPE_TD

include "dialects/onnx/ONNXBase.td"

class ONNX_ShapeOpBase<string name, list<Trait> traits = []> : ONNX_PureOp<name, traits> {
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

def ONNX_ReshapeOp : ONNX_ShapeOpBase<"Reshape", [AllElementTypesMatch<["data", "reshaped"]>]> {
  let summary = "the same elements in another shape";
  let description = [{
    `shape` (1-D) lists the result's dimensions: one may be -1 (what remains), 0 copies the dimension of `data` at that place unless `allowzero` is 1.

    **Constraints:** a static number of elements does not change; the result's rank is the length of `shape`.
  }];
  let arguments = (ins AnyTensor:$data, AnyTensor:$shape, ONNX_IntDefault<"0">:$allowzero);
  let results = (outs AnyTensor:$reshaped);
  let hasVerifier = 1;
}

def ONNX_FlattenOp : ONNX_ShapeOpBase<"Flatten", [SameOperandsAndResultElementType]> {
  let summary = "the same elements as a matrix";
  let description = "The dimensions before `axis` make the rows, the others the columns.\n\n**Constraints:** `axis` is in [-rank, rank]; the result has rank 2.";
  let arguments = (ins AnyTensor:$input, ONNX_IntDefault<"1">:$axis);
  let results = (outs AnyTensor:$output);
  let hasVerifier = 1;
}

def ONNX_TransposeOp : ONNX_ShapeOpBase<"Transpose", [SameOperandsAndResultElementType]> {
  let summary = "permutes dimensions";
  let description = [{
    Dimension i of the result is dimension `perm[i]` of `data`; without `perm` the order is reversed.

    **Constraints:** `perm` is a permutation of 0 to rank - 1; the result's shape follows.
  }];
  let arguments = (ins AnyTensor:$data, OptionalAttr<DenseI64ArrayAttr>:$perm);
  let results = (outs AnyTensor:$transposed);
  let hasVerifier = 1;
}

def ONNX_SqueezeOp : ONNX_ShapeOpBase<"Squeeze", [AllElementTypesMatch<["data", "squeezed"]>]> {
  let summary = "drops dimensions of size 1";
  let description = "Drops those in `axes` (1-D), or every one of size 1.\n\n**Constraints:** constant axes are within the rank and have size 1.";
  let arguments = (ins AnyTensor:$data, Optional<AnyTensor>:$axes);
  let results = (outs AnyTensor:$squeezed);
  let assemblyFormat = "$data (`axes` $axes^)? attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def ONNX_UnsqueezeOp : ONNX_ShapeOpBase<"Unsqueeze", [AllElementTypesMatch<["data", "expanded"]>]> {
  let summary = "inserts dimensions of size 1";
  let description = "`axes` (1-D) are places in the result.\n\n**Constraints:** constant axes are distinct, within the result's rank, which follows.";
  let arguments = (ins AnyTensor:$data, AnyTensor:$axes);
  let results = (outs AnyTensor:$expanded);
  let assemblyFormat = "$data `axes` $axes attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def ONNX_ConcatOp : ONNX_ShapeOpBase<"Concat", [SameOperandsAndResultElementType]> {
  let summary = "joins tensors along axis";
  let description = [{
    **Constraints:** at least one input; all ranks are equal; `axis` is within the rank; the other dimensions agree; the result's is their sum.
  }];
  let arguments = (ins Variadic<AnyTensor>:$inputs, ONNX_Int:$axis);
  let results = (outs AnyTensor:$concat_result);
  let hasVerifier = 1;
}

def ONNX_SplitOp : ONNX_ShapeOpBase<"Split"> {
  let summary = "cuts a tensor along axis";
  let description = [{
    The parts have the sizes in `split` (1-D), or `num_outputs` equal ones of which the last may be smaller.

    **Constraints:** `axis` is within the rank; exactly one of `split` and `num_outputs`; constant sizes are as many as the results and add up to the dimension.
  }];
  let arguments = (ins AnyTensor:$input, Optional<AnyTensor>:$split, ONNX_IntDefault<"0">:$axis, OptionalAttr<ONNX_Int>:$num_outputs);
  let results = (outs Variadic<AnyTensor>:$outputs);
  let assemblyFormat = "$input (`sizes` $split^)? attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def ONNX_SliceOp : ONNX_ShapeOpBase<"Slice", [AllElementTypesMatch<["data", "output"]>, AttrSizedOperandSegments]> {
  let summary = "a strided box of a tensor";
  let description = [{
    Along each of `axes` (default: the first ones) the elements from `starts` to before `ends` with step `steps` (default 1). Negative bounds count
    from the end and all are clamped to the dimension; a negative step goes backwards.

    **Constraints:** `starts`, `ends`, `axes` and `steps` are 1-D of one length; constant axes are within the rank and steps not 0.
  }];
  let arguments = (ins AnyTensor:$data, AnyTensor:$starts, AnyTensor:$ends, Optional<AnyTensor>:$axes, Optional<AnyTensor>:$steps);
  let results = (outs AnyTensor:$output);
  let assemblyFormat = "$data `,` $starts `,` $ends (`axes` $axes^)? (`steps` $steps^)? attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def ONNX_ExpandOp : ONNX_ShapeOpBase<"Expand", [AllElementTypesMatch<["input", "output"]>]> {
  let summary = "broadcasts to a shape";
  let description = "The result has the shape that `input` and `shape` (1-D) have when broadcast against each other.\n\n**Constraints:** `shape` is 1-D.";
  let arguments = (ins AnyTensor:$input, AnyTensor:$shape);
  let results = (outs AnyTensor:$output);
  let hasVerifier = 1;
}

def ONNX_TileOp : ONNX_ShapeOpBase<"Tile", [AllElementTypesMatch<["input", "output"]>]> {
  let summary = "repeats a tensor along its dimensions";
  let description = "`repeats` [rank] says how often along each dimension.\n\n**Constraints:** `repeats` has one entry per dimension.";
  let arguments = (ins AnyTensor:$input, AnyTensor:$repeats);
  let results = (outs AnyTensor:$output);
  let hasVerifier = 1;
}

def ONNX_PadOp : ONNX_ShapeOpBase<"Pad", [AllElementTypesMatch<["data", "output"]>, AttrSizedOperandSegments]> {
  let summary = "adds (or with negative amounts removes) elements at the borders";
  let description = [{
    `pads` [2 * n] lists the amounts before each of the n `axes` (default: all), then those after. `mode`: "constant" (`constant_value`, default 0), "reflect",
    "edge" or "wrap".

    **Constraints:** `mode` is one of these.
  }];
  let arguments = (ins AnyTensor:$data, AnyTensor:$pads, Optional<AnyTensor>:$constant_value, Optional<AnyTensor>:$axes,
                       ONNX_StringDefault<"constant">:$mode);
  let results = (outs AnyTensor:$output);
  let assemblyFormat = "$data `,` $pads (`value` $constant_value^)? (`axes` $axes^)? attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def ONNX_GatherOp : ONNX_ShapeOpBase<"Gather", [AllElementTypesMatch<["data", "output"]>]> {
  let summary = "slices of a tensor by index";
  let description = [{
    Replaces dimension `axis` of `data` by the shape of `indices`: rank q + r - 1. Negative indices count from the end.

    **Constraints:** `indices` are of i32 or i64; `axis` is within the rank; the result's shape follows.
  }];
  let arguments = (ins AnyTensor:$data, AnyTensor:$indices, ONNX_IntDefault<"0">:$axis);
  let results = (outs AnyTensor:$output);
  let hasVerifier = 1;
}

def ONNX_GatherElementsOp : ONNX_ShapeOpBase<"GatherElements", [AllElementTypesMatch<["data", "output"]>]> {
  let summary = "output[i][j] = data[indices[i][j]][j], for axis 0";
  let description = "`output` has the shape of `indices`, which has `data`'s rank.\n\n**Constraints:** `indices` are of i32 or i64; `axis` is within the rank; ranks agree.";
  let arguments = (ins AnyTensor:$data, AnyTensor:$indices, ONNX_IntDefault<"0">:$axis);
  let results = (outs AnyTensor:$output);
  let hasVerifier = 1;
}

def ONNX_GatherNDOp : ONNX_ShapeOpBase<"GatherND", [AllElementTypesMatch<["data", "output"]>]> {
  let summary = "slices of a tensor by index tuples";
  let description = [{
    The last dimension of `indices` holds index tuples into `data` behind its first `batch_dims` dimensions, which both share.

    **Constraints:** `indices` are of i32 or i64; `batch_dims` is below both ranks.
  }];
  let arguments = (ins AnyTensor:$data, AnyTensor:$indices, ONNX_IntDefault<"0">:$batch_dims);
  let results = (outs AnyTensor:$output);
  let hasVerifier = 1;
}

class ONNX_Scatter<string name> : ONNX_ShapeOpBase<name, [AllElementTypesMatch<["data", "updates", "output"]>]> {
  let results = (outs AnyTensor:$output);
  let hasVerifier = 1;
}
def ONNX_ScatterNDOp : ONNX_Scatter<"ScatterND"> {
  let summary = "data with the slices at index tuples replaced by updates";
  let description = [{
    The inverse of `onnx.GatherND`; `reduction` ("none", "add", "mul", "max", "min") joins the update with what is there.

    **Constraints:** `indices` are of i32 or i64; `reduction` is one of these; the result has `data`'s shape.
  }];
  let arguments = (ins AnyTensor:$data, AnyTensor:$indices, AnyTensor:$updates, ONNX_StringDefault<"none">:$reduction);
}
def ONNX_ScatterElementsOp : ONNX_Scatter<"ScatterElements"> {
  let summary = "data with output[indices[i][j]][j] = updates[i][j], for axis 0";
  let description = [{
    The inverse of `onnx.GatherElements`; `reduction` as in `onnx.ScatterND`.

    **Constraints:** `indices` are of i32 or i64; `axis` is within the rank; `reduction` is one of these; the result has `data`'s shape.
  }];
  let arguments = (ins AnyTensor:$data, AnyTensor:$indices, AnyTensor:$updates, ONNX_IntDefault<"0">:$axis,
                       ONNX_StringDefault<"none">:$reduction);
}

def ONNX_TensorScatterOp : ONNX_ShapeOpBase<"TensorScatter", [AllElementTypesMatch<["past_cache", "update", "present_cache"]>]> {
  let summary = "a cache with new entries written at per-row places";
  let description = [{
    `present_cache` is `past_cache` [B, ..., max, ...] with `update` [B, ..., S, ...] written along `axis` from `write_indices[b]` (default 0) on;
    `mode` "circular" wraps round at max.

    **Constraints:** `mode` is "linear" or "circular"; `axis` is within the rank and not the batch; the result has `past_cache`'s shape.
  }];
  let arguments = (ins AnyTensor:$past_cache, AnyTensor:$update, Optional<AnyTensor>:$write_indices, ONNX_IntDefault<"-2">:$axis,
                       ONNX_StringDefault<"linear">:$mode);
  let results = (outs AnyTensor:$present_cache);
  let assemblyFormat = "$past_cache `,` $update (`at` $write_indices^)? attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def ONNX_TriluOp : ONNX_ShapeOpBase<"Trilu", [AllElementTypesMatch<["input", "output"]>]> {
  let summary = "upper or lower triangle of matrices";
  let description = "Keeps the elements on and above (`upper` 1) or below the diagonal `k` (a scalar, default 0) of [..., M, N]; zero elsewhere.";
  let arguments = (ins AnyTensor:$input, Optional<AnyTensor>:$k, ONNX_IntDefault<"1">:$upper);
  let results = (outs AnyTensor:$output);
  let assemblyFormat = "$input (`diagonal` $k^)? attr-dict `:` functional-type(operands, results)";
}

def ONNX_RangeOp : ONNX_ShapeOpBase<"Range", [SameOperandsAndResultElementType]> {
  let summary = "start, start + delta, …, before limit";
  let description = "Three scalars give a 1-D tensor of max(0, ceil((limit - start) / delta)) elements.\n\n**Constraints:** the result has rank 1.";
  let arguments = (ins AnyTensor:$start, AnyTensor:$limit, AnyTensor:$delta, ONNX_IntDefault<"1">:$stash_type);
  let results = (outs AnyTensor:$output);
  let hasVerifier = 1;
}

def ONNX_ConstantOfShapeOp : ONNX_ShapeOpBase<"ConstantOfShape"> {
  let summary = "a tensor of one value";
  let description = "The shape is `input` (1-D); every element is the one of `value` (shape [1], default f32 0).\n\n**Constraints:** `value` has one element, of the result's type.";
  let arguments = (ins AnyTensor:$input, OptionalAttr<ElementsAttr>:$value);
  let results = (outs AnyTensor:$output);
  let hasVerifier = 1;
}

def ONNX_ShapeOp : ONNX_ShapeOpBase<"Shape"> {
  let summary = "the dimensions of a tensor";
  let description = "Those from `start` to before `end` (default: the rank); negative bounds count from the end and all are clamped. A 1-D tensor.";
  let arguments = (ins AnyTensor:$data, OptionalAttr<ONNX_Int>:$end, ONNX_IntDefault<"0">:$start);
  let results = (outs TensorOf<[I64]>:$shape);
  let hasVerifier = 1;
}

def ONNX_SizeOp : ONNX_ShapeOpBase<"Size"> {
  let summary = "the number of elements of a tensor";
  let description = "A scalar of shape [].";
  let arguments = (ins AnyTensor:$data);
  let results = (outs TensorOf<[I64]>:$size);
}

def ONNX_OneHotOp : ONNX_ShapeOpBase<"OneHot", [AllElementTypesMatch<["values", "output"]>]> {
  let summary = "one-hot vectors";
  let description = [{
    Inserts a dimension of size `depth` (a scalar) at `axis` into the shape of `indices`: `values[1]` where the position equals the index, `values[0]` elsewhere.

    **Constraints:** `axis` is within the result's rank.
  }];
  let arguments = (ins AnyTensor:$indices, AnyTensor:$depth, AnyTensor:$values, ONNX_IntDefault<"-1">:$axis);
  let results = (outs AnyTensor:$output);
  let hasVerifier = 1;
}

def ONNX_ReverseSequenceOp : ONNX_ShapeOpBase<"ReverseSequence", [AllElementTypesMatch<["input", "Y"]>]> {
  let summary = "the beginning of each sequence of a batch backwards";
  let description = [{
    For each place b along `batch_axis` the first `sequence_lens[b]` elements along `time_axis` in reverse order, and the others as they are.
    `Y` has the shape of `input`.

    **Constraints:** the axes are within the rank and differ; `sequence_lens` has rank 1.
  }];
  let arguments = (ins AnyTensor:$input, AnyTensor:$sequence_lens, ONNX_IntDefault<"1">:$batch_axis, ONNX_IntDefault<"0">:$time_axis);
  let results = (outs AnyTensor:$Y);
  let hasVerifier = 1;
}

#endif // CAAT_DIALECTS_ONNX_SHAPE_TD
