// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Products, convolution, normalisations and attention.
#ifndef CAAT_DIALECTS_ONNX_NN_TD
#define CAAT_DIALECTS_ONNX_NN_TD

include "dialects/onnx/ONNXBase.td"

def ONNX_MatMulOp : ONNX_PureOp<"MatMul", [SameOperandsAndResultElementType]> {
  let summary = "matrix product, as numpy.matmul";
  let description = [{
    `A` [..., M, K] times `B` [..., K, N] is `Y` [..., M, N]; the leading dimensions are broadcast. A 1-D operand is a row (`A`) or column
    (`B`) whose dimension is dropped from the result.

    **Constraints:** both K agree; the leading dimensions can be broadcast; `Y` has the shape that follows.
  }];
  let arguments = (ins AnyTensor:$A, AnyTensor:$B);
  let results = (outs AnyTensor:$Y);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def ONNX_GemmOp : ONNX_PureOp<"Gemm", [SameOperandsAndResultElementType]> {
  let summary = "Y = alpha * A' * B' + beta * C";
  let description = [{
    `A'` [M, K] is `A`, transposed where `transA` is 1, `B'` [K, N] likewise; `C` is broadcast to [M, N].

    **Constraints:** `A` and `B` have rank 2; both K agree; `C` can be broadcast to the result.
  }];
  let arguments = (ins AnyTensor:$A, AnyTensor:$B, Optional<AnyTensor>:$C, ONNX_FloatDefault<"1.0">:$alpha,
                       ONNX_FloatDefault<"1.0">:$beta, ONNX_IntDefault<"0">:$transA, ONNX_IntDefault<"0">:$transB);
  let results = (outs AnyTensor:$Y);
  let assemblyFormat = "$A `,` $B (`bias` $C^)? attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def ONNX_EinsumOp : ONNX_PureOp<"Einsum", [SameOperandsAndResultElementType]> {
  let summary = "Einstein summation";
  let description = [{
    Sums products of the `Inputs` over the letters of `equation` that its output does not name, as numpy.einsum does.

    **Constraints:** `equation` has one term per input and, where it has no ellipsis, as many letters in each as the input's rank.
  }];
  let arguments = (ins Variadic<AnyTensor>:$Inputs, StrAttr:$equation);
  let results = (outs AnyTensor:$Output);
  let assemblyFormat = "$equation $Inputs attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def ONNX_ConvOp : ONNX_PureOp<"Conv", [SameOperandsAndResultElementType]> {
  let summary = "convolution";
  let description = [{
    `X` [N, C, D1, ...] with kernels `W` [M, C / group, k1, ...] and bias `B` [M] gives `Y` [N, M, ...]. `pads` lists all begins, then all ends;
    `strides` and `dilations` default to 1, `kernel_shape` to that of `W`.

    **Constraints:** `X` and `W` have the same rank of at least 3; C is `group` times the second dimension of `W`; `group` is positive.
  }];
  let arguments = (ins AnyTensor:$X, AnyTensor:$W, Optional<AnyTensor>:$B, ONNX_StringDefault<"NOTSET">:$auto_pad,
                       OptionalAttr<DenseI64ArrayAttr>:$dilations, ONNX_IntDefault<"1">:$group,
                       OptionalAttr<DenseI64ArrayAttr>:$kernel_shape, OptionalAttr<DenseI64ArrayAttr>:$pads,
                       OptionalAttr<DenseI64ArrayAttr>:$strides);
  let results = (outs AnyTensor:$Y);
  let assemblyFormat = "$X `,` $W (`bias` $B^)? attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def ONNX_ConvTransposeOp : ONNX_PureOp<"ConvTranspose", [SameOperandsAndResultElementType]> {
  let summary = "transposed convolution";
  let description = [{
    The gradient of `onnx.Conv` by its input: `X` [N, C, D1, ...] with kernels `W` [C, M / group, k1, ...] and bias `B` [M] gives `Y` [N, M, ...] of
    `stride * (D - 1) + output_padding + dilation * (k - 1) + 1 - pads` positions, or of `output_shape`, which the pads then follow from.

    **Constraints:** `X` and `W` have the same rank of at least 3; C is the first dimension of `W` and a multiple of `group`, which is positive.
  }];
  let arguments = (ins AnyTensor:$X, AnyTensor:$W, Optional<AnyTensor>:$B, ONNX_StringDefault<"NOTSET">:$auto_pad,
                       OptionalAttr<DenseI64ArrayAttr>:$dilations, ONNX_IntDefault<"1">:$group,
                       OptionalAttr<DenseI64ArrayAttr>:$kernel_shape, OptionalAttr<DenseI64ArrayAttr>:$output_padding,
                       OptionalAttr<DenseI64ArrayAttr>:$output_shape, OptionalAttr<DenseI64ArrayAttr>:$pads,
                       OptionalAttr<DenseI64ArrayAttr>:$strides);
  let results = (outs AnyTensor:$Y);
  let assemblyFormat = "$X `,` $W (`bias` $B^)? attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

class ONNX_Pool<string name, string what, dag attributes> : ONNX_PureOp<name, [AllElementTypesMatch<["X", "Y"]>]> {
  let summary = what # " over windows";
  let description = "The " # what # [{ over windows of `kernel_shape` of the spatial dimensions of `X` [N, C, D1, ...]. `pads` lists all begins,
    then all ends; `strides` and `dilations` default to 1; `ceil_mode` 1 rounds the number of windows up.

    **Constraints:** `X` has rank 3 or more; `kernel_shape` has an entry, above 0, for each spatial dimension.}];
  let arguments = !con((ins AnyTensor:$X, DenseI64ArrayAttr:$kernel_shape, ONNX_StringDefault<"NOTSET">:$auto_pad,
                            ONNX_IntDefault<"0">:$ceil_mode, OptionalAttr<DenseI64ArrayAttr>:$dilations,
                            OptionalAttr<DenseI64ArrayAttr>:$pads, OptionalAttr<DenseI64ArrayAttr>:$strides), attributes);
  let results = (outs AnyTensor:$Y);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}
def ONNX_AveragePoolOp : ONNX_Pool<"AveragePool", "mean", (ins ONNX_IntDefault<"0">:$count_include_pad)>;
def ONNX_LpPoolOp : ONNX_Pool<"LpPool", "p-norm", (ins ONNX_IntDefault<"2">:$p)>;
// Indices: places of the maxima in the flattened X, whose spatial dimensions are taken in reverse order where storage_order is 1.
def ONNX_MaxPoolOp : ONNX_Pool<"MaxPool", "maximum", (ins ONNX_IntDefault<"0">:$storage_order)> {
  let results = (outs AnyTensor:$Y, Optional<TensorOf<[I64]>>:$Indices);
}

def ONNX_LayerNormalizationOp : ONNX_PureOp<"LayerNormalization", [AttrSizedResultSegments]> {
  let summary = "Y = (X - mean) / sqrt(variance + epsilon) * Scale + B";
  let description = [{
    Mean and variance are taken over the dimensions from `axis` on; `Scale` and `B` are broadcast to `X`. `Mean` and `InvStdDev` have size 1 in
    the normalised dimensions. `stash_type` 1: statistics in f32.

    **Constraints:** `axis` is within the rank; `Y` has `X`'s shape and element type; `Scale` and `B` can be broadcast to `X`.
  }];
  let arguments = (ins AnyTensor:$X, AnyTensor:$Scale, Optional<AnyTensor>:$B, ONNX_IntDefault<"-1">:$axis,
                       ONNX_FloatDefault<"9.99999974e-06">:$epsilon, ONNX_IntDefault<"1">:$stash_type);
  let results = (outs AnyTensor:$Y, Optional<AnyTensor>:$Mean, Optional<AnyTensor>:$InvStdDev);
  let assemblyFormat = "$X `,` $Scale (`bias` $B^)? attr-dict `:` functional-type(operands, results)";
  // Without Mean and InvStdDev; Y has X's type.
  let builders = [OpBuilder<(ins "::mlir::Value":$X, "::mlir::Value":$Scale, "::mlir::Value":$B, "int64_t":$axis, "::mlir::FloatAttr":$epsilon)>];
  let hasVerifier = 1;
}

def ONNX_RMSNormalizationOp : ONNX_PureOp<"RMSNormalization"> {
  let summary = "Y = X / sqrt(mean(X^2) + epsilon) * scale";
  let description = [{
    The mean is taken over the dimensions from `axis` on; `scale` is broadcast to `X`. `stash_type` 1: statistics in f32.

    **Constraints:** `axis` is within the rank; `Y` has `X`'s shape; `scale` can be broadcast to `X`.
  }];
  let arguments = (ins AnyTensor:$X, AnyTensor:$scale, ONNX_IntDefault<"-1">:$axis, ONNX_FloatDefault<"9.99999974e-06">:$epsilon,
                       ONNX_IntDefault<"1">:$stash_type);
  let results = (outs AnyTensor:$Y);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def ONNX_GroupNormalizationOp : ONNX_PureOp<"GroupNormalization", [SameOperandsAndResultElementType]> {
  let summary = "normalisation over groups of channels";
  let description = [{
    Splits the C channels of `X` [N, C, ...] in `num_groups` groups, normalises each over its channels and all later dimensions, and applies
    `scale` and `bias` [C].

    **Constraints:** C is a multiple of `num_groups`; `Y` has `X`'s shape.
  }];
  let arguments = (ins AnyTensor:$X, AnyTensor:$scale, AnyTensor:$bias, ONNX_Int:$num_groups,
                       ONNX_FloatDefault<"9.99999974e-06">:$epsilon, ONNX_IntDefault<"1">:$stash_type);
  let results = (outs AnyTensor:$Y);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def ONNX_AttentionOp : ONNX_PureOp<"Attention", [AttrSizedOperandSegments, AttrSizedResultSegments]> {
  let summary = "scaled dot-product attention with grouped heads, mask and cache";
  let description = [{
    `Y = softmax(softcap(scale * Q K^T) + mask) V` per head. `Q` [B, Hq, S, D], `K` [B, Hkv, S', D], `V` [B, Hkv, S', Dv], `Y` [B, Hq, S, Dv]; query
    head i uses key head i / (Hq / Hkv). 3-D operands [B, S, H * D] need `q_num_heads` and `kv_num_heads`.
    With `past_key` and `past_value` [B, Hkv, P, D] the keys are past and new ones together, T = P + S', which are also `present_key` and
    `present_value`. `attn_mask` is broadcast to [B, Hq, S, T]: booleans (true = visible) or numbers to add. `is_causal`: query i sees key j
    where j <= i + P. `scale` defaults to 1 / sqrt(D); `softcap` c > 0 applies c * tanh(x / c). `nonpad_kv_seqlen` [B]: valid keys of each row. Beyond ONNX it may stand beside a past: it
    counts the new keys of the row too, which then follow directly on that row's own past, at `max(nonpad_kv_seqlen - S, 0)`.

    **Constraints:** Q, K and V have the same rank, 3 or 4; head sizes and batch agree; Hq is a multiple of Hkv; past_key and past_value come together, as
    do their present results.
  }];
  let arguments = (ins AnyTensor:$Q, AnyTensor:$K, AnyTensor:$V, Optional<AnyTensor>:$attn_mask, Optional<AnyTensor>:$past_key,
                       Optional<AnyTensor>:$past_value, Optional<AnyTensor>:$nonpad_kv_seqlen,
                       ONNX_IntDefault<"0">:$is_causal, OptionalAttr<ONNX_Int>:$q_num_heads, OptionalAttr<ONNX_Int>:$kv_num_heads,
                       OptionalAttr<F32Attr>:$scale, ONNX_FloatDefault<"0.0">:$softcap, OptionalAttr<ONNX_Int>:$softmax_precision,
                       ONNX_IntDefault<"0">:$qk_matmul_output_mode, ONNX_IntDefault<"-1">:$left_window_size,
                       ONNX_IntDefault<"-1">:$right_window_size);
  let results = (outs AnyTensor:$Y, Optional<AnyTensor>:$present_key, Optional<AnyTensor>:$present_value,
                      Optional<AnyTensor>:$qk_matmul_output);
  let assemblyFormat = [{
    $Q `,` $K `,` $V (`mask` $attn_mask^)? (`past_key` $past_key^)? (`past_value` $past_value^)? (`kv_lengths` $nonpad_kv_seqlen^)? attr-dict
    `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def ONNX_LinearAttentionOp : ONNX_PureOp<"LinearAttention", [AttrSizedOperandSegments]> {
  let summary = "attention by a recurrent state in the place of keys and values";
  let description = [{
    `query` [B, T, Hq * D], `key` [B, T, H * D] and `value` [B, T, H * Dv] give `output` [B, T, Hq * Dv] and `present_state` [B, H, D, Dv]. Each step
    adds k (x) u to the state S, and query head i reads `scale * q^T S` of head i / (Hq / H); `scale` 0: 1 / sqrt(D). By `update_rule`
    "linear": u = v; "gated": S is multiplied by exp(`decay`) before; "delta": u = `beta` * (v - S^T k); "gated_delta": both. `decay` is [B, T, H] or
    [B, T, H * D], `beta` [B, T, H] or [B, T, 1]; `past_state` defaults to zeros.

    **Constraints:** `update_rule` is one of these, with the operands that it needs and no others; `q_num_heads` is a multiple of `kv_num_heads`, both
    positive; `query`, `key` and `value` have rank 3.
  }];
  let arguments = (ins AnyTensor:$query, AnyTensor:$key, AnyTensor:$value, Optional<AnyTensor>:$past_state,
                       Optional<AnyTensor>:$decay, Optional<AnyTensor>:$beta, ONNX_Int:$q_num_heads, ONNX_Int:$kv_num_heads,
                       ONNX_IntDefault<"64">:$chunk_size, ONNX_FloatDefault<"0.0">:$scale,
                       ONNX_StringDefault<"gated_delta">:$update_rule);
  let results = (outs AnyTensor:$output, AnyTensor:$present_state);
  let assemblyFormat = [{
    $query `,` $key `,` $value (`state` $past_state^)? (`decay` $decay^)? (`beta` $beta^)? attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def ONNX_RotaryEmbeddingOp : ONNX_PureOp<"RotaryEmbedding"> {
  let summary = "rotates pairs of channels by the position's angles";
  let description = [{
    `X` is [B, H, S, D], or [B, S, H * D] with `num_heads`. With `position_ids` [B, S] the caches are [max, R / 2], else [B, S, R / 2]. The first
    R = `rotary_embedding_dim` channels (0: all D) of each head are rotated: channel i with i + R / 2, or neighbours where `interleaved` is 1:
    `(a, b) -> (a cos - b sin, a sin + b cos)`. `Y` has `X`'s shape.

    **Constraints:** X has rank 4, or 3 with `num_heads`; the caches have rank 2 with position_ids and 3 without, and equal shapes whose last
    dimension is R / 2.
  }];
  let arguments = (ins AnyTensor:$X, AnyTensor:$cos_cache, AnyTensor:$sin_cache, Optional<AnyTensor>:$position_ids,
                       ONNX_IntDefault<"0">:$interleaved, ONNX_IntDefault<"0">:$num_heads, ONNX_IntDefault<"0">:$rotary_embedding_dim);
  let results = (outs AnyTensor:$Y);
  let assemblyFormat = "$X `,` $cos_cache `,` $sin_cache (`positions` $position_ids^)? attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

class ONNX_Blocks<string name, string verb> : ONNX_PureOp<name, [SameOperandsAndResultElementType]> {
  let summary = verb;
  let description = verb # [{; `blocksize` is the edge of a block.

    **Constraints:** `input` has rank 4; `blocksize` is positive and divides what it splits.}];
  let results = (outs AnyTensor:$output);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}
def ONNX_DepthToSpaceOp : ONNX_Blocks<"DepthToSpace", "Moves channels [N, C, H, W] into spatial blocks [N, C / b^2, H * b, W * b]"> {
  let arguments = (ins AnyTensor:$input, ONNX_Int:$blocksize, ONNX_StringDefault<"DCR">:$mode);
}
def ONNX_SpaceToDepthOp : ONNX_Blocks<"SpaceToDepth", "Moves spatial blocks [N, C, H, W] into channels [N, C * b^2, H / b, W / b]"> {
  let arguments = (ins AnyTensor:$input, ONNX_Int:$blocksize, ONNX_StringDefault<"DCR">:$mode);
}

def ONNX_QuantizeLinearOp : ONNX_PureOp<"QuantizeLinear"> {
  let summary = "y = saturate(round(x / y_scale) + y_zero_point)";
  let description = [{
    `y_scale` is a scalar (per tensor), 1-D (per slice of `axis`) or of `x`'s rank (blocks of `block_size` along `axis`); `y_zero_point` has the same
    shape and the result's element type. `x` and `y` have the same shape.
  }];
  let arguments = (ins AnyTensor:$x, AnyTensor:$y_scale, Optional<AnyTensor>:$y_zero_point, ONNX_IntDefault<"1">:$axis,
                       ONNX_IntDefault<"0">:$block_size, ONNX_IntDefault<"0">:$output_dtype, ONNX_IntDefault<"0">:$precision,
                       ONNX_IntDefault<"1">:$saturate);
  let results = (outs AnyTensor:$y);
  let assemblyFormat = "$x `,` $y_scale (`zero_point` $y_zero_point^)? attr-dict `:` functional-type(operands, results)";
}

def ONNX_DequantizeLinearOp : ONNX_PureOp<"DequantizeLinear"> {
  let summary = "y = (x - x_zero_point) * x_scale";
  let description = [{
    Scale and zero point have shapes as in `onnx.QuantizeLinear`; the result has the scale's element type, or `output_dtype` where that is given.
    `x` and `y` have the same shape.
  }];
  let arguments = (ins AnyTensor:$x, AnyTensor:$x_scale, Optional<AnyTensor>:$x_zero_point, ONNX_IntDefault<"1">:$axis,
                       ONNX_IntDefault<"0">:$block_size, ONNX_IntDefault<"0">:$output_dtype);
  let results = (outs AnyTensor:$y);
  let assemblyFormat = "$x `,` $x_scale (`zero_point` $x_zero_point^)? attr-dict `:` functional-type(operands, results)";
}

#endif // CAAT_DIALECTS_ONNX_NN_TD
