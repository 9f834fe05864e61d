// RUN: caat-opt %s --rt-to-llvm --canonicalize | FileCheck %s
// RUN: caat-opt %s --lower-to-llvm | FileCheck %s --check-prefix=LLVM

// What the whole conversion leaves: the C interface, and no writable data.
// LLVM-DAG: llvm.func @caat_workspace_bytes(%{{.*}}: !llvm.ptr) -> i64
// LLVM-DAG: llvm.func @caat_forward(%{{.*}}: !llvm.ptr, %{{.*}}: !llvm.ptr, %{{.*}}: !llvm.ptr, %{{.*}}: !llvm.ptr, %{{.*}}: !llvm.ptr)
// LLVM-DAG: llvm.func @k0(%{{.*}}: i64, %{{.*}}: i64, %{{.*}}: !llvm.ptr, %{{.*}}: !llvm.ptr)
// LLVM-DAG: llvm.func internal @k0_rows(%{{.*}}: i64, %{{.*}}: i64, %{{.*}}: !llvm.ptr {llvm.noalias}, %{{.*}}: !llvm.ptr {llvm.noalias}, %{{.*}}: i64)
// LLVM-NOT: builtin.unrealized_conversion_cast
// LLVM-NOT: llvm.mlir.global

module attributes {rt.interface = {dims = ["n", "m"], inputs = [{}], caches = [], outputs = [{}]}} {
  rt.weight @p : tensor<8xf32> {
    %0 = arith.constant dense<1.0> : tensor<8xf32>
    rt.yield %0 : tensor<8xf32>
  }
  rt.weight @w linear : tensor<4x8xf32> {
    %0 = arith.constant dense<1.0> : tensor<4x8xf32>
    rt.yield %0 : tensor<4x8xf32>
  }
  tp.mesh @mesh <["tp" = 2]>
  func.func @caat_workspace_bytes(%dims: !llvm.ptr) -> i64 {
    %m = rt.dim "m"
    %0 = arith.index_cast %m : index to i64
    return %0 : i64
  }
  // CHECK-LABEL: func.func @caat_workspace_bytes(
  // CHECK-SAME:    %[[D:.*]]: !llvm.ptr)
  // CHECK:       llvm.getelementptr %[[D]][1]

  // CHECK-LABEL: func.func @caat_forward(
  // CHECK-SAME:    %[[API:.*]]: !llvm.ptr, %[[CTX:.*]]: !llvm.ptr, %[[BUFFERS:.*]]: !llvm.ptr, %[[DIMS:.*]]: !llvm.ptr, %[[WS:.*]]: !llvm.ptr)
  func.func @caat_forward() {
    // CHECK-DAG: %[[NULL:.*]] = llvm.mlir.zero : !llvm.ptr
    // CHECK-DAG: %[[SECOND:.*]] = llvm.mlir.constant(2 : i64) : i64
    // CHECK-DAG: %[[ALPHA:.*]] = llvm.mlir.constant(1.702000e+00 : f32) : f32
    // Entry points are read once, and places of lists computed once.
    // CHECK-DAG: %[[LINEAR_AT:.*]] = llvm.getelementptr %[[API]][1]
    // CHECK-DAG: %[[LINEAR:.*]] = llvm.load %[[LINEAR_AT]]
    // CHECK-DAG: %[[THEN_AT:.*]] = llvm.getelementptr %[[API]][26]
    // CHECK-DAG: %[[THEN:.*]] = llvm.load %[[THEN_AT]]
    // CHECK-DAG: %[[GATED_AT:.*]] = llvm.getelementptr %[[API]][30]
    // CHECK-DAG: %[[GATED:.*]] = llvm.load %[[GATED_AT]]
    // CHECK-DAG: %[[SUM_AT:.*]] = llvm.getelementptr %[[API]][4]
    // CHECK-DAG: %[[SUM:.*]] = llvm.load %[[SUM_AT]]
    // CHECK-DAG: %[[START_AT:.*]] = llvm.getelementptr %[[API]][22]
    // CHECK-DAG: %[[START:.*]] = llvm.load %[[START_AT]]
    // CHECK-DAG: %[[WAIT_AT:.*]] = llvm.getelementptr %[[API]][23]
    // CHECK-DAG: %[[WAIT:.*]] = llvm.load %[[WAIT_AT]]
    // CHECK-DAG: %[[QUANTIZED_AT:.*]] = llvm.getelementptr %[[API]][17]
    // CHECK-DAG: %[[QUANTIZED:.*]] = llvm.load %[[QUANTIZED_AT]]
    // CHECK-DAG: %[[MATMUL_AT:.*]] = llvm.getelementptr %[[API]][2]
    // CHECK-DAG: %[[MATMUL:.*]] = llvm.load %[[MATMUL_AT]]
    // CHECK-DAG: %[[ATTENTION_AT:.*]] = llvm.getelementptr %[[API]][21]
    // CHECK-DAG: %[[ATTENTION:.*]] = llvm.load %[[ATTENTION_AT]]
    // CHECK-DAG: %[[COPY_AT:.*]] = llvm.getelementptr %[[API]][3]
    // CHECK-DAG: %[[COPY:.*]] = llvm.load %[[COPY_AT]]
    // CHECK-DAG: %[[TEST_AT:.*]] = llvm.getelementptr %[[API]][11]
    // CHECK-DAG: %[[TEST:.*]] = llvm.load %[[TEST_AT]]
    // CHECK-DAG: %[[LATER_AT:.*]] = llvm.getelementptr %[[API]][29]
    // CHECK-DAG: %[[LATER:.*]] = llvm.load %[[LATER_AT]]
    // CHECK-DAG: %[[RANK_AT:.*]] = llvm.getelementptr %[[API]][10]
    // CHECK-DAG: %[[RANK:.*]] = llvm.load %[[RANK_AT]]
    // CHECK-DAG: %[[LEAVE_AT:.*]] = llvm.getelementptr %[[API]][25]
    // CHECK-DAG: %[[LEAVE:.*]] = llvm.load %[[LEAVE_AT]]
    // CHECK-DAG: %[[BEHIND_AT:.*]] = llvm.getelementptr %[[API]][24]
    // CHECK-DAG: %[[BEHIND:.*]] = llvm.load %[[BEHIND_AT]]
    // CHECK-DAG: %[[LAUNCH:.*]] = llvm.load %[[API]]
    // CHECK-DAG: %[[BUFFER1:.*]] = llvm.getelementptr %[[LIST:.*]][1] : (!llvm.ptr) -> !llvm.ptr, !llvm.ptr
    // CHECK-DAG: llvm.getelementptr %{{.*}}[32] : (!llvm.ptr) -> !llvm.ptr, i64
    // CHECK: llvm.load %[[DIMS]]
    // CHECK-NOT: llvm.getelementptr %[[API]]
    %n = rt.dim "n"
    %x = rt.buffer 0[%n] : memref<?x4xf32>
    // CHECK: llvm.getelementptr %[[BUFFERS]][1]
    %y = rt.buffer 1[%n] : memref<?x8xf32>
    // Weights stand behind inputs and outputs.
    // CHECK: llvm.getelementptr %[[BUFFERS]][2]
    %p = rt.parameter @p : memref<8xf32>

    // linear(ctx, 1, x, n, y, 0)
    // CHECK: llvm.call %[[LINEAR]](%[[CTX]], %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}) : !llvm.ptr, (!llvm.ptr, i64, !llvm.ptr, i64, !llvm.ptr, i64) -> ()
    rt.linear @w ins(%x : memref<?x4xf32>) outs(%y : memref<?x8xf32>)

    // linear_then(ctx, 1, x, f32, n, y, f32, 0, p, f32, gelu, 1.0), and one with no bias and an alpha
    // CHECK: llvm.call %[[THEN]](%[[CTX]], %{{.*}}) : !llvm.ptr, (!llvm.ptr, i64, !llvm.ptr, i64, i64, !llvm.ptr, i64, i64, !llvm.ptr, i64, i64, f32) -> ()
    // CHECK: llvm.call %[[THEN]](%[[CTX]], {{.*}}, %[[NULL]], %{{.*}}, %{{.*}}, %[[ALPHA]])
    rt.linear @w ins(%x : memref<?x4xf32>) bias(%p : memref<8xf32>) then gelu outs(%y : memref<?x8xf32>)
    rt.linear @w accumulate ins(%x : memref<?x4xf32>) then swish outs(%y : memref<?x8xf32>) {alpha = 1.702 : f32}

    // linear_gated(ctx, 1, x, f32, n, x, f32, p, f32, swish, 1.0, 2)
    // CHECK: llvm.call %[[GATED]](%[[CTX]], %{{.*}}, %[[SECOND]]) : !llvm.ptr, (!llvm.ptr, i64, !llvm.ptr, i64, i64, !llvm.ptr, i64, !llvm.ptr, i64, i64, f32, i64) -> ()
    rt.linear @w ins(%x : memref<?x4xf32>) bias(%p : memref<8xf32>) then swish gate second outs(%x : memref<?x4xf32>)

    // CHECK: llvm.call %[[SUM]](%[[CTX]], %{{.*}}, %{{.*}}, %{{.*}}) : !llvm.ptr, (!llvm.ptr, i64, !llvm.ptr, i64) -> ()
    tp.all_reduce %y on @mesh ["tp"] : memref<?x8xf32>

    // A sum that was started and its wait name the same collective, of which the next one has another number.
    // CHECK: llvm.call %[[START]](%[[CTX]], %[[NUMBER:.*]], %[[DATA:.*]], %[[COUNT:.*]]) : !llvm.ptr, (!llvm.ptr, i64, !llvm.ptr, i64) -> ()
    // CHECK: llvm.call %[[WAIT]](%[[CTX]], %[[NUMBER]], %{{.*}}, %{{.*}}) : !llvm.ptr, (!llvm.ptr, i64, !llvm.ptr, i64) -> ()
    %sum = rt.all_reduce_start %y on @mesh ["tp"] {site = "s"} : memref<?x8xf32>
    rt.all_reduce_wait %sum for %y : memref<?x8xf32>

    // Nobody reads the error: a null pointer.
    // CHECK: llvm.call %[[QUANTIZED]](%[[CTX]], %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}) : !llvm.ptr, (!llvm.ptr, i64, !llvm.ptr, !llvm.ptr, i64) -> ()
    tp.quantized_all_reduce %y bits 4 block 32 exact [] on @mesh ["tp"] : memref<?x8xf32>

    // Outer batch dimensions are loops, which become blocks here; the last one goes to the runtime.
    // CHECK: cf.cond_br
    // CHECK:   llvm.call %[[MATMUL]](%[[CTX]]
    %v = memref.expand_shape %y [[0, 1], [2, 3]] output_shape [%n, 1, 2, 4] : memref<?x8xf32> into memref<?x1x2x4xf32>
    %s = memref.expand_shape %x [[0, 1], [2, 3]] output_shape [%n, 1, 2, 2] : memref<?x4xf32> into memref<?x1x2x2xf32>
    rt.matmul ins(%s, %v : memref<?x1x2x2xf32>, memref<?x1x2x4xf32>) outs(%v : memref<?x1x2x4xf32>) {transpose_a, beta = 1.0 : f32}

    // attention(ctx, buffers, sizes, scale, softcap)
    // CHECK: llvm.call %[[ATTENTION]](%[[CTX]], %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}) : !llvm.ptr, (!llvm.ptr, !llvm.ptr, !llvm.ptr, f32, f32) -> ()
    rt.attention via bf16 query(%v : memref<?x1x2x4xf32>) keys(%v : memref<?x1x2x4xf32>) values(%v : memref<?x1x2x4xf32>)
      total(%n) past(%n) outs(%v : memref<?x1x2x4xf32>) {causal, scale = 0.25 : f32}

    // CHECK: llvm.call %[[COPY]](%[[CTX]], %{{.*}}, %{{.*}}, %{{.*}}) : !llvm.ptr, (!llvm.ptr, !llvm.ptr, !llvm.ptr, i64) -> ()
    rt.copy %x to %x : memref<?x4xf32> to memref<?x4xf32>

    // CHECK: llvm.call %[[TEST]](%[[CTX]]
    %m = rt.dim "m"
    %fits = arith.cmpi ule, %n, %m : index
    rt.check %fits, "too long"

    // CHECK: llvm.call %[[LATER]](%[[CTX]], %{{.*}}, %{{.*}}) : !llvm.ptr, (!llvm.ptr, !llvm.ptr, i64) -> ()
    %flag = rt.buffer 0[] : memref<i1>
    rt.check_later %flag, "too long" : memref<i1>

    // CHECK: llvm.call %[[RANK]](%[[CTX]]
    %rank = tp.rank on @mesh : index

    // launch(ctx, 0, rank, buffers, 2, dims, 1)
    // CHECK: llvm.store %{{.*}}, %[[LIST]]
    // CHECK: llvm.store %{{.*}}, %[[BUFFER1]]
    // CHECK: llvm.call %[[LAUNCH]](%[[CTX]], %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}) : !llvm.ptr, (!llvm.ptr, i64, i64, !llvm.ptr, i64, !llvm.ptr, i64) -> ()
    rt.launch @k0 grid(%rank) buffers(%x, %p : memref<?x4xf32>, memref<8xf32>) dims(%n)

    // launch_behind_sums(ctx, 1, 0, 1, n, buffers, 1, dims, 0)
    // CHECK: llvm.call %[[LEAVE]](%[[CTX]]
    // CHECK: llvm.call %[[BEHIND]](%[[CTX]], %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}) : !llvm.ptr, (!llvm.ptr, i64, i64, i64, i64, !llvm.ptr, i64, !llvm.ptr, i64) -> ()
    %left = rt.all_reduce_start %y on @mesh ["tp"] {left, site = "t"} : memref<?x8xf32>
    rt.launch @k0 grid(%n) buffers(%y, %p : memref<?x8xf32>, memref<8xf32>) dims(%n) sums(%left) by @k0

    // Branches are blocks from here on, those inside of others too.
    // CHECK-NOT: scf.if
    // CHECK: cf.cond_br
    // CHECK: cf.cond_br
    %few = arith.cmpi ult, %n, %rank : index
    scf.if %few {
      rt.launch @k0 grid(%n) buffers(%x, %p : memref<?x4xf32>, memref<8xf32>) dims(%n)
      %none = arith.cmpi ult, %rank, %n : index
      scf.if %none {
        rt.launch @k0 grid(%rank) buffers(%x, %p : memref<?x4xf32>, memref<8xf32>) dims(%n)
      }
    }
    return
  }
  // CHECK-LABEL: func.func @k0(
  // CHECK-SAME:    %{{.*}}: i64, %{{.*}}: i64, %{{.*}}: !llvm.ptr, %{{.*}}: !llvm.ptr)
  // CHECK:       call @k0_rows
  // CHECK-LABEL: func.func private @k0_rows(
  func.func private @k0(%begin: index, %end: index, %x: memref<f32> {llvm.noalias}, %p: memref<f32> {llvm.noalias}, %n: index) {
    %c1 = arith.constant 1 : index
    %f = arith.constant 0.0 : f32
    %b = memref.reinterpret_cast %x to offset: [0], sizes: [%n, 4], strides: [4, 1] : memref<f32> to memref<?x4xf32, strided<[4, 1]>>
    scf.for %i = %begin to %end step %c1 {
      memref.store %f, %b[%i, %c1] : memref<?x4xf32, strided<[4, 1]>>
    }
    return
  }
  // CHECK-NOT: rt.weight
  // CHECK-NOT: tp.mesh
}
