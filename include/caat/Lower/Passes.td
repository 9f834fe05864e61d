// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_LOWER_PASSES
#define CAAT_LOWER_PASSES

include "mlir/Pass/PassBase.td"

def RTFormCachesPass : Pass<"rt-form-caches", "::mlir::func::FuncOp"> {
  let summary = "Turn past/present pairs of the graph into caches written in place";
  let description = [{
    An argument whose only data use is the past key or value of one `onnx.Attention` (or the first operand of one
    `onnx.Concat` along dimension 2), while the matching result is returned, becomes a cache [batch, heads, max_length,
    head_dim] that the runtime owns: the argument gets `rt.cache`, its length the name "max_length", and the past is
    a slice of it.

    ```mlir
    func.func @main(%past: tensor<?x3x?x64xf32> {onnx.dims = ["batch", "", "past", ""]}) …
    // becomes
    func.func @main(%cache: tensor<?x3x?x64xf32> {onnx.dims = ["batch", "", "max_length", ""], rt.cache = "present"}) … {
      %past = tensor.extract_slice %cache[0, 0, 0, 0] [%batch, 3, %length, 64] [1, 1, 1, 1] : …
    ```
  }];
  let dependentDialects = ["::caat::rt::RTDialect", "::mlir::tensor::TensorDialect"];
}

def RTExtractParametersPass : Pass<"rt-extract-parameters", "::mlir::ModuleOp"> {
  let summary = "Move weight expressions into rt.weight and products by them to rt.linear";
  let description = [{
    A value that depends on initializers and constants only is a weight expression. Each one that a run-time op uses is
    cloned into the region of an `rt.weight` (equal expressions once) and read by `rt.parameter`. `onnx.MatMul` by a
    rank-2 weight expression becomes `rt.linear`; where the expression ends in a transposition, the weight is stored
    as it stands before it. With `dtype` a matrix of f32 is rounded; one whose slices travel is not.

    ```mlir
    %w = onnx.get_initializer @w : tensor<4x8xf32>
    %y = onnx.MatMul(%x, %w) : …
    // becomes
    rt.weight @w linear : tensor<4x8xf32> { … rt.yield … }
    %y = rt.linear @w ins(%x : tensor<?x4xf32>) outs(%e : tensor<?x8xf32>) -> tensor<?x8xf32>
    ```
  }];
  let options = [Option<"constants", "constants", "bool", "false",
                        "also move dense constants that are not splats (after onnx-to-linalg)">,
                 Option<"merge", "merge", "bool", "false",
                        "products of the same rows become one, whose columns the readers share">,
                 Option<"dtype", "dtype", "std::string", "\"f32\"",
                        "what f32 matrices of rt.linear are stored as: f32, bf16, f16">];
  let dependentDialects = ["::caat::rt::RTDialect", "::mlir::tensor::TensorDialect", "::mlir::arith::ArithDialect"];
}

def RTBlockWeightsPass : Pass<"rt-block-weights", "::mlir::ModuleOp"> {
  let summary = "Store matrices of products in blocks of 4 or 8 bit codes";
  let description = [{
    A linear weight whose expression moves what `onnx.DequantizeLinear` makes of codes (transposed, sliced, gathered,
    joined, padded with zeros, with a float subtracted from each block) keeps these codes, in the largest blocks of at
    most 256 along K that have one scale on every rank; codes of 2 bits take 4. `rules` choose others by the names of
    their initializers, the last that matches counts: `i4` rounds to blocks of 32 codes of 4 bits with a scale and a
    minimum of f16, `i8` to 8 bits with a scale alone, where the weight has no fewer bits already; `float` leaves also
    codes to be multiplied with their scales when the artifact is written. Of matrices side by side the rules for any of
    them count for all. A remark says why a weight stays float: it
    travels, K is no multiple of 16, or its elements are computed.

    The weight is stored transposed, and its region yields f32: what `--dtype` rounds is not rounded before it is in
    blocks.

    ```mlir
    rt.weight @w linear : tensor<64x8xbf16> {
      %q = onnx.get_initializer @q : tensor<8x64xui8>
      %s = onnx.get_initializer @s : tensor<8x2xf16>
      %0 = onnx.DequantizeLinear %q, %s {block_size = 32 : i64} : …
      %1 = onnx.Transpose %0 : … to tensor<64x8xf16>
      %2 = onnx.Cast %1 to bf16 : …
    // becomes
    rt.weight @w linear transposed blocks(#rt.blocks<bits = 8, size = 32, scales = f16, offset = zeros>)
        : tensor<8x64xbf16> { …
    ```
  }];
  let options = [ListOption<"rules", "rules", "std::string", "[GLOB=]i4, [GLOB=]i8 or [GLOB=]float, for each weight the "
                            "last that matches the name of one of its initializers">,
                 Option<"wideHalves", "wide-halves", "bool", "false", "matrices of f16 are multiplied in f32">];
  let dependentDialects = ["::caat::onnx::ONNXDialect", "::caat::rt::RTDialect"];
}

def RTFuseEpiloguesPass : Pass<"rt-fuse-epilogues", "::mlir::func::FuncOp"> {
  let summary = "Give products the bias, sum and activation that follow them";
  let description = [{
    Where nothing else uses what an `rt.linear` computes: the parameter that is added along its columns becomes its bias,
    `onnx.Relu`, `onnx.Gelu` or `onnx.Swish` behind that its activation, unless a kernel reads the result, which computes it on the way. With `sums` it is added to a value that is
    there before it and that nobody reads later, in place. What is summed over the ranks has its bias and activation
    behind the sum, and keeps them there. With `gates` a product takes in that its columns are two halves, of which an
    activation of one is multiplied with the other; it then makes half as many.

    ```mlir
    %0 = rt.linear @w ins(%x : tensor<?x4xf32>) outs(%e : tensor<?x8xf32>) -> tensor<?x8xf32>
    %b = rt.parameter @b : tensor<8xf32>
    %1 = onnx.Add %0, %b : …
    %y = onnx.Gelu %1 : …
    // becomes
    %b = rt.parameter @b : tensor<8xf32>
    %y = rt.linear @w ins(%x : tensor<?x4xf32>) bias(%b : tensor<8xf32>) then gelu outs(%e : tensor<?x8xf32>) -> …
    ```
  }];
  let options = [Option<"sums", "sums", "bool", "true", "also add products to what they are added to, in place">,
                 Option<"gates", "gates", "bool", "false", "also multiply halves of a product with each other">];
  let dependentDialects = ["::caat::onnx::ONNXDialect", "::caat::rt::RTDialect", "::mlir::tensor::TensorDialect"];
}

def RTNarrowActivationsPass : Pass<"rt-narrow-activations", "::mlir::ModuleOp"> {
  let summary = "Store what products with 16-bit weights read and write in 16 bits";
  let description = [{
    For devices that multiply 16-bit operands only. The x of an `rt.linear` is rounded to the type of its weight by
    what makes it, and y stored in that type, but for results that no product follows (logits) and those whose sum over
    the ranks is taken. `onnx.Attention` has queries, keys, values, caches and results of 16 bits, and computes in f32.
    Casts move through ops that only move elements; between them everything stays f32, the residual stream too. Caches
    keep their declared type at the interface.

    ```mlir
    %y = rt.linear @w ins(%x : tensor<?x4xf32>) outs(%e : tensor<?x8xf32>) -> tensor<?x8xf32>
    // becomes
    %0 = onnx.Cast %x to bf16 : …
    %1 = rt.linear @w ins(%0 : tensor<?x4xbf16>) outs(%e : tensor<?x8xbf16>) -> tensor<?x8xbf16>
    %y = onnx.Cast %1 to f32 : …
    ```
  }];
  let dependentDialects = ["::caat::onnx::ONNXDialect", "::caat::rt::RTDialect", "::mlir::tensor::TensorDialect"];
}

def RTNarrowCachesPass : Pass<"rt-narrow-caches", "::mlir::func::FuncOp"> {
  let summary = "Store the caches of attention in 16 bits";
  let description = [{
    Caches that one `onnx.Attention` reads and appends to (`rt-form-caches`) have elements of 16 bits: new keys and
    values are rounded once, when they are appended, and widened whenever they are read. Queries, scores and the result
    stay f32, and so do caches that other ops append to. The interface keeps its types (`onnx.declared_type`).

    ```mlir
    %y, %keys, %values = onnx.Attention %q, %k, %v past_key %pk past_value %pv … : (…, tensor<1x2x?x4xf32>, …)
    // becomes
    %0 = onnx.Cast %k to bf16 : …
    %1 = onnx.Cast %v to bf16 : …
    %y, %keys, %values = onnx.Attention %q, %0, %1 past_key %pk past_value %pv … : (…, tensor<1x2x?x4xbf16>, …)
    ```
  }];
  let options = [Option<"type", "type", "std::string", "\"bf16\"", "bf16 or f16">];
  let dependentDialects = ["::caat::onnx::ONNXDialect", "::caat::rt::RTDialect", "::mlir::tensor::TensorDialect"];
}

def RTFormEntryPass : Pass<"rt-form-entry", "::mlir::ModuleOp"> {
  let summary = "Turn @main on tensors into @caat_forward on the artifact's buffers";
  let description = [{
    Arguments become `rt.buffer`s, returned values are written to further ones, and every dimension that follows from
    the arguments becomes arithmetic on `rt.dim`. What the manifest says about the interface is kept in the module's
    attribute `rt.interface`.
  }];
  let dependentDialects = ["::caat::rt::RTDialect", "::mlir::tensor::TensorDialect", "::mlir::arith::ArithDialect",
                           "::mlir::bufferization::BufferizationDialect", "::mlir::affine::AffineDialect",
                           "::mlir::memref::MemRefDialect"];
}

def RTFormKernelsPass : Pass<"rt-form-kernels", "::mlir::func::FuncOp"> {
  let summary = "Fuse linalg ops and gather those that share rows into scf.forall";
  let description = [{
    Element-wise ops are fused into their only consumer. Then linalg ops that follow each other row by row (a residual
    sum and the norm behind it, for instance) form one cluster. A cluster becomes one `scf.forall` over its rows; what
    stays inside a row lives in a row buffer.
  }];
  let dependentDialects = ["::mlir::scf::SCFDialect", "::mlir::tensor::TensorDialect", "::mlir::arith::ArithDialect",
                           "::mlir::linalg::LinalgDialect", "::mlir::affine::AffineDialect"];
}

def RTMergeEqualOpsPass : Pass<"rt-merge-equal-ops", "::mlir::func::FuncOp"> {
  let summary = "Keep one of operations that compute the same";
  let description = [{
    Like `cse`, for programs of one block a region, without operations that read memory. `cse` tells operations with regions
    apart by their operands only, before it compares them: of kernels on tensors, which use most values from outside of
    their body, each would be compared with those of all layers before it.
  }];
}

def RTResolveDimsPass : Pass<"rt-resolve-dims", "::mlir::func::FuncOp"> {
  let summary = "Compute sizes of results from the operands of what makes them";
  let description = [{
    Like `resolve-shaped-type-result-dims`, for programs of one block a region.
  }];
  let dependentDialects = ["::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect", "::mlir::memref::MemRefDialect",
                           "::mlir::tensor::TensorDialect"];
}

def RTBufferizePass : Pass<"rt-bufferize", "::mlir::func::FuncOp"> {
  let summary = "One-shot bufferization of the host function";
  let description = [{
    Like `eliminate-empty-tensors` and `one-shot-bufferize`, for one function without tensors in its type; `rt.weight`
    regions stay tensors. Each use of a `tensor.empty` gets one of its own before.
  }];
  let dependentDialects = ["::mlir::bufferization::BufferizationDialect", "::mlir::memref::MemRefDialect",
                           "::mlir::tensor::TensorDialect"];
}

def RTNormalizeBuffersPass : Pass<"rt-normalize-buffers", "::mlir::func::FuncOp"> {
  let summary = "Make buffers dense where the runtime needs it, copies explicit, and row buffers static";
  let description = [{
    After bufferization:
    - a strided buffer given to `rt.linear` or a collective is replaced by a dense temporary;
    - `memref.copy` becomes `rt.copy` between dense buffers, and a kernel otherwise;
    - a row buffer of dynamic size inside a kernel becomes a row of one buffer outside of it; so does one of more than
      32 KiB, and what goes beyond `row-bytes` in a kernel.
  }];
  let options = [Option<"rowBytes", "row-bytes", "int64_t", "INT64_MAX", "bytes of all row buffers that a kernel keeps">];
  let dependentDialects = ["::caat::rt::RTDialect", "::mlir::scf::SCFDialect", "::mlir::memref::MemRefDialect",
                           "::mlir::linalg::LinalgDialect", "::mlir::arith::ArithDialect"];
}

def RTChainKernelsPass : Pass<"rt-chain-kernels", "::mlir::func::FuncOp"> {
  let summary = "Launch kernels over the same rows as one, where a row needs only that row of the one before";
  let description = [{
    For devices on which each launch takes time. What the second kernel reads of what the first writes, or writes of
    what that touches, must be the same part of the same buffer, another one in each row.

    ```mlir
    scf.forall (%i) in (%n) { A(%i) }
    scf.forall (%i) in (%n) { B(%i) }
    // becomes
    scf.forall (%i) in (%n) { A(%i) B(%i) }
    ```
  }];
  let dependentDialects = ["::mlir::scf::SCFDialect"];
}

def RTMergeKernelsPass : Pass<"rt-merge-kernels", "::mlir::func::FuncOp"> {
  let summary = "Launch kernels that follow each other and do not touch each other's data as one";
  let description = [{
    For devices on which each launch takes time. Only kernels that map elements are merged, and none that is much wider
    than another: the rows of the first, then those of the second, and so on.

    ```mlir
    scf.forall (%i) in (%m) { A(%i) }
    scf.forall (%i) in (%n) { B(%i) }
    // becomes
    scf.forall (%i) in (%m + %n) {
      scf.if %i < %m { A(%i) } else { B(%i - %m) }
    ```
  }];
  let dependentDialects = ["::mlir::scf::SCFDialect", "::mlir::arith::ArithDialect"];
}

def RTOutlineKernelsPass : Pass<"rt-outline-kernels", "::mlir::ModuleOp"> {
  let summary = "Move every top-level scf.forall into a function, equal ones once";
  let description = [{
    A kernel gets the range of rows, the buffers that it touches as rank-0 memrefs (bare pointers) and the index values
    that it needs. `rt.launch` runs it.
  }];
  let dependentDialects = ["::caat::rt::RTDialect", "::mlir::scf::SCFDialect", "::mlir::memref::MemRefDialect",
                           "::mlir::func::FuncDialect", "::mlir::arith::ArithDialect", "::mlir::LLVM::LLVMDialect"];
}

def RTMarkResultsPass : Pass<"rt-mark-results", "::mlir::func::FuncOp"> {
  let summary = "Mark products that make nothing but the program's results";
  let description = [{
    An `rt.linear` of [batch, tokens, N] whose rows become rows of results, through element-wise ops at most, and which
    nothing else reads, gets `only_results`. Caches are no results here: later tokens read them.
  }];
  let dependentDialects = ["::caat::rt::RTDialect"];
}

def RTSkipUnreadPass : Pass<"rt-skip-unread", "::mlir::func::FuncOp"> {
  let summary = "Compute no rows of results that nobody reads";
  let description = [{
    A product that makes only results (`rt-mark-results`) asks the runtime how many tokens come before those whose
    results are read, and leaves them out: of a prompt that text is generated from, all but the last. What it leaves
    out is undefined in the results.

    ```mlir
    rt.linear @head ins(%x : memref<?x?x64xf32>) outs(%y : memref<?x?x256xf32>) {only_results}
    // becomes
    %unread = rt.unread_tokens of %tokens : index
    scf.if %some {
      scf.for %row = %c0 to %batch step %c1 {
        rt.linear @head ins(%x rows [row * tokens + unread, (row + 1) * tokens)) outs(%y, the same rows)
      }
    } else {
      rt.linear @head ins(%x : memref<?x?x64xf32>) outs(%y : memref<?x?x256xf32>)
    }
    ```
  }];
  let dependentDialects = ["::caat::rt::RTDialect", "::mlir::arith::ArithDialect", "::mlir::memref::MemRefDialect",
                           "::mlir::scf::SCFDialect"];
}

def RTOverlapCollectivesPass : Pass<"rt-overlap-collectives", "::mlir::func::FuncOp"> {
  let summary = "Take sums over the ranks beside what does not need them";
  let description = [{
    An all-reduce that other work follows, before anything touches its buffer, begins where it stood and is waited for there.
    Where nothing does, but the buffer is made by a product with a weight, the product is computed in `parts` of its rows, of
    at least `least-rows` (a product of fewer is one part, and the others are empty): the sum of one goes on beside the product
    of the next. Sums end in the order in which they began. Buffers of the program's interface are summed as before.

    ```mlir
    tp.all_reduce %m on @mesh ["tp"] : memref<?x144xf32>
    rt.linear @rest ins(%x : …) outs(%r : …)
    rt.launch @k0 grid(%n) buffers(%m, %r : …) dims()
    // becomes
    %sum = rt.all_reduce_start %m on @mesh ["tp"] : memref<?x144xf32>
    rt.linear @rest ins(%x : …) outs(%r : …)
    rt.all_reduce_wait %sum for %m : memref<?x144xf32>
    rt.launch @k0 grid(%n) buffers(%m, %r : …) dims()
    ```
  }];
  let options = [Option<"parts", "parts", "int64_t", "4", "of the product before a sum that is needed at once; 1: none">,
                 Option<"leastRows", "least-rows", "int64_t", "64", "rows of a part">];
  let dependentDialects = ["::caat::rt::RTDialect", "::mlir::memref::MemRefDialect", "::mlir::arith::ArithDialect"];
}

def RTSumInKernelsPass : Pass<"rt-sum-in-kernels", "::mlir::ModuleOp"> {
  let summary = "Let kernels for a GPU make small sums over the ranks themselves";
  let description = [{
    Where a kernel is launched right behind an all-reduce, or behind the waits for all its parts, and touches row i of what was
    summed in its own row i alone, the launch waits itself, and names a variant of the kernel that begins with the sum. The
    variant has `rt.sum = {buffer, elements}` and two more arguments; rt-kernels-to-gpu gives it the sum. Which of the two
    runs is the runtime's choice. Sums of allocated f32, bf16 and f16 buffers, in rows that are multiples of 16 bytes.

    ```mlir
    tp.all_reduce %m on @mesh ["tp"] : memref<?x144xf32>
    rt.launch @k0 grid(%n) buffers(%m, %r : …) dims()
    // becomes
    %sum = rt.all_reduce_start %m on @mesh ["tp"] {left} : memref<?x144xf32>
    rt.launch @k0 grid(%n) buffers(%m, %r : …) dims() sums(%sum) by @k0_sum
    ```
  }];
  let dependentDialects = ["::caat::rt::RTDialect", "::mlir::func::FuncDialect"];
}

def RTPlanMemoryPass : Pass<"rt-plan-memory", "::mlir::ModuleOp"> {
  let summary = "Give every buffer a place in the workspace";
  let description = [{
    Buffers whose live ranges do not overlap share a slot; a slot is as large as the largest of them, computed from the
    dims at entry, and starts at a multiple of 64. A function `caat_workspace_bytes` computes the total.
  }];
  let dependentDialects = ["::caat::rt::RTDialect", "::mlir::memref::MemRefDialect", "::mlir::arith::ArithDialect",
                           "::mlir::func::FuncDialect", "::mlir::LLVM::LLVMDialect"];
}

def RTPrefetchLinesPass : Pass<"rt-prefetch-lines", "::mlir::func::FuncOp"> {
  let summary = "Ask for the lines that a loop will read";
  let description = [{
    Where each turn of a loop reads the next line of an argument of a kernel, as attention does of a cache's keys and
    values, the one `distance` bytes on is prefetched: processors do not fetch far enough ahead of loops that compute
    with every line.
  }];
  let options = [Option<"distance", "distance", "int64_t", "2048", "bytes between what is asked for and what is read">];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::memref::MemRefDialect"];
}

def RTApproximateMathPass : Pass<"rt-approximate-math", "::mlir::func::FuncOp"> {
  let summary = "Expand transcendental functions into arithmetic that vectorizes";
  let description = [{
    `math.exp` on f32 becomes a polynomial of degree 6 with range reduction (at most 1 ulp; NaN stays NaN); tanh, erf,
    log and others take the upstream polynomials. Sines and cosines stay calls: the polynomials are wrong for large
    arguments. With `trigonometric`, for targets that have nothing to call, their arguments are reduced in f64.
  }];
  let options = [Option<"trigonometric", "trigonometric", "bool", "false", "expand sines and cosines too">,
                 Option<"bfloat16", "bfloat16", "bool", "false",
                        "expand conversions to bf16, for processors that would call a function">];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::math::MathDialect", "::mlir::vector::VectorDialect"];
}

def RTKernelsToGPUPass : Pass<"rt-kernels-to-gpu", "::mlir::ModuleOp"> {
  let summary = "Turn outlined kernels into gpu.func, the threads of a block sharing a row";
  let description = [{
    Each kernel's loop over rows becomes a grid. A row is computed by one thread, a warp or a whole block, by how many
    elements its widest op has, or by several blocks where it has more and no thread needs what another has. Its scalar code runs on every thread with the same values. The iterations of a linalg
    op, or of an `scf.for` whose iterations are independent, are divided among the threads, reductions are finished by
    shuffles and shared memory, and row buffers are shared memory. Threads wait for each other where one may touch what
    another has.

    Of the function a declaration remains, with `rt.launch = {threads, rows_per_block, shared}` and, where not 1,
    `blocks_per_row`.

    ```mlir
    func.func private @k0(%begin: index, %end: index, %x: memref<f32> {llvm.noalias}, …) {
      scf.for %row = %begin to %end step %c1 { linalg.generic … }
    // becomes
    gpu.func @k0(%x: memref<f32> {llvm.noalias}, …, %rows: index) kernel attributes {known_block_size = array<i32: 128, 1, 1>} {
      %row = gpu.block_id x …
    ```
  }];
  let options = [Option<"keep", "keep", "bool", "false", "leave the functions their bodies, for the host to run">];
  let dependentDialects = ["::mlir::gpu::GPUDialect", "::mlir::NVVM::NVVMDialect", "::mlir::LLVM::LLVMDialect",
                           "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect", "::mlir::arith::ArithDialect",
                           "::mlir::affine::AffineDialect", "::mlir::vector::VectorDialect"];
}

def RTEmulateGPUPass : Pass<"rt-emulate-gpu", "::mlir::ModuleOp"> {
  let summary = "Run GPU kernels on the host, for tests: each thread is a call";
  let description = [{
    Of each `gpu.func` becomes a function of one thread of one block, and its kernel calls `caat_emulate`, which runs all of
    them. Barriers and shuffles are calls too (test/Execution/Emulator.cpp). Buffers and arithmetic stay as they are.
  }];
  let options = [Option<"keep", "keep", "bool", "false", "leave the gpu.func there, for a GPU to run">];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect", "::mlir::func::FuncDialect", "::mlir::memref::MemRefDialect",
                           "::mlir::arith::ArithDialect"];
}

def RTGPUToNVVMPass : Pass<"rt-gpu-to-nvvm", "::mlir::gpu::GPUModuleOp"> {
  let summary = "Lower GPU kernels to the NVVM dialect, with bare pointers and no library";
  let description = [{
    Buffers are passed as pointers, `index` as i64. Functions of `math` become LLVM's intrinsics.
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect", "::mlir::NVVM::NVVMDialect"];
}

def RTToLLVMPass : Pass<"rt-to-llvm", "::mlir::ModuleOp"> {
  let summary = "Lower host and kernels to the LLVM dialect and the artifact's C interface";
  let description = [{
    Calls of the runtime go through the `api` table (Entrypoints.def). Each kernel gets a wrapper with the interface
    `void(int64_t begin, int64_t end, void *const *buffers, const int64_t *dims)` that unpacks its arguments.
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect", "::mlir::arith::ArithDialect", "::mlir::func::FuncDialect",
                           "::mlir::scf::SCFDialect", "::mlir::cf::ControlFlowDialect"];
}

#endif // CAAT_LOWER_PASSES
