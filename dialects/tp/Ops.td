// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_DIALECTS_TP_OPS_TD
#define CAAT_DIALECTS_TP_OPS_TD

include "dialects/tp/Attributes.td"
include "dialects/tp/Interfaces.td"
include "mlir/IR/OpAsmInterface.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

class TP_Op<string mnemonic, list<Trait> traits = []> : Op<TP_Dialect, mnemonic, traits>;

def TP_Data : AnyTypeOf<[AnyRankedTensor, AnyStridedMemRef]>;

//===-- Meshes and shards -----------------------------------------------------------------------------------------===//

def TP_MeshOp : TP_Op<"mesh", [Symbol]> {
  let summary = "names the axes that ranks are numbered by";
  let description = [{
    ```mlir
    tp.mesh @mesh <["tp" = 4]>
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TP_AxesAttr:$axes);
  let assemblyFormat = "$sym_name $axes attr-dict";
  let extraClassDeclaration = [{
    /// Size of an axis; nothing for a name that the mesh does not have.
    std::optional<int64_t> getAxisSize(::llvm::StringRef axis);
    /// Number of ranks of the whole mesh.
    int64_t getNumRanks();
  }];
}

def TP_RankOp : TP_Op<"rank", [Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "number of this rank in its mesh";
  let description = [{
    ```mlir
    %r = tp.rank on @mesh : index
    ```

    **Constraints:**
    - `mesh` names a `tp.mesh`.
  }];
  let arguments = (ins FlatSymbolRefAttr:$mesh);
  let results = (outs Index:$result);
  let assemblyFormat = "`on` $mesh attr-dict `:` type($result)";
}

def TP_ShardOp : TP_Op<"shard", [Pure]> {
  let summary = "this rank's slice of a value that all ranks hold";
  let description = [{
    The concatenation of this rank's `[start, length]` pieces along `dim`, padded with zeros at the end to `size`. A piece
    `[-1, length]` is that many zeros: padding of a segment that others follow.
    ```mlir
    %l = tp.shard %w dim 1 pieces [[[0, 192]], [[192, 192]]] size 192 : tensor<576x384xf32> -> tensor<576x192xf32>
    ```

    **Constraints:**
    - `dim` is a dimension of the operand.
    - Pieces are pairs that lie inside the dimension, or start at -1; there is at least one rank.
    - No rank's pieces are longer than `size`.
    - The result is the operand's type with `size` as the extent of `dim`.
  }];
  let arguments = (ins AnyRankedTensor:$input, I64Attr:$dim, TP_PiecesAttr:$pieces, I64Attr:$size);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = [{
    $input `dim` custom<Int>($dim) `pieces` custom<Pieces>($pieces) `size` custom<Int>($size) attr-dict
    `:` type($input) `->` type($result)
  }];
  let hasVerifier = 1;
}

//===-- Collectives -----------------------------------------------------------------------------------------------===//

/// Collectives are ordered among themselves by an effect on the network, so that none is dropped, doubled or moved
/// into a branch: every rank has to run the same sequence.
class TP_CollectiveOp<string mnemonic, list<Trait> traits = []>
    : TP_Op<mnemonic, !listconcat([DeclareOpInterfaceMethods<MemoryEffectsOpInterface>,
                                   DeclareOpInterfaceMethods<SymbolUserOpInterface>], traits,
                                  [TP_CollectiveOpInterface])> {
  code inPlaceDeclarations = [{
    bool worksInPlace() { return true; }
    ::mlir::Value getDestination() { return {}; }
  }];
  code outDeclarations = [{
    bool worksInPlace() { return false; }
    ::mlir::Value getDestination() { return getOut(); }
  }];
}

/// A collective that overwrites its buffer.
class TP_InPlaceCollective<string mnemonic> : TP_CollectiveOp<mnemonic> {
  dag collective = (ins FlatSymbolRefAttr:$mesh, TP_AxisNamesAttr:$axes, OptionalAttr<StrAttr>:$site);
  let results = (outs Optional<AnyRankedTensor>:$result);
  let extraClassDeclaration = inPlaceDeclarations;
}

/// A collective whose result has a buffer of its own.
class TP_OutCollective<string mnemonic> : TP_CollectiveOp<mnemonic> {
  dag collective = (ins FlatSymbolRefAttr:$mesh, TP_AxisNamesAttr:$axes, OptionalAttr<StrAttr>:$site);
  let results = (outs Optional<AnyRankedTensor>:$result);
  let extraClassDeclaration = outDeclarations;
  let hasVerifier = 1;
}

def TP_AllReduceOp : TP_InPlaceCollective<"all_reduce"> {
  let summary = "sum over the ranks of a group, known to all of them";
  let description = [{
    ```mlir
    %y = tp.all_reduce %x on @mesh ["tp"] {site = "layers.0.attn"} : tensor<?x?x576xf32>
    tp.all_reduce %m on @mesh ["tp"] : memref<?x?x576xf32>
    ```

    **Constraints:** those of all collectives, and
    - the result has the operand's type.
  }];
  let arguments = !con((ins TP_Data:$input), collective);
  let assemblyFormat = "$input `on` $mesh custom<Names>($axes) attr-dict `:` custom<SameType>(type($input), type($result))";
  let hasVerifier = 1;
}

def TP_QuantizedAllReduceOp : TP_CollectiveOp<"quantized_all_reduce"> {
  let summary = "sum over the ranks of a group that travels in few bits, and what rounding left out of it";
  let description = [{
    Each rank rounds its value x to Q(x): blocks of `block` consecutive channels (the last dimension) become integers
    -m … m times a scale of their own, m = 2^(bits-1) - 1. Every block has an owner, which adds up what the ranks have
    sent, in f32 and in rank order, rounds the sum once more and sends it to all. Channels in `exact` travel unrounded.

    The first result is that sum, the same bits on all ranks. The second is this rank's error: x - Q(x), to which the
    owner of a block adds what the second rounding left out. So sum + (sum over the ranks of the errors) = sum over the
    ranks of x, up to f32's rounding. On memrefs the sum overwrites the input, and `error` may be missing.

    A block that holds NaN or an infinity arrives as NaN.
    ```mlir
    %sum, %error = tp.quantized_all_reduce %x bits 4 block 32 exact [7, 507] on @mesh ["tp"] {site = "layers.0.attn"} : tensor<?x?x576xf32>
    tp.quantized_all_reduce %m error(%e) bits 8 block 32 exact [] on @mesh ["tp"] : memref<?x576xf32>
    ```

    **Constraints:** those of all collectives, and
    - the operand's elements are f32; it has a last dimension of known extent, the channels;
    - `bits`, `block` and `exact` are as in `#tp.rounding`; `exact` names channels of the operand;
    - results and `error` have the operand's type.
  }];
  let arguments = (ins TP_Data:$input, Optional<AnyStridedMemRef>:$error, I64Attr:$bits, I64Attr:$block,
                       DenseI64ArrayAttr:$exact, FlatSymbolRefAttr:$mesh, TP_AxisNamesAttr:$axes,
                       OptionalAttr<StrAttr>:$site);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    $input (`error` `(` $error^ `)`)? `bits` custom<Int>($bits) `block` custom<Int>($block) `exact` custom<Channels>($exact)
    `on` $mesh custom<Names>($axes) attr-dict
    `:` custom<QuantizedTypes>(type($input), type($error), type($results), ref($error))
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    bool worksInPlace() { return true; }
    ::mlir::Value getDestination() { return getError(); }
    unsigned getNumTensorResults() { return 2; }
    int64_t getNumChannels() { return ::llvm::cast<::mlir::ShapedType>(getInput().getType()).getShape().back(); }
  }];
}

def TP_BroadcastOp : TP_InPlaceCollective<"broadcast"> {
  let summary = "one rank's value for all ranks of a group";
  let description = [{
    ```mlir
    %y = tp.broadcast %x root 0 on @mesh ["tp"] : tensor<?x64xf32>
    ```

    **Constraints:** those of all collectives, and
    - the result has the operand's type;
    - `root` is a rank of the group.
  }];
  let arguments = !con((ins TP_Data:$input, I64Attr:$root), collective);
  let assemblyFormat = [{
    $input `root` custom<Int>($root) `on` $mesh custom<Names>($axes) attr-dict `:` custom<SameType>(type($input), type($result))
  }];
  let hasVerifier = 1;
}

def TP_PermuteOp : TP_OutCollective<"permute"> {
  let summary = "sends this rank's value round the ring, to rank + shift";
  let description = [{
    ```mlir
    %y = tp.permute %x shift 1 on @mesh ["tp"] : tensor<576x192xf32> -> tensor<576x192xf32>
    tp.permute %m into %o shift -1 on @mesh ["tp"] : memref<4xf32> into memref<4xf32>
    ```

    **Constraints:** those of all collectives, and
    - result or `out` have the operand's shape and element type.
  }];
  let arguments = !con((ins TP_Data:$input, Optional<AnyStridedMemRef>:$out, I64Attr:$shift), collective);
  let assemblyFormat = [{
    $input (`into` $out^)? `shift` custom<Int>($shift) `on` $mesh custom<Names>($axes) attr-dict
    `:` custom<OutTypes>(type($input), type($out), type($result))
  }];
}

def TP_AllGatherOp : TP_OutCollective<"all_gather"> {
  let summary = "the ranks' values one behind the other along a dimension";
  let description = [{
    ```mlir
    %y = tp.all_gather %x dim 2 on @mesh ["tp"] : tensor<?x?x192xf32> -> tensor<?x?x768xf32>
    tp.all_gather %m into %o dim 0 on @mesh ["tp"] : memref<4xf32> into memref<16xf32>
    ```

    **Constraints:** those of all collectives, and
    - `dim` is a dimension of the operand;
    - result or `out` is the operand's shape with `dim` times the group's size.
  }];
  let arguments = !con((ins TP_Data:$input, Optional<AnyStridedMemRef>:$out, I64Attr:$dim), collective);
  let assemblyFormat = [{
    $input (`into` $out^)? `dim` custom<Int>($dim) `on` $mesh custom<Names>($axes) attr-dict
    `:` custom<OutTypes>(type($input), type($out), type($result))
  }];
}

def TP_ReduceScatterOp : TP_OutCollective<"reduce_scatter"> {
  let summary = "sum over the ranks, of which each keeps one part along a dimension";
  let description = [{
    ```mlir
    %y = tp.reduce_scatter %x dim 1 on @mesh ["tp"] : tensor<?x64x576xf32> -> tensor<?x16x576xf32>
    ```

    **Constraints:** those of all collectives, and
    - `dim` is a dimension of the operand, and its extent, where known, a multiple of the group's size;
    - result or `out` is the operand's shape with `dim` divided by the group's size.
  }];
  let arguments = !con((ins TP_Data:$input, Optional<AnyStridedMemRef>:$out, I64Attr:$dim), collective);
  let assemblyFormat = [{
    $input (`into` $out^)? `dim` custom<Int>($dim) `on` $mesh custom<Names>($axes) attr-dict
    `:` custom<OutTypes>(type($input), type($out), type($result))
  }];
}

def TP_AllToAllOp : TP_OutCollective<"all_to_all"> {
  let summary = "part j of the leading dimension goes to rank j, and parts come back in the order of their senders";
  let description = [{
    ```mlir
    %y = tp.all_to_all %x on @mesh ["tp"] : tensor<8x576xf32> -> tensor<8x576xf32>
    ```

    **Constraints:** those of all collectives, and
    - the operand has at least one dimension; the extent of the first, where known, is a multiple of the group's size;
    - result or `out` have the operand's shape and element type.
  }];
  let arguments = !con((ins TP_Data:$input, Optional<AnyStridedMemRef>:$out), collective);
  let assemblyFormat = [{
    $input (`into` $out^)? `on` $mesh custom<Names>($axes) attr-dict
    `:` custom<OutTypes>(type($input), type($out), type($result))
  }];
}

//===-- Rotation --------------------------------------------------------------------------------------------------===//

def TP_RingShardOp : TP_Op<"ring_shard", [Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "the virtual rank whose shards this rank holds in a step of the ring";
  let description = [{
    With rotated weights every rank runs the program of each virtual rank in turn, on its own part of the batch. In step
    s it holds the shards of one of them, which `tp.ring_shard` names.
    ```mlir
    %j = tp.ring_shard step 1 on @mesh : index
    ```

    **Constraints:**
    - `mesh` names a `tp.mesh`.
    - `step` is at least 0 and below the number of ranks.
  }];
  let arguments = (ins I64Attr:$step, FlatSymbolRefAttr:$mesh);
  let results = (outs Index:$result);
  let assemblyFormat = "`step` custom<Int>($step) `on` $mesh attr-dict `:` type($result)";
}

def TP_RotateOp : TP_Op<"rotate", [DeclareOpInterfaceMethods<MemoryEffectsOpInterface>,
                                   DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "the shards of a group move on by one rank: the next step begins";
  let description = [{
    Sends this rank's shard of every weight of the group to rank + 1 and takes those of rank - 1. Gives the virtual rank
    whose shards are held from here on. Values keep the steps apart: what a step makes is an operand, and what the next
    step reads of the weights depends on the result. On buffers there are no operands.
    ```mlir
    %j = tp.rotate "layers.0.mlp" step 1 on @mesh after (%sum : tensor<4x48xf32>)
    ```

    **Constraints:**
    - `mesh` names a `tp.mesh`.
    - `group` is not empty.
    - `step` is at least 1 and below the number of ranks.
  }];
  let arguments = (ins StrAttr:$group, I64Attr:$step, FlatSymbolRefAttr:$mesh, Variadic<AnyRankedTensor>:$after);
  let results = (outs Index:$shard);
  let assemblyFormat = [{
    $group `step` custom<Int>($step) `on` $mesh (`after` `(` $after^ `:` type($after) `)`)? attr-dict
  }];
  let hasVerifier = 1;
}

def TP_HeldOp : TP_Op<"held", [Pure, TypesMatchWith<"the result has the operand's type", "input", "result", "$_self">]> {
  let summary = "the slice of a weight that the ring has brought";
  let description = [{
    The operand is this rank's own slice, as `tp.shard` makes it; the result is virtual rank `shard`'s, while this rank
    holds it.
    ```mlir
    %w = tp.held %slice of "layers.0.mlp" at %j : tensor<48x72xf32>
    ```

    **Constraints:**
    - `group` is not empty.
    - the result has the operand's type.
  }];
  let arguments = (ins AnyRankedTensor:$input, StrAttr:$group, Index:$shard);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input `of` $group `at` $shard attr-dict `:` type($input)";
  let hasVerifier = 1;
}

def TP_BlockOp : TP_Op<"block", [Pure, TypesMatchWith<"the result has the operand's type", "input", "result", "$_self">]> {
  let summary = "a virtual rank's part of an argument that this rank holds for all of them";
  let description = [{
    ```mlir
    %b = tp.block %cache at %j : tensor<?x3x?x64xf32>
    ```

    **Constraints:**
    - the operand is an argument of a function.
    - the result has the operand's type.
  }];
  let arguments = (ins AnyRankedTensor:$input, Index:$shard);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input `at` $shard attr-dict `:` type($input)";
  let hasVerifier = 1;
}

def TP_BlocksOp : TP_Op<"blocks", [Pure, SameVariadicOperandSize]> {
  let summary = "what a function returns of each virtual rank, for the caller to join";
  let description = [{
    ```mlir
    %r = tp.blocks %a, %b at %i, %j : tensor<?x?x24576xf32>
    ```

    **Constraints:**
    - there is at least one value, and all have the result's type.
  }];
  let arguments = (ins Variadic<AnyRankedTensor>:$values, Variadic<Index>:$shards);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$values `at` $shards attr-dict `:` custom<BlockTypes>(type($values), type($result), ref($values))";
  let hasVerifier = 1;
}

//===-- The residual stream ---------------------------------------------------------------------------------------===//

def TP_SyncPointOp : TP_Op<"sync_point", [AttrSizedOperandSegments, DeclareOpInterfaceMethods<MemoryEffectsOpInterface>,
                                          DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "a partial sum joins the residual stream";
  let description = [{
    On every rank the stream is `base + pending`: base is equal on all ranks, pending is what this rank has computed
    and not summed yet. With `t = pending + partial`, the policy's choice Q(t) is reduced into base and the rest stays
    pending. The bias is added once, to base. The stream is read through `tp.read_stream`. Where one norm of the stream
    gives what the partial is computed from, it is the `input`: estimates may read it.
    ```mlir
    %base2, %pending2 = tp.sync_point base(%base) pending(%pending) partial(%p) input(%norm) bias(%b) on @mesh ["tp"]
        {site = "layers.0.attn", policy = #tp.policy<partial, shared = 144, rest = deferred>}
        : tensor<?x?x576xf32>, tensor<576xf32>
    ```
    Where a norm stands between the sum and the stream, base may be missing (the norm reads the partial's sum) and
    `not_deferrable` holds the reason: such a site can be full or private only.

    A `switchable` site takes its policy at run time: the policy here is full and means nothing. `flushes` says that
    what is read of it is equal on all ranks, so everything that is pending is summed there, and `not_private` why it
    may not be private.

    **Constraints:**
    - `mesh` names a `tp.mesh` and `axes` its axes.
    - Base, pending, partial, input and results have one type.
    - The channels are the last dimension; its extent is known.
    - The bias, where given, has one extent that is not 1: the channels, in its last dimension.
    - `shared` is at most the number of channels, and `order` is as long.
    - An estimate has a row per rank of the group and a column per channel; one that reads the input needs it.
    - Rounding needs elements of f32, and `exact` channels that are reduced.
    - A site that is not deferrable neither defers nor feeds rounding errors back.
    - A site without base has nothing pending.
    - `site` is not empty.
  }];
  let arguments = (ins Optional<AnyRankedTensor>:$base, Optional<AnyRankedTensor>:$pending, AnyRankedTensor:$partial,
                       Optional<AnyRankedTensor>:$input, Optional<AnyRankedTensor>:$bias, FlatSymbolRefAttr:$mesh,
                       TP_AxisNamesAttr:$axes, StrAttr:$site, TP_PolicyAttr:$policy, OptionalAttr<StrAttr>:$not_deferrable,
                       UnitAttr:$switchable, UnitAttr:$flushes, OptionalAttr<StrAttr>:$not_private);
  let results = (outs AnyRankedTensor:$new_base, AnyRankedTensor:$new_pending);
  let assemblyFormat = [{
    (`base` `(` $base^ `)`)? (`pending` `(` $pending^ `)`)? `partial` `(` $partial `)` (`input` `(` $input^ `)`)?
    (`bias` `(` $bias^ `)`)? `on` $mesh custom<Names>($axes) attr-dict
    `:` custom<StreamTypes>(type($base), type($pending), type($partial), type($input), type($bias), type($new_base),
                            type($new_pending), ref($base), ref($pending), ref($input), ref($bias))
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// Width of the stream.
    int64_t getNumChannels() {
      return ::llvm::cast<::mlir::RankedTensorType>(getPartial().getType()).getShape().back();
    }
  }];
}

def TP_ReadStreamOp : TP_Op<"read_stream", [Pure, SameOperandsAndResultType]> {
  let summary = "what a norm or product sees of the residual stream";
  let description = [{
    `base + pending`, or base plus the estimate that the policy of the last site gives.
    ```mlir
    %x = tp.read_stream %base, %pending : tensor<?x?x576xf32>
    ```
  }];
  let arguments = (ins AnyRankedTensor:$base, AnyRankedTensor:$pending);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$base `,` $pending attr-dict `:` type($base)";
}

#endif // CAAT_DIALECTS_TP_OPS_TD
