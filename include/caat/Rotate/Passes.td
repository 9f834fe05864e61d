// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_ROTATE_PASSES_TD
#define CAAT_ROTATE_PASSES_TD

include "mlir/Pass/PassBase.td"

def TPFreeBatch : Pass<"tp-free-batch", "::mlir::ModuleOp"> {
  let summary = "makes a batch of fixed size dynamic";
  let description = [{
    Before raising, where no argument's first dimension has a name: the batch is the first size of the first argument, and of
    every argument that begins with the same size. It becomes the symbol `batch`, constant shapes that begin with it begin with
    the size of the argument. For the batch of the export nothing changes, whether or not these sizes were the batch; that the
    program also holds for parts of it is for `tp-find-batch` to prove. The size is left in `caat.fixed_batch`.

    ```mlir
    func.func @main(%x: tensor<4x6x8xf32> {onnx.dims = ["", "", ""]})
      %shape = onnx.Constant dense<[4, 48]> : tensor<2xi64>
      %0 = onnx.Reshape %x, %shape : …
    // becomes
    func.func @main(%x: tensor<?x6x8xf32> {onnx.dims = ["batch", "", ""]})
      %size = onnx.Shape %x {start = 0, end = 1} : …
      %shape = onnx.Concat %size, %rest {axis = 0} : …
      %0 = onnx.Reshape %x, %shape : …
    ```
  }];
  let dependentDialects = ["::caat::onnx::ONNXDialect"];
}

def TPFindBatch : Pass<"tp-find-batch", "::mlir::ModuleOp"> {
  let summary = "proves that the samples of a batch do not meet";
  let description = [{
    The batch is the symbol of the first dimension of the first argument that has one. With the factor rules of the Shard
    stage, on a copy of the function whose symbols are distinct numbers: the first dimension of every argument that has
    the symbol and of every result is one and the same dimension, which no op needs whole, sums over, or loses. Then ranks
    may each run some of the rows. The symbol is left in the module's attribute `caat.batch`; where there is no proof, the
    op that stands in its way is named.
  }];
  let dependentDialects = ["::caat::onnx::ONNXDialect"];
}

def TPRotateWeights : Pass<"tp-rotate-weights", "::mlir::ModuleOp"> {
  let summary = "runs the program of every virtual rank in turn, with weights that travel";
  let description = [{
    Turns the dimension of the ranks into time. The input is the program of one tensor-parallel rank (after
    `tp-partition`, and `rt-form-caches` where there are caches); the output runs on a part of the batch. Everything
    between two collectives that depends on the rank is repeated once per virtual rank: in step i, rank k does what
    virtual rank (k - i) mod N would. `tp.rotate` moves the weights of such a group on by one rank between two steps, an
    all-reduce becomes the sum over the steps, an all-gather a value that each step writes its part of, and arguments and
    results that are split are held in N parts.

    ```mlir
    %0 = tp.shard %w …
    %1 = onnx.MatMul(%x, %0) : …
    %2 = tp.all_reduce %1 on @mesh ["tp"] {site = "layers.0.mlp"} : …
    // becomes, with two ranks
    %i = tp.ring_shard step 0 on @mesh : index
    %w0 = tp.held %0 of "layers.0.mlp" at %i : …
    %1 = onnx.MatMul(%x, %w0) : …
    %j = tp.rotate "layers.0.mlp" step 1 on @mesh after (%1 : …)
    %w1 = tp.held %0 of "layers.0.mlp" at %j : …
    %2 = onnx.MatMul(%x, %w1) : …
    %3 = onnx.Add(%1, %2) : …
    ```

    Values that are equal on all ranks are computed once, and weights that are not split stay where they are.
  }];
  let dependentDialects = ["::caat::onnx::ONNXDialect", "::caat::tp::TPDialect", "::mlir::arith::ArithDialect",
                           "::mlir::tensor::TensorDialect"];
}

def RTScheduleRotations : Pass<"rt-schedule-rotations", "::mlir::func::FuncOp"> {
  let summary = "places the start and the end of each transfer of weights";
  let description = [{
    On buffers. Shards must have arrived where their step begins. They begin to travel as early as can be: transfers go one
    after the other, in the order in which they are needed, and the spare buffer that receives one must be free. Groups of
    one size share a buffer; so the first shards of a group may travel beside the products of the group before, and
    several transfers may be waiting for the link. In place, a `tp.rotate` is one exchange between two steps, with no
    transfer beside a product.

    ```mlir
    rt.rotate_start "layers.0.mlp" into 0
    rt.linear @w at %i …
    rt.rotate_wait "layers.0.mlp"
    rt.rotate_start "layers.1.mlp" into 0
    rt.linear @w at %j …
    ```

    An op that reads shards after the next ones have come is an error.
  }];
  let options = [Option<"inPlace", "in-place", "bool", "false", "exchange without a spare buffer, between two steps">];
  let dependentDialects = ["::caat::rt::RTDialect", "::caat::tp::TPDialect"];
}

#endif // CAAT_ROTATE_PASSES_TD
