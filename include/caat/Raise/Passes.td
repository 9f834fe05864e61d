// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Passes of the Raise stage: onnx in, onnx in canonical form out.
#ifndef CAAT_RAISE_PASSES_TD
#define CAAT_RAISE_PASSES_TD

include "mlir/Pass/PassBase.td"

def ONNXFoldShapesPass : Pass<"onnx-fold-shapes", "::mlir::func::FuncOp"> {
  let summary = "Fold shape arithmetic and refine all types";
  let description = [{
    Infers every dimension as an expression over the named dimensions of the arguments and every element of the small integer
    tensors that shapes are computed with. Then
    - gives every value its most precise type, and the function's arguments and results theirs, with `onnx.dims` texts;
    - replaces shape operands by constants (of Reshape with 0 for a copied and -1 for one remaining dimension), else by index
      arithmetic on `tensor.dim` of arguments;
    - evaluates ops whose operands are constants, where the result has at most `max-elements` elements;
    - removes ops that do nothing: Identity, Cast to the same type, Reshape, Expand and Slice to the same shape.

    ```mlir
    // in
    %s = onnx.Shape(%x) : (tensor<?x?x48xf32>) -> tensor<3xi64>
    %b = onnx.Gather(%s, %zero) : …
    %t = onnx.Concat(%b, %minus_one, %heads) …
    %r = onnx.Reshape(%y, %t) : (tensor<?x?x48xf32>, tensor<4xi64>) -> tensor<?x?x?x?xf32>
    // out
    %t = onnx.Constant dense<[0, 0, 3, 16]> : tensor<4xi64>
    %r = onnx.Reshape(%y, %t) : (tensor<?x?x48xf32>, tensor<4xi64>) -> tensor<?x?x3x16xf32>
    ```
  }];
  let options = [Option<"maxElements", "max-elements", "int64_t", /*default=*/"65536",
                        "Evaluate constants of at most this many elements">];
  let dependentDialects = ["::caat::onnx::ONNXDialect", "::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect"];
}

def ONNXBindInputsPass : Pass<"onnx-bind-inputs", "::mlir::func::FuncOp"> {
  let summary = "Give named dimensions sizes and inputs values";
  let description = [{
    `dims=batch=1,seq=16` replaces symbols in the dimension texts of all arguments and results, also inside of expressions; a dimension
    that becomes a number is static from then on. `values=use_cache_branch=true` makes an input of fixed shape a constant: one element, which is
    repeated, or all of them, separated by commas.

    ```mlir
    // in, with dims=batch=2
    func.func @main(%m: tensor<?x?xi64> {onnx.dims = ["batch", "past + batch * seq"], onnx.name = "mask"})
    // out
    func.func @main(%m: tensor<2x?xi64> {onnx.dims = ["", "past + 2 * seq"], onnx.name = "mask"})
    ```
  }];
  let options = [ListOption<"dims", "dims", "std::string", "NAME=SIZE of each dimension that is to be fixed">,
                 ListOption<"values", "values", "std::string", "NAME=VALUE of each input that is to be a constant">];
  let dependentDialects = ["::caat::onnx::ONNXDialect"];
}

def ONNXFoldControlFlowPass : Pass<"onnx-fold-control-flow", "::mlir::func::FuncOp"> {
  let summary = "Inline the branch that an If takes, unroll loops of known length";
  let description = [{
    Goes through the function in order, with the shapes and constants of all before.
    - `onnx.If` whose condition is known becomes the ops of that branch. With `final`, one whose condition is not becomes both branches and
      an `onnx.Where` on each result, where both branches are small, have no effects and give equal shapes, and nothing in them can fail the
      run where it is not taken: integers are divided by 1 there, and an op that needs more of its operands than is known (a Reshape to
      pairs of a length that may be odd) is an error that names it. Two tables of different length of which only rows are looked up (the
      angles of short and long contexts) are padded to the longer one.
    - `onnx.Loop` with a known number of turns and a condition that stays known, and `onnx.Scan` over a dimension of known size, are unrolled.
    With `final`, what remains is an error that names the inputs which decide.

    ```mlir
    // in
    %one = onnx.Constant dense<true> : tensor<i1>
    %y = onnx.If %one {
      %n = onnx.Neg %x : (tensor<4xf32>) -> tensor<4xf32>
      onnx.Yield %n : tensor<4xf32>
    } else {
      onnx.Yield %x : tensor<4xf32>
    } : (tensor<i1>) -> tensor<4xf32>
    // out
    %y = onnx.Neg %x : (tensor<4xf32>) -> tensor<4xf32>
    ```
  }];
  let options = [Option<"final", "final", "bool", /*default=*/"false", "Refuse control flow that remains">,
                 Option<"maxOps", "max-ops", "int64_t", /*default=*/"100000", "Operations that unrolling may make">];
  let dependentDialects = ["::caat::onnx::ONNXDialect", "::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect"];
}

def ONNXConvertContribPass : Pass<"onnx-convert-contrib", "::mlir::func::FuncOp"> {
  let summary = "Convert operators without a typed op to standard ones";
  let description = [{
    Replaces `onnx.Custom` of domain com.microsoft (and SimplifiedLayerNormalization in the default domain, as
    onnxruntime-genai writes it): SimplifiedLayerNormalization, SkipSimplifiedLayerNormalization,
    SkipLayerNormalization (with the sum as a result), GroupQueryAttention, RotaryEmbedding, FastGelu, BiasGelu, Gelu, QuickGelu,
    FusedMatMul, MultiHeadAttention; and of the default domain those operators that are formulas over others: BatchNormalization
    (inference), InstanceNormalization, LpNormalization, MeanVarianceNormalization, LRN, Hardmax, EyeLike, Compress, SwiGLU, Dropout, global
    pooling, CausalConvWithState, CenterCropPad, integer products and convolutions, losses.    Results that are not produced must be unused. An op that cannot be converted stays, with a remark that
    says why. Rows of different length on a filled cache (seqlens_k of GroupQueryAttention) are refused at run time by an `onnx.check`, or with
    `row-lengths` appended each behind its own past: an `onnx.Attention` with lengths as well as a cache, which ONNX itself has not.
  }];
  let options = [Option<"rowLengths", "row-lengths", "bool", /*default=*/"false", "Append each row behind its own past">];
  let dependentDialects = ["::caat::onnx::ONNXDialect", "::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect"];
}

def ONNXExpandBroadcastsPass : Pass<"onnx-expand-broadcasts", "::mlir::func::FuncOp"> {
  let summary = "Make broadcasts explicit that only the program's inputs decide";
  let description = [{
    ONNX broadcasts a dimension of size 1, whether the file says that it is 1 or not. Where the analysis of shapes cannot show that an
    operand's dimension either is 1 or has the result's size (two inputs with symbols of their own, a size that is computed), an Expand to
    the size that broadcasting gives stands in front of the operand. From here on every op but Expand takes dimensions for equal that are not
    1 in their type; the lowered Expand reads by an index that depends on the size, and fails the run where the sizes do not fit.

    ```mlir
    // in
    func.func @main(%x: tensor<?x8xf32> {onnx.dims = ["n", ""]}, %y: tensor<?x8xf32> {onnx.dims = ["m", ""]})
      %z = onnx.Add %x, %y : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
    // out, with size = n == 1 ? m : n
      %shape = tensor.from_elements %size, %one : tensor<2xi64>
      %x1 = onnx.Expand %x, %shape : (tensor<?x8xf32>, tensor<2xi64>) -> tensor<?x8xf32>
      %y1 = onnx.Expand %y, %shape : (tensor<?x8xf32>, tensor<2xi64>) -> tensor<?x8xf32>
      %z = onnx.Add %x1, %y1 : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
    ```
  }];
  let dependentDialects = ["::caat::onnx::ONNXDialect", "::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect"];
}

def ONNXWidenFloatsPass : Pass<"onnx-widen-floats", "::mlir::func::FuncOp"> {
  let summary = "Compute with f32 what the model declares as f16 or bf16";
  let description = [{
    All values become f32 but weights, and what is only moved of them (rows of an embedding); an `onnx.Cast` stands between. Arguments and
    results are f32 as well and keep the type that the model declares as `onnx.declared_type`: the runtime converts arrays at its interface. Sums
    and products so have the error of f32 only, on weights as they are stored. An `onnx.Custom` keeps its types.

    ```mlir
    // in
    func.func @main(%x: tensor<?x8xf16>) -> tensor<?x4xf16> {
      %w = onnx.get_initializer @w : tensor<8x4xf16>
      %y = onnx.MatMul %x, %w : (tensor<?x8xf16>, tensor<8x4xf16>) -> tensor<?x4xf16>
    // out
    func.func @main(%x: tensor<?x8xf32> {onnx.declared_type = f16}) -> (tensor<?x4xf32> {onnx.declared_type = f16}) {
      %w = onnx.get_initializer @w : tensor<8x4xf16>
      %c = onnx.Cast %w to f32 {onnx.storage} : (tensor<8x4xf16>) -> tensor<8x4xf32>
      %y = onnx.MatMul %x, %c : (tensor<?x8xf32>, tensor<8x4xf32>) -> tensor<?x4xf32>
    ```
  }];
  let dependentDialects = ["::caat::onnx::ONNXDialect"];
}

def ONNXDecomposeGemmPass : Pass<"onnx-decompose-gemm", "::mlir::func::FuncOp"> {
  let summary = "Turn Gemm into MatMul and Add, and products of flattened batches into batched ones";
  let description = [{
    `Gemm` becomes `MatMul(A, B)` with `B` as [K, N] (an `onnx.Transpose` of the weight where `transB` is set), `alpha` and `beta` as
    multiplications, the bias as an `onnx.Add`. Then a Reshape that merges or splits leading dimensions moves past products,
    element-wise ops and normalisations of the last dimension, so that pairs of them cancel: GPT-2's Reshape, Gemm, Reshape
    becomes one MatMul on [B, S, K].
  }];
  let dependentDialects = ["::caat::onnx::ONNXDialect"];
}

def ONNXDecomposeNormsPass : Pass<"onnx-decompose-norms", "::mlir::func::FuncOp"> {
  let summary = "Take scales that are no vector of the channels out of normalisations";
  let description = [{
    A norm of the last dimension with a scale or bias of another shape than the channels' (one for each head and channel) becomes one with
    a scale of ones, a product and a sum, which can be split by heads.
  }];
  let dependentDialects = ["::caat::onnx::ONNXDialect"];
}

def ONNXCheckDivisorsPass : Pass<"onnx-check-divisors", "::mlir::func::FuncOp"> {
  let summary = "Let no integer be divided by zero";
  let description = [{
    ONNX says nothing of it. A Div or Mod of integers whose divisor is a constant with a zero is an error; where the divisor is only known
    when the program runs, an `onnx.check` in front of the op names the node. Constants without a zero, sizes that are at least 1, `max(x, 1)`
    need none. The lowest number by -1 is the lowest number.

    ```mlir
    // in
    %y = onnx.Div %a, %b : (tensor<?xi64>, tensor<?xi64>) -> tensor<?xi64>
    // out
    %0 = onnx.Equal %b, %zero : (tensor<?xi64>, tensor<i64>) -> tensor<?xi1>
    …
    onnx.check %3, "node 'halve' (Div) divides by an integer that is 0" : tensor<i1>
    %y = onnx.Div %a, %b : (tensor<?xi64>, tensor<?xi64>) -> tensor<?xi64>
    ```
  }];
  let dependentDialects = ["::caat::onnx::ONNXDialect", "::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect"];
}

def ONNXSimplifyMovementPass : Pass<"onnx-simplify-movement", "::mlir::func::FuncOp"> {
  let summary = "Write moves of elements as simpler ops";
  let description = [{
    torch's indexing (`x[..., [-1]]`, `k[..., :8] = v`) is exported as GatherND and ScatterND between transpositions, which hide what is
    moved where. `GatherND` of consecutive rows becomes `Slice`, `ScatterND` to consecutive rows `Concat`; a `Slice` that takes whole
    operands of a `Concat` becomes these; transpositions of transpositions are joined, also through a `Concat`.

    ```mlir
    // in: rows 8 to 11 of 12 are replaced
    %y = onnx.ScatterND %x, %rows, %u : (tensor<12x?xf32>, tensor<4x1xi64>, tensor<4x?xf32>) -> tensor<12x?xf32>
    // out
    %0 = onnx.Slice %x, … : … -> tensor<8x?xf32>
    %y = onnx.Concat %0, %u {axis = 0 : i64} : … -> tensor<12x?xf32>
    ```
  }];
  let dependentDialects = ["::caat::onnx::ONNXDialect", "::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect"];
}

def ONNXRaiseActivationsPass : Pass<"onnx-raise-activations", "::mlir::func::FuncOp"> {
  let summary = "Raise decomposed activations to Gelu and Swish";
  let description = [{
    - `x * 0.5 * (1 + erf(x / sqrt(2)))`, in any order of the factors: `onnx.Gelu`;
    - `x * 0.5 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)))`: `onnx.Gelu` with `approximate = "tanh"`; the argument may be written as
      any polynomial that equals this one;
    - `x * sigmoid(alpha * x)`: `onnx.Swish`.
    A remark names every erf, tanh and sigmoid that remains.
  }];
  let dependentDialects = ["::caat::onnx::ONNXDialect"];
}

def ONNXRaiseNormsPass : Pass<"onnx-raise-norms", "::mlir::func::FuncOp"> {
  let summary = "Raise decomposed normalisations to RMSNormalization and LayerNormalization";
  let description = [{
    - `x * (1 / sqrt(mean(x^2) + epsilon)) * scale`, the scale on either side: `onnx.RMSNormalization`;
    - `(x - mean(x)) / sqrt(mean((x - mean(x))^2) + epsilon) * scale + bias`: `onnx.LayerNormalization`.
    The mean must go over the last dimension. Without a scale, or with one that is no vector of the channels (one for each head), the
    operation gets a scale of ones. A remark names every root of a mean that remains.
  }];
  let dependentDialects = ["::caat::onnx::ONNXDialect"];
}

def ONNXRaiseRotaryPass : Pass<"onnx-raise-rotary", "::mlir::func::FuncOp"> {
  let summary = "Raise decomposed rotary position embeddings to RotaryEmbedding";
  let description = [{
    A tensor of rank 4 whose channels are those of another one, `x`, rotated in pairs: channel i is `c_j * x_i -+ s_j * x_partner`, where
    the partner is half of the channels away or the neighbour, both of a pair have the same `c_j` and `s_j`, and these are the same for all
    heads. It becomes `onnx.RotaryEmbedding` with c and s as caches [B, S, R / 2]. What a channel is made of is computed through slices,
    splits, concatenations, stacks, reshapes, sums and products, so it does not matter how an exporter writes it. x may be [B, H, S, D] or
    [B, S, H, D]. Channels that are passed through beside the rotated ones, in the same op or by a Concat behind it, make it a rotation of
    the first R channels.
  }];
  let dependentDialects = ["::caat::onnx::ONNXDialect", "::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect"];
}

def ONNXRaiseAttentionPass : Pass<"onnx-raise-attention", "::mlir::func::FuncOp"> {
  let summary = "Raise decomposed attention to Attention, in the form that sharding expects";
  let description = [{
    `softmax(softcap(q k^T * scale) + masks and biases) v` becomes `onnx.Attention` with q, k, v of rank 4. Scales on q, on k or on the
    product are joined, masks that are added or chosen with Where become one; batch and heads may be merged ([B * H, S, D]) where a Reshape
    tells how; a guard that turns the NaN of fully masked rows into 0 is dropped (lowering keeps such rows finite); keys and values that are
    repeated for grouped heads (Unsqueeze, Expand, Reshape), or one for all heads, are taken as they were; Concat(past, new) becomes the
    cache operands. Attention ops of rank 3 become rank 4, those on repeated keys lose the repetition. A remark says for every Softmax what
    became of it.
  }];
  let dependentDialects = ["::caat::onnx::ONNXDialect", "::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect"];
}

def ONNXRaiseMasksPass : Pass<"onnx-raise-masks", "::mlir::func::FuncOp"> {
  let summary = "Recognise causal, window and padding masks of Attention";
  let description = [{
    Evaluates a mask symbolically, element by element: what is computed from Range, comparisons, And, Gather and GatherND is a
    conjunction of `key <= query + past + right`, `key >= query + past - left` and `padding[batch, key]`. The first becomes `is_causal` or
    `right_window_size`, the second `left_window_size`, the third remains as a mask of shape [B, 1, 1, T]. Of a sum or a choice of masks
    and biases (ALiBi, relative positions) each part is looked at; what is not recognised stays the mask.
  }];
  let dependentDialects = ["::caat::onnx::ONNXDialect", "::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect"];
}

def ONNXLowerOpsetPass : Pass<"onnx-lower-opset", "::mlir::func::FuncOp"> {
  let summary = "Write newer operators by older ones";
  let description = [{
    Replaces LayerNormalization (opset 17), Gelu (20), RMSNormalization, RotaryEmbedding, Attention (23) and Swish (24) by what
    they are made of, where they are newer than `opset`, for runtimes that do not have them. An operator that has no older form
    is an error. Nothing in caat's own way to code needs this.

    ```mlir
    %y = onnx.Swish %x : (tensor<?x64xf32>) -> tensor<?x64xf32>
    // becomes
    %s = onnx.Sigmoid %x : (tensor<?x64xf32>) -> tensor<?x64xf32>
    %y = onnx.Mul %x, %s : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
    ```
  }];
  let options = [Option<"opset", "opset", "int64_t", /*default=*/"18", "The newest opset that may be used">];
  let dependentDialects = ["::caat::onnx::ONNXDialect", "::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect"];
}

#endif // CAAT_RAISE_PASSES_TD
