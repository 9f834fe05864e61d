// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_DIALECTS_TP_ATTRIBUTES_TD
#define CAAT_DIALECTS_TP_ATTRIBUTES_TD

include "dialects/tp/Dialect.td"
include "dialects/tp/Enums.td"
include "mlir/IR/AttrTypeBase.td"

class TP_Attr<string name, string attrMnemonic, list<Trait> traits = []>
    : AttrDef<TP_Dialect, name, traits> {
  let mnemonic = attrMnemonic;
  let genVerifyDecl = 1;
}

def TP_AxesAttr : TP_Attr<"Axes", "axes"> {
  let summary = "the named axes of a mesh and their sizes";
  let description = [{
    ```mlir
    #tp.axes<["dp" = 2, "tp" = 4]>
    ```
    The last axis varies fastest in a rank's number.

    **Constraints:**
    - There is at least one axis.
    - Names are not empty and differ from each other.
    - Sizes are at least 1.
  }];
  let parameters = (ins ArrayRefParameter<"::mlir::StringAttr">:$names, ArrayRefParameter<"int64_t">:$sizes);
  let hasCustomAssemblyFormat = 1;
}

def TP_ShardAttr : TP_Attr<"Shard", "shard"> {
  let summary = "which pieces of a dimension each rank holds";
  let description = [{
    `pieces` has one list of `[start, length]` pairs per rank; the rank's slice is their concatenation, padded with
    zeros at the end where the type's local size is larger.
    ```mlir
    #tp.shard<dim = 1, global = 3, pieces = [[[0, 1]], [[1, 1]], [[2, 1]]]>
    ```

    **Constraints:**
    - `dim` is not negative and `global` is positive.
    - There is at least one rank.
    - Each piece lies inside `[0, global)` and is not negative.
  }];
  let parameters = (ins "int64_t":$dim, "int64_t":$global, "::mlir::ArrayAttr":$pieces);
  let hasCustomAssemblyFormat = 1;
  let extraClassDeclaration = [{
    /// Number of ranks that the pieces are listed for.
    int64_t getNumRanks() const { return getPieces().size(); }
    /// How many elements of the dimension `rank` holds, without padding.
    int64_t getLength(int64_t rank) const;
  }];
}

def TP_ShardingAttr : TP_Attr<"Sharding", "sharding"> {
  let summary = "how a value is spread over the axes of a mesh";
  let description = [{
    Per dimension the axes that split it, then the axes over which the value is `unreduced` (the true value is the sum
    over the ranks) and `private` (it differs per rank on purpose). A value is replicated over every other axis.
    ```mlir
    #tp.sharding<[[], ["tp"]]>
    #tp.sharding<[[], []], unreduced = ["tp"]>
    #tp.sharding<[[], []], private = ["tp"]>
    ```

    **Constraints:**
    - An axis occurs once: it splits one dimension, or is unreduced, or is private.
    - Axis names are not empty.
  }];
  let parameters = (ins ArrayRefParameter<"::mlir::ArrayAttr">:$dims, "::mlir::ArrayAttr":$unreduced,
                        "::mlir::ArrayAttr":$privateAxes);
  let hasCustomAssemblyFormat = 1;
  let extraClassDeclaration = [{
    /// A sharding of `rank` dimensions that no axis splits.
    static ShardingAttr getReplicated(::mlir::MLIRContext *context, int64_t rank);
    bool isReplicated() const;
  }];
}

def TP_PolicyAttr : TP_Attr<"Policy", "policy"> {
  let summary = "what a sync point sends and what becomes of the rest";
  let description = [{
    `shared` channels, the first of `order` (default 0, 1, 2, …), are reduced. The rest is `deferred` (stays pending
    and is summed at a later site) or `private` (added to this rank's stream times `scale` and never summed).
    `estimate` holds a and b, [ranks, channels] each: readers see `base + (a * pending + b)` with their rank's row.
    ```mlir
    #tp.policy<full>
    #tp.policy<partial, shared = 144, rest = deferred>
    #tp.policy<partial, shared = 2, rest = private, scale = 1.5, order = [3, 1, 0, 2]>
    #tp.policy<partial, shared = 0, rest = deferred, estimate = [dense<1.0> : tensor<2x4xf32>, dense<0.0> : tensor<2x4xf32>]>
    ```

    **Constraints:**
    - A full policy has no other parameter.
    - `shared` is not negative.
    - `order` lists each channel 0 … n-1 once.
    - A `scale` other than 1 needs private channels, and is finite.
    - An `estimate` needs deferred channels, and two matrices of one floating-point type.
  }];
  let parameters = (ins "::caat::tp::SyncKind":$kind, "int64_t":$shared, "::caat::tp::Rest":$rest,
                        "::mlir::FloatAttr":$scale, OptionalParameter<"::mlir::DenseI64ArrayAttr">:$order,
                        OptionalParameter<"::mlir::DenseElementsAttr">:$estimateScale,
                        OptionalParameter<"::mlir::DenseElementsAttr">:$estimateOffset);
  let hasCustomAssemblyFormat = 1;
  let extraClassDeclaration = [{
    static PolicyAttr getFull(::mlir::MLIRContext *context);
    bool isFull() const { return getKind() == SyncKind::Full; }
    /// Full, or partial with every one of `channels` channels on the wire: the same program.
    bool isExact(int64_t channels) const { return isFull() || getShared() == channels; }
    bool isPrivate() const { return !isFull() && getRest() == Rest::Private; }
    bool isDeferred() const { return !isFull() && getRest() == Rest::Deferred; }
    double getScaleValue() const { return getScale().getValueAsDouble(); }
  }];
}

/// Pieces of each rank, as `#tp.shard` has them: an array of flat [start, length, start, length, …] lists.
def TP_PiecesAttr : TypedArrayAttrBase<DenseI64ArrayAttr, "pieces per rank">;
def TP_AxisNamesAttr : TypedArrayAttrBase<StrAttr, "names of mesh axes">;

#endif // CAAT_DIALECTS_TP_ATTRIBUTES_TD
