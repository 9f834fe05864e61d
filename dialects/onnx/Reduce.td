// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reductions, scans and selections along axes.
#ifndef CAAT_DIALECTS_ONNX_REDUCE_TD
#define CAAT_DIALECTS_ONNX_REDUCE_TD

include "dialects/onnx/ONNXBase.td"

class ONNX_Reduce<string name, string formula> : ONNX_PureOp<name, [AllElementTypesMatch<["data", "reduced"]>]> {
  let summary = formula # " along axes";
  let description = "The " # formula # [{ of the elements of `data` along the dimensions in `axes` (1-D, negative counts from the
    end). Without `axes`, or with an empty one, all dimensions are reduced, or none where `noop_with_empty_axes` is 1. Reduced
    dimensions stay with size 1 where `keepdims` is 1.

    **Constraints:** constant axes are within the rank; the result's rank follows from them.}];
  let arguments = (ins AnyTensor:$data, Optional<AnyTensor>:$axes, ONNX_IntDefault<"1">:$keepdims,
                       ONNX_IntDefault<"0">:$noop_with_empty_axes);
  let results = (outs AnyTensor:$reduced);
  let assemblyFormat = "$data (`axes` $axes^)? attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}
def ONNX_ReduceSumOp : ONNX_Reduce<"ReduceSum", "sum">;
def ONNX_ReduceMeanOp : ONNX_Reduce<"ReduceMean", "mean">;
def ONNX_ReduceMaxOp : ONNX_Reduce<"ReduceMax", "maximum">;
def ONNX_ReduceMinOp : ONNX_Reduce<"ReduceMin", "minimum">;
def ONNX_ReduceProdOp : ONNX_Reduce<"ReduceProd", "product">;
def ONNX_ReduceL1Op : ONNX_Reduce<"ReduceL1", "sum of absolute values">;
def ONNX_ReduceL2Op : ONNX_Reduce<"ReduceL2", "square root of the sum of squares">;
def ONNX_ReduceSumSquareOp : ONNX_Reduce<"ReduceSumSquare", "sum of squares">;
def ONNX_ReduceLogSumOp : ONNX_Reduce<"ReduceLogSum", "logarithm of the sum">;
def ONNX_ReduceLogSumExpOp : ONNX_Reduce<"ReduceLogSumExp", "logarithm of the sum of exponentials">;

class ONNX_ArgReduce<string name, string which> : ONNX_PureOp<name> {
  let summary = "index of the " # which # " along axis";
  let description = "The index along `axis` of the " # which # [{ element of `data`: the first of equal ones, or the last where
    `select_last_index` is 1. The axis stays with size 1 where `keepdims` is 1.

    **Constraints:** `axis` is within the rank.}];
  let arguments = (ins AnyTensor:$data, ONNX_IntDefault<"0">:$axis, ONNX_IntDefault<"1">:$keepdims,
                       ONNX_IntDefault<"0">:$select_last_index);
  let results = (outs TensorOf<[I64]>:$reduced);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}
def ONNX_ArgMaxOp : ONNX_ArgReduce<"ArgMax", "largest">;
def ONNX_ArgMinOp : ONNX_ArgReduce<"ArgMin", "smallest">;

class ONNX_Cumulative<string name, string what, string joined> : ONNX_PureOp<name, [AllElementTypesMatch<["x", "y"]>]> {
  let summary = "running " # what # " along axis";
  let description = "`y[i] = " # joined # [{` along the dimension that the scalar `axis` names; `exclusive` leaves `x[i]` out, `reverse` begins at
    the end. `x` and `y` have the same shape.
  }];
  let arguments = (ins AnyTensor:$x, AnyTensor:$axis, ONNX_IntDefault<"0">:$exclusive, ONNX_IntDefault<"0">:$reverse);
  let results = (outs AnyTensor:$y);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}
def ONNX_CumSumOp : ONNX_Cumulative<"CumSum", "sum", "x[0] + … + x[i]">;
def ONNX_CumProdOp : ONNX_Cumulative<"CumProd", "product", "x[0] * … * x[i]">;

def ONNX_TopKOp : ONNX_PureOp<"TopK", [AllElementTypesMatch<["X", "Values"]>]> {
  let summary = "the K largest or smallest elements along axis";
  let description = [{
    `Values` are the `K` (shape [1]) largest elements of `X` along `axis`, or smallest where `largest` is 0, in order where `sorted`
    is 1; `Indices` are their places. Of equal elements the lower index comes first. Both results have `X`'s shape with `K` at `axis`.

    **Constraints:** `axis` is within the rank.
  }];
  let arguments = (ins AnyTensor:$X, AnyTensor:$K, ONNX_IntDefault<"-1">:$axis, ONNX_IntDefault<"1">:$largest,
                       ONNX_IntDefault<"1">:$sorted);
  let results = (outs AnyTensor:$Values, TensorOf<[I64]>:$Indices);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def ONNX_NonZeroOp : ONNX_PureOp<"NonZero"> {
  let summary = "indices of the elements that are not zero";
  let description = "`Y` has shape [rank of X, number of such elements], in row-major order.";
  let arguments = (ins AnyTensor:$X);
  let results = (outs TensorOf<[I64]>:$Y);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

class ONNX_SoftmaxBase<string name, string formula> : ONNX_PureOp<name, [SameOperandsAndResultElementType]> {
  let summary = formula # " along axis";
  let description = "`output = " # formula # [{` along `axis`. `input` and `output` have the same shape.

    **Constraints:** `axis` is within the rank; shapes agree.}];
  let arguments = (ins AnyTensor:$input, ONNX_IntDefault<"-1">:$axis);
  let results = (outs AnyTensor:$output);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}
def ONNX_SoftmaxOp : ONNX_SoftmaxBase<"Softmax", "exp(input) / sum(exp(input))">;
def ONNX_LogSoftmaxOp : ONNX_SoftmaxBase<"LogSoftmax", "input - log(sum(exp(input)))">;

#endif // CAAT_DIALECTS_ONNX_REDUCE_TD
