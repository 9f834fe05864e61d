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
    - Sizes are at least 1, and their product, the number of ranks, at most 1,024.
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

def TP_RoundingAttr : TP_Attr<"Rounding", "rounding"> {
  let summary = "few bits on the wire for what a sync point reduces";
  let description = [{
    Blocks of `block` consecutive reduced channels are rounded to -m … m times a scale of their own, m = 2^(bits-1) - 1.
    Channels in `exact` travel unrounded. With `feedback` the rounding error stays pending.
    ```mlir
    #tp.rounding<bits = 4, exact = [507, 17], feedback = true>
    ```

    **Constraints:**
    - `bits` is 8, 4 or 3.
    - `block` is a multiple of 8 in [8, 1024].
    - `exact` lists channels that are not negative, in ascending order.
  }];
  let parameters = (ins "int64_t":$bits, DefaultValuedParameter<"int64_t", "32">:$block,
                        OptionalArrayRefParameter<"int64_t">:$exact, DefaultValuedParameter<"bool", "true">:$feedback);
  let hasCustomAssemblyFormat = 1;
}

def TP_LowRankAttr : TP_Attr<"LowRank", "low_rank"> {
  let summary = "the part of small rank of an estimate";
  let description = [{
    Rank m adds `U_m (V_m f)` to what readers see, u = [ranks, channels, k] and v = [ranks, k, length of f]. The feature f is
    what is `pending`, the module's normalised `input`, or `pending_and_input`, one behind the other.
    ```mlir
    #tp.low_rank<u = dense<1.0> : tensor<2x4x1xf32>, v = dense<0.5> : tensor<2x1x4xf32>, feature = input>
    ```

    **Constraints:**
    - `u` and `v` have three dimensions and one floating-point type; their ranks and k agree.
    - The length of f is the number of channels, or twice that for `pending_and_input`.
  }];
  let parameters = (ins "::mlir::DenseElementsAttr":$u, "::mlir::DenseElementsAttr":$v,
                        EnumParameter<TP_Feature>:$feature);
  let assemblyFormat = "`<` struct(params) `>`";
  let extraClassDeclaration = [{
    bool readsPending() const { return getFeature() != Feature::Input; }
    bool readsInput() const { return getFeature() != Feature::Pending; }
  }];
}

def TP_PolicyAttr : TP_Attr<"Policy", "policy"> {
  let summary = "what a sync point sends and what becomes of the rest";
  let description = [{
    `shared` channels, the first of `order` (default 0, 1, 2, …), are reduced; with `full`, all. The rest is `deferred`
    (stays pending and is summed at a later site) or `private` (added to this rank's stream times `scale` and never
    summed). `estimate` holds a and b, [ranks, channels] each: readers see `base + (a * pending + b)` with their rank's
    row, plus what `low_rank` gives. `rounding` says how many bits the reduced channels have on the wire.
    ```mlir
    #tp.policy<full>
    #tp.policy<full, rounding = <bits = 8>>
    #tp.policy<partial, shared = 144, rest = deferred>
    #tp.policy<partial, shared = 2, rest = private, scale = 1.5, order = [3, 1, 0, 2]>
    #tp.policy<partial, shared = 0, rest = deferred, estimate = [dense<1.0> : tensor<2x4xf32>, dense<0.0> : tensor<2x4xf32>]>
    ```

    **Constraints:**
    - A full policy has no other parameter than `rounding` and, beside it, `order`.
    - `shared` is not negative.
    - `order` lists each channel 0 … n-1 once.
    - A `scale` other than 1 needs private channels, and is finite.
    - An `estimate` needs deferred channels, and two matrices of one floating-point type.
    - `low_rank` needs an estimate of the same ranks, channels and type.
  }];
  let parameters = (ins "::caat::tp::SyncKind":$kind, "int64_t":$shared, "::caat::tp::Rest":$rest,
                        "::mlir::FloatAttr":$scale, OptionalParameter<"::mlir::DenseI64ArrayAttr">:$order,
                        OptionalParameter<"::mlir::DenseElementsAttr">:$estimateScale,
                        OptionalParameter<"::mlir::DenseElementsAttr">:$estimateOffset,
                        OptionalParameter<"::caat::tp::LowRankAttr">:$lowRank,
                        OptionalParameter<"::caat::tp::RoundingAttr">:$rounding);
  let hasCustomAssemblyFormat = 1;
  let extraClassDeclaration = [{
    static PolicyAttr getFull(::mlir::MLIRContext *context, RoundingAttr rounding = {},
                              ::mlir::DenseI64ArrayAttr order = {});
    bool isFull() const { return getKind() == SyncKind::Full; }
    /// How many of `channels` channels are on the wire.
    int64_t getReduced(int64_t channels) const { return isFull() ? channels : getShared(); }
    /// Every one of `channels` channels is on the wire as it is: the program without approximation.
    bool isExact(int64_t channels) const { return getReduced(channels) == channels && !getRounding(); }
    bool isPrivate() const { return !isFull() && getRest() == Rest::Private; }
    bool isDeferred() const { return !isFull() && getRest() == Rest::Deferred; }
    /// Whether a channel is among the reduced ones.
    bool isReduced(int64_t channel, int64_t channels) const;
    bool hasFeedback() const;
    double getScaleValue() const { return getScale().getValueAsDouble(); }
  }];
}

/// Pieces of each rank, as `#tp.shard` has them: an array of flat [start, length, start, length, …] lists.
def TP_PiecesAttr : TypedArrayAttrBase<DenseI64ArrayAttr, "pieces per rank">;
def TP_AxisNamesAttr : TypedArrayAttrBase<StrAttr, "names of mesh axes">;

#endif // CAAT_DIALECTS_TP_ATTRIBUTES_TD
