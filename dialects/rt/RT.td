// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_DIALECTS_RT_TD
#define CAAT_DIALECTS_RT_TD

include "dialects/rt/Enums.td"
include "dialects/tp/Interfaces.td"
include "mlir/Dialect/SCF/IR/DeviceMappingInterface.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/OpBase.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/DestinationStyleOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def RT_Dialect : Dialect {
  let name = "rt";
  let cppNamespace = "::caat::rt";
  let summary = "What compiled code asks of the runtime";
  let description = [{
    The host program of an artifact: weights, named dimensions, buffers of the interface, and calls of the runtime's
    entry points (`runtime/include/caat/runtime/Entrypoints.def`). `rt.linear`, `rt.matmul` and `rt.attention` exist on tensors, in
    destination style, and on memrefs, without results; one-shot bufferization turns the one into the other.
  }];
  let useDefaultAttributePrinterParser = 1;
  let useDefaultTypePrinterParser = 1;
}

def RT_RowsAttr : AttrDef<RT_Dialect, "Rows", [DeclareAttrInterfaceMethods<DeviceMappingAttrInterface>]> {
  let mnemonic = "rows";
  let summary = "marks an scf.forall as a kernel, launched over its rows";
  let description = [{
    Keeps canonicalization from inlining a kernel whose number of rows is 1.

    ```mlir
    scf.forall (%row) in (%n) { … } {mapping = [#rt.rows]}
    ```
  }];
}

def RT_BlocksAttr : AttrDef<RT_Dialect, "Blocks"> {
  let mnemonic = "blocks";
  let summary = "a matrix in blocks of unsigned codes of few bits that share a scale";
  let description = [{
    The matrix is [N, K]; each row is K / `size` blocks, and an element `code * scale + offset` of its block. The offset
    is `-2^(bits-1) * scale` (`middle`), `-zero * scale` with an unsigned byte for each block (`zeros`), or a number of
    the scales' type for each block (`minimum`).

    ```mlir
    #rt.blocks<bits = 4, size = 32, scales = f16, offset = minimum>
    ```

    **Constraints:**
    - (C1) `bits` is 4 or 8.
    - (C2) `size` is 16, 32, 64, 128 or 256.
    - (C3) `scales` is f16 or f32.
  }];
  let parameters = (ins "unsigned":$bits, "int64_t":$size, "::mlir::FloatType":$scales,
                        EnumParameter<RT_BlockOffset>:$offset);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def RT_TokenType : TypeDef<RT_Dialect, "Token"> {
  let mnemonic = "token";
  let summary = "what was started and is waited for once";
}

class RT_Op<string mnemonic, list<Trait> traits = []> : Op<RT_Dialect, mnemonic, traits>;

/// A product in destination style: tensors with results, or memrefs without.
class RT_Product<string mnemonic, list<Trait> traits = []>
    : RT_Op<mnemonic, !listconcat(traits, [DestinationStyleOpInterface,
                                           DeclareOpInterfaceMethods<MemoryEffectsOpInterface>])> {
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let hasVerifier = 1;
  code declareDestination = [{
    ::mlir::MutableOperandRange getDpsInitsMutable() { return getInitMutable(); }
  }];
}

def RT_WeightOp : RT_Op<"weight", [Symbol, IsolatedFromAbove, SingleBlock]> {
  let summary = "a weight, as the expression that makes it at compile time";
  let description = [{
    The region computes the weight from `onnx.get_initializer` and `onnx.Constant` and ends in `rt.yield`. The artifact
    writer evaluates it once per rank; nothing of it runs later. With `linear` the weight is a matrix that only
    `rt.linear` uses, [K, N], or [N, K] with `transposed`; the runtime may pack it. Without, it is a dense buffer. With a
    `group` the ranks' slices travel: the weight lies in the group's buffer, together with the others of the group.

    With `blocks` a linear weight is stored, and kept in memory, in that form; the region yields the f32 matrix, and the
    stated element type is what products are computed in. `rounded` says that the elements are rounded to the form when
    the artifact is written. Without it they have it already: they come from codes (`onnx.DequantizeLinear`) that are
    moved, not computed with, and these codes are kept.

    ```mlir
    rt.weight @scale : tensor<2xf32> {
      %0 = arith.constant dense<[1.0, 2.0]> : tensor<2xf32>
      rt.yield %0 : tensor<2xf32>
    }
    rt.weight @w linear transposed blocks(#rt.blocks<bits = 4, size = 32, scales = f16, offset = minimum>) rounded
        : tensor<8x64xbf16> {
      %0 = onnx.get_initializer @w : tensor<8x64xf32>
      rt.yield %0 : tensor<8x64xf32>
    }
    ```

    **Constraints:**
    - (C1) the region ends in `rt.yield` of one value of the stated type, which is a static ranked tensor; with
      `blocks`, of that shape and f32.
    - (C2) a linear weight has two dimensions; only linear weights are transposed.
    - (C3) a group's name is not empty.
    - (C4) a weight with `blocks` is linear, transposed, without a group, and of f32, bf16 or f16.
    - (C5) the blocks' size divides K.
    - (C6) `rounded` goes with `blocks`.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttrOf<AnyStaticShapeTensor>:$type, UnitAttr:$linear,
                       UnitAttr:$transposed, OptionalAttr<StrAttr>:$group, OptionalAttr<RT_BlocksAttr>:$blocks,
                       UnitAttr:$rounded);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    $sym_name (`linear` $linear^)? (`transposed` $transposed^)? (`group` $group^)?
    (`blocks` `(` qualified($blocks)^ `)`)? (`rounded` $rounded^)? `:` $type $body attr-dict
  }];
  let builders = [OpBuilder<(ins "::llvm::StringRef":$name, "::mlir::Type":$type, CArg<"bool", "false">:$linear,
                                 CArg<"bool", "false">:$transposed, CArg<"::mlir::StringAttr", "{}">:$group)>];
  let hasRegionVerifier = 1;
  let extraClassDeclaration = [{
    ::mlir::RankedTensorType getTensorType() { return ::llvm::cast<::mlir::RankedTensorType>(getType()); }
    /// Rows and columns of the matrix that x is multiplied by.
    int64_t getK() { return getTensorType().getDimSize(getTransposed() ? 1 : 0); }
    int64_t getN() { return getTensorType().getDimSize(getTransposed() ? 0 : 1); }
    ::mlir::Value getYielded();
  }];
}

def RT_YieldOp : RT_Op<"yield", [Pure, Terminator, HasParent<"WeightOp">]> {
  let summary = "the value of a weight";
  let arguments = (ins AnyRankedTensor:$value);
  let assemblyFormat = "$value attr-dict `:` type($value)";
}

def RT_ParameterOp : RT_Op<"parameter", [Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "a weight as a value";
  let description = [{
    A read-only value. Of a weight that travels, virtual rank `shard`'s slice, while this rank holds it.

    ```mlir
    %0 = rt.parameter @scale : tensor<2xf32>
    %1 = rt.parameter @table at %j : tensor<24576x576xf32>
    ```

    **Constraints:**
    - (C1) the symbol is an `rt.weight` without `linear`, of the same shape and element type.
    - (C2) `shard` is given exactly where the weight has a group.
  }];
  let arguments = (ins FlatSymbolRefAttr:$weight, Optional<Index>:$shard);
  let results = (outs AnyTypeOf<[AnyRankedTensor, AnyMemRef]>:$result);
  let assemblyFormat = "$weight (`at` $shard^)? attr-dict `:` type($result)";
}

def RT_DimOp : RT_Op<"dim", [Pure]> {
  let summary = "a named dimension of the program's interface";
  let description = [{
    ```mlir
    %batch = rt.dim "batch"
    ```
  }];
  let arguments = (ins StrAttr:$name);
  let results = (outs Index:$result);
  let assemblyFormat = "$name attr-dict";
  let builders = [OpBuilder<(ins "::mlir::StringAttr":$name), [{ build($_builder, $_state, $_builder.getIndexType(), name); }]>];
}

def RT_BufferOp : RT_Op<"buffer", [Pure, AttrSizedOperandSegments]> {
  let summary = "an input, cache or output of the program's interface";
  let description = [{
    The dense buffer at a position of the manifest's order, with the sizes of its dynamic dimensions. Where a rank holds
    the parts of all virtual ranks, they lie one behind the other, and `block` is the number of one.

    ```mlir
    %ids = rt.buffer 0 [%batch, %seq] : memref<?x?xi64>
    %part = rt.buffer 3 [%batch, %length] at %j : memref<?x3x?x64xf32>
    ```

    **Constraints:**
    - (C1) one size for each dynamic dimension, and the identity layout.
  }];
  let arguments = (ins ConfinedAttr<I64Attr, [IntNonNegative]>:$position, Variadic<Index>:$sizes,
                       Optional<Index>:$block);
  let results = (outs AnyMemRef:$result);
  let assemblyFormat = "$position `[` $sizes `]` (`at` $block^)? attr-dict `:` type($result)";
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

def RT_WorkspaceOp : RT_Op<"workspace", [Pure]> {
  let summary = "the arena that holds the intermediate values";
  let results = (outs AnyMemRef:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
}

def RT_LinearOp : RT_Product<"linear", [AttrSizedOperandSegments, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "product with a weight: y = f(x W + bias), or y = f(y + x W + bias) with accumulate";
  let description = [{
    x is [..., K], y is [..., N]; leading dimensions are equal. Sums are f32, whatever x and y are stored as. The old
    value of y counts only with `accumulate`. Without `bias` nothing is added, without `then` f is nothing. `gelu` is
    that of the error function, `swish` is x / (1 + exp(-alpha x)). Of a weight that travels, virtual rank `shard`'s
    slice is meant, while this rank holds it.

    With `gate` (SwiGLU, GeGLU) y is [..., N / 2]: of the N columns of x W + bias one half, the first or the second, is
    the gate, and y = f(gate) * other half.

    ```mlir
    %y = rt.linear @w ins(%x : tensor<?x4xf32>) bias(%b : tensor<8xf32>) then gelu
           outs(%init : tensor<?x8xf32>) -> tensor<?x8xf32>
    %z = rt.linear @w ins(%x : tensor<?x4xf32>) then swish gate first outs(%half : tensor<?x4xf32>) -> tensor<?x4xf32>
    ```

    **Constraints:**
    - (C1) tensors with one result of y's type, or memrefs without result.
    - (C2) x and y have the same leading dimensions, and element types f32, bf16 or f16.
    - (C3) the symbol is a linear `rt.weight`; its K and N are the last dimensions of x and y, with `gate` N is twice that
      of y.
    - (C4) `shard` is given exactly where the weight has a group.
    - (C5) the bias is [N], of f32 or of y's element type.
    - (C6) alpha is 1, but for `swish`.
    - (C7) `only_results` (`rt-mark-results`): y is [batch, tokens, N], and its row is read by the same row of the
      program's results alone.
    - (C8) `gate` goes without `accumulate`.
  }];
  let arguments = (ins FlatSymbolRefAttr:$weight, AnyTypeOf<[AnyRankedTensor, AnyMemRef]>:$x,
                       AnyTypeOf<[AnyRankedTensor, AnyMemRef]>:$init, Optional<Index>:$shard,
                       Optional<AnyTypeOf<[AnyRankedTensor, AnyMemRef]>>:$bias,
                       OptionalAttr<RT_Activation>:$activation, OptionalAttr<RT_Gate>:$gate,
                       DefaultValuedAttr<F32Attr, "1.0f">:$alpha,
                       UnitAttr:$accumulate, UnitAttr:$only_results);
  let assemblyFormat = [{
    $weight (`accumulate` $accumulate^)? (`at` $shard^)? `ins` `(` $x `:` type($x) `)`
    (`bias` `(` $bias^ `:` type($bias) `)`)? (`then` $activation^)? (`gate` $gate^)? `outs` `(` $init `:` type($init) `)` attr-dict
    (`->` type($results)^)?
  }];
  let builders = [OpBuilder<(ins "::llvm::StringRef":$weight, "::mlir::Value":$x, "::mlir::Value":$init,
                                 CArg<"::mlir::Value", "{}">:$shard, CArg<"bool", "false">:$accumulate)>];
  let extraClassDeclaration = declareDestination # [{
    /// N, as far as y tells it.
    int64_t getColumns();
  }];
}

def RT_MatmulOp : RT_Product<"matmul"> {
  let summary = "batched product: c = alpha a b + beta c";
  let description = [{
    a is [batch..., m, k] ([batch..., k, m] with `transpose_a`), b is [batch..., k, n] ([batch..., n, k] with
    `transpose_b`), c is [batch..., m, n]. A batch dimension of a or b may be 1 and is then repeated. On memrefs any
    strides are allowed, but the columns of c are contiguous. The old value of c counts only where beta is not 0.
    Factors of bf16 may have f32 sums.

    ```mlir
    %c = rt.matmul ins(%a, %b : tensor<?x?x8xf32>, tensor<?x?x8xf32>) outs(%init : tensor<?x?x?xf32>)
           {transpose_b} -> tensor<?x?x?xf32>
    ```

    **Constraints:**
    - (C1) tensors with one result of c's type, or memrefs without result.
    - (C2) equal element types, or bf16 in a and b and f32 in c; equal ranks of at least 2.
    - (C3) static m, n, k agree, and static batch dimensions are equal, or 1 in a or b.
  }];
  let arguments = (ins AnyTypeOf<[AnyRankedTensor, AnyMemRef]>:$a, AnyTypeOf<[AnyRankedTensor, AnyMemRef]>:$b,
                       AnyTypeOf<[AnyRankedTensor, AnyMemRef]>:$init, UnitAttr:$transpose_a, UnitAttr:$transpose_b,
                       DefaultValuedAttr<F32Attr, "1.0f">:$alpha, DefaultValuedAttr<F32Attr, "0.0f">:$beta);
  let assemblyFormat = [{
    `ins` `(` $a `,` $b `:` type($a) `,` type($b) `)` `outs` `(` $init `:` type($init) `)` attr-dict
    (`->` type($results)^)?
  }];
  let builders = [OpBuilder<(ins "::mlir::Value":$a, "::mlir::Value":$b, "::mlir::Value":$init,
                                 CArg<"bool", "false">:$transposeA, CArg<"bool", "false">:$transposeB,
                                 CArg<"float", "1.0f">:$alpha, CArg<"float", "0.0f">:$beta)>];
  let extraClassDeclaration = declareDestination;
}

def RT_AttentionOp : RT_Product<"attention", [AttrSizedOperandSegments]> {
  let summary = "attention on a GPU's tensor cores";
  let description = [{
    `softmax(softcap(scale * q k^T) + mask) v` with products of the 16-bit type `via` and sums in f32. The query is
    [B, S, H, D], keys and values are [B, KV, >= T, D] and [B, KV, >= T, Dv], of which the first `total` T count, the
    destination is [B, S, H, Dv]; query head h uses key head h / (H / KV). `past` is the position of token 0; with
    `lengths` [B], of which each row has so many valid keys, it is `lengths - S` where keys were there before, or, with
    `appends_by_row`, that number between 0 and `past`. Query token i sees the keys up to its position with `causal`, up
    to `right` behind it and from `left` before it where these are not -1. `mask` is added, broadcast to [B, H, S, T]
    from its last dimension on. A row that sees no key gives 0.

    ```mlir
    %y = rt.attention via bf16 query(%q : tensor<?x?x32x128xf32>) keys(%k : tensor<?x8x?x128xf32>)
           values(%v : tensor<?x8x?x128xf32>) total(%total) past(%past) outs(%init : tensor<?x?x32x128xf32>)
           {causal, scale = 0.088 : f32} -> tensor<?x?x32x128xf32>
    ```

    **Constraints:**
    - (C1) tensors with one result of the destination's type, or memrefs without result.
    - (C2) query, keys, values and destination have four dimensions, whose static sizes agree; the numbers of heads and
      their sizes are static, and KV divides H.
    - (C3) `via` is bf16 or f16; query, keys, values and destination are of f32 or of it, keys and values of the same.
    - (C4) the mask is of f32 and has at most four dimensions; lengths are [B] of i32 or i64; `appends_by_row` needs them.
  }];
  let arguments = (ins TypeAttr:$via, AnyTypeOf<[AnyRankedTensor, AnyMemRef]>:$query,
                       AnyTypeOf<[AnyRankedTensor, AnyMemRef]>:$keys, AnyTypeOf<[AnyRankedTensor, AnyMemRef]>:$values,
                       Optional<AnyTypeOf<[AnyRankedTensor, AnyMemRef]>>:$mask,
                       Optional<AnyTypeOf<[AnyRankedTensor, AnyMemRef]>>:$lengths, Index:$total, Index:$past,
                       AnyTypeOf<[AnyRankedTensor, AnyMemRef]>:$init, F32Attr:$scale,
                       DefaultValuedAttr<F32Attr, "0.0f">:$softcap, DefaultValuedAttr<I64Attr, "-1">:$left,
                       DefaultValuedAttr<I64Attr, "-1">:$right, UnitAttr:$causal, UnitAttr:$appends_by_row);
  let assemblyFormat = [{
    `via` $via `query` `(` $query `:` type($query) `)` `keys` `(` $keys `:` type($keys) `)`
    `values` `(` $values `:` type($values) `)` (`mask` `(` $mask^ `:` type($mask) `)`)?
    (`lengths` `(` $lengths^ `:` type($lengths) `)`)? `total` `(` $total `)` `past` `(` $past `)`
    `outs` `(` $init `:` type($init) `)` attr-dict (`->` type($results)^)?
  }];
  let extraClassDeclaration = declareDestination;
}

def RT_LaunchOp : RT_Op<"launch", [AttrSizedOperandSegments, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "runs the rows [0, grid) of a generated kernel";
  let description = [{
    The runtime may divide the rows among threads. With `sums`, which began before, it waits for them; then `summing` is
    a kernel that takes the same and begins with the sum itself, row by row, which the runtime may run instead where
    nobody has begun it.

    ```mlir
    rt.launch @k grid(%rows) buffers(%x, %y : memref<?x8xf32>, memref<?x8xf32>) dims(%rows)
    rt.launch @k grid(%rows) buffers(%x, %y : memref<?x8xf32>, memref<?x8xf32>) dims(%rows) sums(%sum) by @k_sum
    ```

    **Constraints:**
    - (C1) every buffer has the identity layout (it is passed as a pointer).
    - (C2) the symbols are functions.
    - (C3) `sums` are tokens of `rt.all_reduce_start`; they and `summing` are there both or not at all.
  }];
  let arguments = (ins FlatSymbolRefAttr:$kernel, Index:$grid, Variadic<AnyMemRef>:$buffers, Variadic<Index>:$dims,
                       Variadic<RT_TokenType>:$sums, OptionalAttr<FlatSymbolRefAttr>:$summing);
  let assemblyFormat = [{
    $kernel `grid` `(` $grid `)` `buffers` `(` ($buffers^ `:` type($buffers))? `)` `dims` `(` ($dims^)? `)`
    (`sums` `(` $sums^ `)` `by` $summing)? attr-dict
  }];
  let hasVerifier = 1;
}

def RT_SyncPointOp : RT_Op<"sync_point", [AttrSizedOperandSegments, DestinationStyleOpInterface,
                                           DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let summary = "a sync point whose policy the runtime knows";
  let description = [{
    A switchable `tp.sync_point` with what its readers see. The three destinations are the stream, which is written, and
    base and pending, which are updated in place. `starts_base` and `starts_pending` say that they hold nothing yet. On
    memrefs, `live` lists the other buffers that are read behind the site and were written before it: with them, base,
    pending, partial and input a run can be taken up again at the site.

    ```mlir
    %stream, %base, %pending = rt.sync_point "layers.0.attn" partial(%x : tensor<?x8xf32>) bias(%c : tensor<8xf32>)
        outs(%s, %b, %p : tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x8xf32>)
        -> tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x8xf32>
    ```

    **Constraints:**
    - (C1) three destinations of the partial's type; tensors with three results, or memrefs without.
    - (C2) the channels are the last dimension, of known size; element type f32.
    - (C3) the site's name is not empty.
  }];
  let arguments = (ins StrAttr:$site, AnyTypeOf<[AnyRankedTensor, AnyMemRef]>:$partial,
                       Optional<AnyTypeOf<[AnyRankedTensor, AnyMemRef]>>:$bias,
                       Optional<AnyTypeOf<[AnyRankedTensor, AnyMemRef]>>:$input,
                       Variadic<AnyTypeOf<[AnyRankedTensor, AnyMemRef]>>:$destinations, Variadic<AnyMemRef>:$live,
                       UnitAttr:$starts_base, UnitAttr:$starts_pending, UnitAttr:$flushes,
                       OptionalAttr<StrAttr>:$not_deferrable, OptionalAttr<StrAttr>:$not_private);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    $site `partial` `(` $partial `:` type($partial) `)` (`bias` `(` $bias^ `:` type($bias) `)`)?
    (`input` `(` $input^ `:` type($input) `)`)? `outs` `(` $destinations `:` type($destinations) `)`
    (`live` `(` $live^ `:` type($live) `)`)? attr-dict (`->` type($results)^)?
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    enum Destination { Stream, Base, Pending };
    ::mlir::MutableOperandRange getDpsInitsMutable() { return getDestinationsMutable(); }
    int64_t getNumChannels() {
      return ::llvm::cast<::mlir::ShapedType>(getPartial().getType()).getShape().back();
    }
  }];
}

def RT_CopyOp : RT_Op<"copy", [MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "copies one dense buffer onto another of the same size";
  let arguments = (ins AnyMemRef:$source, AnyMemRef:$target);
  let assemblyFormat = "$source `to` $target attr-dict `:` type($source) `to` type($target)";
  let hasVerifier = 1;
}

def RT_AllReduceStartOp : RT_Op<"all_reduce_start", [DeclareOpInterfaceMethods<MemoryEffectsOpInterface>,
                                                     DeclareOpInterfaceMethods<SymbolUserOpInterface>,
                                                     TP_CollectiveOpInterface]> {
  let summary = "begins to sum a buffer over the ranks, beside what follows";
  let description = [{
    What `tp.all_reduce` does, up to the `rt.all_reduce_wait` of the token, or the `rt.launch` that waits for it: until
    then nothing touches the buffer. Sums that
    were started go one after the other, and are waited for in that order. A buffer may be summed in `parts`, each a view
    of some of its rows: they are one collective of the manifest, for which part 0 stands. Where nothing could go on beside
    it, a sum is `left` to the launch that waits for it.

    ```mlir
    %sum = rt.all_reduce_start %m on @mesh ["tp"] {site = "layers.0.attn"} : memref<?x?x144xf32>
    ```

    **Constraints:** those of all collectives, and
    - (C1) the buffer is dense.
    - (C2) one `rt.all_reduce_wait`, which has the same buffer, or one `rt.launch` uses the token, behind it in its block.
    - (C3) between the two nothing uses the buffer or a view of it.
    - (C4) `part` is at least 0 and below `parts`.
  }];
  let arguments = (ins AnyMemRef:$input, FlatSymbolRefAttr:$mesh,
                       TypedArrayAttrBase<StrAttr, "names of mesh axes">:$axes, OptionalAttr<StrAttr>:$site,
                       DefaultValuedAttr<I64Attr, "0">:$part, DefaultValuedAttr<I64Attr, "1">:$parts,
                       UnitAttr:$left);
  let results = (outs RT_TokenType:$token);
  let assemblyFormat = "$input `on` $mesh $axes attr-dict `:` type($input)";
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    bool worksInPlace() { return true; }
    ::mlir::Value getDestination() { return {}; }
    /// The op that ends it: an rt.all_reduce_wait or an rt.launch. Null where the token has no or several uses.
    ::mlir::Operation *getEnd();
  }];
}

def RT_AllReduceWaitOp : RT_Op<"all_reduce_wait", [DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let summary = "waits until a sum is there";
  let description = [{
    ```mlir
    rt.all_reduce_wait %sum for %m : memref<?x?x144xf32>
    ```

    **Constraints:**
    - (C1) the token is an `rt.all_reduce_start`'s.
  }];
  let arguments = (ins RT_TokenType:$token, AnyMemRef:$buffer);
  let assemblyFormat = "$token `for` $buffer attr-dict `:` type($buffer)";
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    AllReduceStartOp getStart();
  }];
}

def RT_PartRowsOp : RT_Op<"part_rows", [Pure]> {
  let summary = "rows that a part of a product has at least";
  let description = [{
    A product is computed in parts so that the sum of some rows goes on beside the rest. Of a run that has other work for that time, all rows are one
    part, which the runtime knows: then this is as many as there can be, else `least`.

    ```mlir
    %rows = rt.part_rows 64 : index
    ```

    **Constraints:** `least` is positive.
  }];
  let arguments = (ins ConfinedAttr<I64Attr, [IntPositive]>:$least);
  let results = (outs Index:$result);
  let assemblyFormat = "$least attr-dict `:` type($result)";
}

def RT_UnreadTokensOp : RT_Op<"unread_tokens", [Pure]> {
  let summary = "tokens of a run whose results nobody reads";
  let description = [{
    Who generates text reads the logits of the last token alone, who scores it reads all of them; the runtime knows.
    This is how many of a run's `tokens` come before those that are read: from none up to all of them.

    ```mlir
    %unread = rt.unread_tokens of %tokens : index
    ```
  }];
  let arguments = (ins Index:$tokens);
  let results = (outs Index:$result);
  let assemblyFormat = "`of` $tokens attr-dict `:` type($result)";
}

class RT_RotationOp<string mnemonic> : RT_Op<mnemonic> {
  let arguments = (ins StrAttr:$group);
  let assemblyFormat = "$group attr-dict";
}

def RT_RotateStartOp : RT_Op<"rotate_start"> {
  let summary = "begins to send a group's shards to the next rank, and to receive those of the rank before";
  let description = [{
    They are received in a spare buffer, which `rt.rotate_wait` exchanges for the group's own. Until it returns, the shards
    at hand can be read. Transfers that were started go one after the other.

    ```mlir
    rt.rotate_start "layers.0.mlp" into 1
    ```
  }];
  let arguments = (ins StrAttr:$group, ConfinedAttr<I64Attr, [IntNonNegative]>:$spare);
  let assemblyFormat = "$group `into` $spare attr-dict";
}

def RT_RotateWaitOp : RT_RotationOp<"rotate_wait"> {
  let summary = "waits until a group's next shards are there; they are read from here on";
  let description = [{
    ```mlir
    rt.rotate_wait "layers.0.mlp"
    ```
  }];
}

def RT_RotateOp : RT_RotationOp<"rotate"> {
  let summary = "exchanges a group's shards in place, a piece at a time";
  let description = [{
    ```mlir
    rt.rotate "layers.0.mlp"
    ```
  }];
}

def RT_CheckOp : RT_Op<"check"> {
  let summary = "fails the run with a message where a condition is false";
  let description = [{
    ```mlir
    rt.check %fits, "the sequence is longer than max_length"
    ```
  }];
  let arguments = (ins I1:$condition, StrAttr:$message);
  let assemblyFormat = "$condition `,` $message attr-dict";
  let hasCanonicalizeMethod = 1;
}

def RT_CheckLaterOp : RT_Op<"check_later"> {
  let summary = "fails the run with a message where a condition in memory is false, when the run is over at the latest";
  let description = [{
    What follows does not depend on it: only the results would be wrong. So a device that finds out later need not be
    waited for.

    ```mlir
    rt.check_later %equal, "rows must have equal length" : memref<i1>
    ```

    **Constraints:** the condition is a scalar.
  }];
  let arguments = (ins AnyTypeOf<[0DTensorOf<[I1]>, MemRefRankOf<[I1], [0]>]>:$condition, StrAttr:$message);
  let assemblyFormat = "$condition `,` $message attr-dict `:` type($condition)";
  let hasCanonicalizeMethod = 1;
}

#endif // CAAT_DIALECTS_RT_TD
