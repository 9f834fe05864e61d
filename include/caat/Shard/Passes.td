// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_SHARD_PASSES_TD
#define CAAT_SHARD_PASSES_TD

include "mlir/Pass/PassBase.td"

def TPAutoShard : Pass<"tp-auto-shard", "::mlir::ModuleOp"> {
  let summary = "chooses the dimensions that are split over the ranks";
  let description = [{
    Every op's factor rule says which dimensions go together. Classes of dimensions that split weights are chosen by the
    bytes of weights that a rank saves against the bytes that it sends: the columns of one product with the rows of the
    next (Megatron's pair), attention by KV head with its group of query heads, the vocabulary. Adds `tp.mesh @mesh` and
    annotates ops and arguments with `caat.operand_shardings`, `caat.result_shardings` and `caat.sharding`; `tp-partition`
    carries them out. The annotations can be written by hand too.

    ```mlir
    %0 = onnx.MatMul(%x, %w1) : (tensor<4x48xf32>, tensor<48x144xf32>) -> tensor<4x144xf32>
    %1 = onnx.Relu(%0) : (tensor<4x144xf32>) -> tensor<4x144xf32>
    %2 = onnx.MatMul(%1, %w2) : (tensor<4x144xf32>, tensor<144x48xf32>) -> tensor<4x48xf32>
    ```
    With size 2, `%0` and `%1` are split in dimension 1 and `%2` is unreduced.

    Units that do not divide are padded with zeros, and KV heads that are fewer than the ranks are repeated where the
    number of ranks is a multiple of them; both are reported. A plan may give the heads of an attention in another order
    (`heads`), in which they are dealt out: `caat.head_order` on the op that sums over them.
  }];
  let dependentDialects = ["::caat::tp::TPDialect"];
  let options = [
    Option<"size", "size", "int64_t", "1", "number of ranks">,
    Option<"pad", "pad", "bool", "true", "pad what does not divide; if not, such a size is an error">,
    Option<"plan", "plan", "std::string", "\"\"", "a plan's file, for the order of heads">,
    Option<"lookupShare", "lookup-share", "double", "0.25",
           "smallest table whose rows are split, as a share of the largest one that is looked up">];
}

def TPFindHalves : Pass<"tp-find-halves", "::mlir::ModuleOp"> {
  let summary = "proves that a run may be divided in two";
  let description = [{
    Two halves of a run can take turns on a rank, so that one computes while the sums of the other travel. On a raised module,
    before sharding, this proves what each may be a half of, and leaves the dimension, or what stands in its way, in the
    module's attribute `caat.halves` and a remark:

    - `batch`: samples do not meet (as `tp-find-batch` proves), so that rows may be run by themselves;
    - `tokens`: the first tokens of one sequence, and then the others with these in the caches, give what all of them give at
      once. The inputs are those that the engine fills from tokens. On a copy of the function whose symbols are distinct
      numbers, with factor rules that follow tokens through causal attention with a cache: no op needs them whole, sums
      over them, or joins them with others; positions are counted from the cached ones on; what is computed from their
      number is only ever a shape; every result but the caches has a row for each token.

    ```mlir
    module attributes {caat.halves = {batch = {dim = "batch"}, tokens = {refused = "there are no caches"}}}
    ```

    That a program cannot be divided is no error.
  }];
}

def TPPartition : Pass<"tp-partition", "::mlir::ModuleOp"> {
  let summary = "rewrites the program to what one rank computes";
  let description = [{
    Carries out the annotations of `tp-auto-shard`: weights become `tp.shard`s, types and sizes local ones, partial sums
    end in `tp.all_reduce`, and a value that an op without a factor rule needs whole is gathered first. Arguments and
    results that stay split carry `tp.shard = #tp.shard<…>`. Where padding stands between segments of a weight, a piece
    that starts at -1 stands for zeros. The mesh of size 1 leaves the program as it is.

    ```mlir
    %0 = tp.shard %w1 dim 1 pieces [[[0, 72]], [[72, 72]]] size 72 : tensor<48x144xf32> -> tensor<48x72xf32>
    %1 = onnx.MatMul(%x, %0) : (tensor<4x48xf32>, tensor<48x72xf32>) -> tensor<4x72xf32>
    ```
  }];
  let dependentDialects = ["::caat::tp::TPDialect", "::caat::onnx::ONNXDialect", "::mlir::arith::ArithDialect",
                           "::mlir::tensor::TensorDialect"];
}

def TPReportSharding : Pass<"tp-report-sharding", "::mlir::ModuleOp"> {
  let summary = "prints how every op is sharded, why, and what it sends";
  let description = [{
    Before `tp-partition`: the classes of dimensions that are split together (parts, what a rank gets, bytes of weights,
    bytes of partial sums, and the attention or weights that they come from), those that stay whole and why, and a line
    per op with the split dimension of operands and results and the rule's reason. After it: the collectives with the
    bytes of what is reduced or gathered, for one token and, where sizes of named dimensions are given, for those.
    Dimensions of unknown size count as one. Ops of equal layers share a line.

    ```
    count  op           operands -> results       why                             node
        2  onnx.MatMul  -, 1:columns -> 2:columns  its weight is split: 'fc*.weight'  /layers.0/fc1/MatMul
        2  onnx.MatMul  2:columns, 0:columns -> -  sums over columns: all_reduce 192 B  /layers.0/fc2/MatMul
    ```
  }];
  let dependentDialects = ["::caat::tp::TPDialect"];
  let options = [ListOption<"dims", "dim", "std::string", "size of a named dimension, NAME=VALUE; may be repeated">];
}

#endif // CAAT_SHARD_PASSES_TD
