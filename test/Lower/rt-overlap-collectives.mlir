// RUN: caat-opt %s --split-input-file --pass-pipeline="builtin.module(func.func(rt-overlap-collectives))" | FileCheck %s
// RUN: caat-opt %s --split-input-file --pass-pipeline="builtin.module(func.func(rt-overlap-collectives))" --remarks-filter=caat 2>&1 >/dev/null \
// RUN:   | FileCheck %s --check-prefix=REMARK
// RUN: caat-opt %s --split-input-file --pass-pipeline="builtin.module(func.func(rt-overlap-collectives{parts=1}))" \
// RUN:   | FileCheck %s --check-prefix=WHOLE

tp.mesh @mesh <["tp" = 2]>
rt.weight @rest linear : tensor<4x6xf32> {
  %0 = arith.constant dense<1.0> : tensor<4x6xf32>
  rt.yield %0 : tensor<4x6xf32>
}
func.func private @k(index, index, memref<f32>, memref<f32>)

// The sum of the first buffer goes on beside a product, up to the kernel that reads a view of it. The second one is needed
// at once, and the last is the program's output.
// CHECK-LABEL: func.func @caat_forward(
// CHECK:         %[[M:.*]] = memref.alloc(%{{.*}}) : memref<?x2xf32>
// CHECK:         %[[VIEW:.*]] = memref.collapse_shape %[[M]]
// CHECK-NEXT:    %[[SUM:.*]] = rt.all_reduce_start %[[M]] on @mesh ["tp"] {site = "layers.0.attn"} : memref<?x2xf32>
// CHECK-NEXT:    rt.linear @rest
// CHECK-NEXT:    rt.all_reduce_wait %[[SUM]] for %[[M]] : memref<?x2xf32>
// CHECK-NEXT:    rt.launch @k
// CHECK-NEXT:    tp.all_reduce
// CHECK-NEXT:    rt.launch @k
// CHECK-NEXT:    tp.all_reduce
// CHECK-NEXT:    rt.linear @rest
// CHECK-NEXT:    return
// REMARK-DAG:    layers.0.attn: the sum goes on beside 1 step
// REMARK-DAG:    layers.0.mlp: what follows needs the sum, and no product makes its buffer
// REMARK-DAG:    final: its buffer is the program's interface
func.func @caat_forward() {
  %n = rt.dim "n"
  %x = rt.buffer 0 [%n] : memref<?x4xf32>
  %y = rt.buffer 1 [%n] : memref<?x6xf32>
  %m = memref.alloc(%n) : memref<?x2xf32>
  %r = memref.alloc(%n) : memref<?x6xf32>
  %view = memref.collapse_shape %m [[0, 1]] : memref<?x2xf32> into memref<?xf32>
  tp.all_reduce %m on @mesh ["tp"] {site = "layers.0.attn"} : memref<?x2xf32>
  rt.linear @rest ins(%x : memref<?x4xf32>) outs(%r : memref<?x6xf32>)
  rt.launch @k grid(%n) buffers(%view, %r : memref<?xf32>, memref<?x6xf32>) dims()
  tp.all_reduce %r on @mesh ["tp"] {site = "layers.0.mlp"} : memref<?x6xf32>
  rt.launch @k grid(%n) buffers(%r, %y : memref<?x6xf32>, memref<?x6xf32>) dims()
  tp.all_reduce %y on @mesh ["tp"] {site = "final"} : memref<?x6xf32>
  rt.linear @rest ins(%x : memref<?x4xf32>) outs(%r : memref<?x6xf32>)
  return
}

// -----

// Sums end in the order in which they began, whoever is read first.
// CHECK-LABEL: func.func @caat_forward(
// CHECK:         %[[A:.*]] = rt.all_reduce_start
// CHECK-NEXT:    %[[B:.*]] = rt.all_reduce_start
// CHECK-NEXT:    rt.linear
// CHECK-NEXT:    rt.all_reduce_wait %[[A]]
// CHECK-NEXT:    rt.all_reduce_wait %[[B]]
// CHECK-NEXT:    rt.launch
// CHECK-NEXT:    rt.launch
tp.mesh @mesh <["tp" = 2]>
rt.weight @rest linear : tensor<4x6xf32> {
  %0 = arith.constant dense<1.0> : tensor<4x6xf32>
  rt.yield %0 : tensor<4x6xf32>
}
func.func private @k(index, index, memref<f32>, memref<f32>)
func.func @caat_forward() {
  %n = rt.dim "n"
  %x = rt.buffer 0 [%n] : memref<?x4xf32>
  %y = rt.buffer 1 [%n] : memref<?x6xf32>
  %a = memref.alloc(%n) : memref<?x2xf32>
  %b = memref.alloc(%n) : memref<?x2xf32>
  tp.all_reduce %a on @mesh ["tp"] {site = "layers.0.attn"} : memref<?x2xf32>
  tp.all_reduce %b on @mesh ["tp"] {site = "layers.0.mlp"} : memref<?x2xf32>
  rt.linear @rest ins(%x : memref<?x4xf32>) outs(%y : memref<?x6xf32>)
  rt.launch @k grid(%n) buffers(%b, %y : memref<?x2xf32>, memref<?x6xf32>) dims()
  rt.launch @k grid(%n) buffers(%a, %y : memref<?x2xf32>, memref<?x6xf32>) dims()
  return
}

// -----

// A sum that is needed at once: the product before it is computed in parts of its rows, which are summed one after the other.
// CHECK-LABEL: func.func @caat_forward(
// CHECK-DAG:     %[[N:.*]] = rt.dim "n"
// CHECK-DAG:     %[[LEAST:.*]] = rt.part_rows 64 : index
// CHECK-DAG:     %[[STEP:.*]] = arith.maxui %{{.*}}, %[[LEAST]]
// CHECK-DAG:     %[[X:.*]] = memref.collapse_shape %{{.*}} {{\[\[}}0, 1], [2]] : memref<2x?x4xf32> into memref<?x4xf32>
// CHECK:         %[[X0:.*]] = memref.subview %[[X]][%c0{{.*}}, 0]
// CHECK:         %[[Y0:.*]] = memref.subview
// CHECK:         rt.linear @rest ins(%[[X0]] : {{.*}}) outs(%[[Y0]] : {{.*}})
// CHECK:         %[[S0:.*]] = rt.all_reduce_start %[[Y0]] on @mesh ["tp"] {parts = 4 : i64, site = "layers.0.mlp"}
// CHECK:         rt.linear @rest
// CHECK:         %[[S1:.*]] = rt.all_reduce_start {{.*}} {part = 1 : i64, parts = 4 : i64, site = "layers.0.mlp"}
// CHECK:         rt.linear @rest
// CHECK:         %[[S2:.*]] = rt.all_reduce_start
// CHECK:         rt.linear @rest
// CHECK:         %[[S3:.*]] = rt.all_reduce_start
// CHECK-NEXT:    rt.all_reduce_wait %[[S0]] for %[[Y0]]
// CHECK-NEXT:    rt.all_reduce_wait %[[S1]]
// CHECK-NEXT:    rt.all_reduce_wait %[[S2]]
// CHECK-NEXT:    rt.all_reduce_wait %[[S3]]
// CHECK-NEXT:    rt.launch @k
// WHOLE:         rt.linear @rest ins(%{{.*}} : memref<2x?x4xf32>) outs(%[[M:.*]] : memref<2x?x6xf32>)
// WHOLE-NEXT:    tp.all_reduce %[[M]]
tp.mesh @mesh <["tp" = 2]>
rt.weight @rest linear : tensor<4x6xf32> {
  %0 = arith.constant dense<1.0> : tensor<4x6xf32>
  rt.yield %0 : tensor<4x6xf32>
}
func.func private @k(index, index, memref<f32>, memref<f32>)
func.func @caat_forward() {
  %n = rt.dim "n"
  %x = rt.buffer 0 [%n] : memref<2x?x4xf32>
  %y = rt.buffer 1 [%n] : memref<2x?x6xf32>
  %m = memref.alloc(%n) : memref<2x?x6xf32>
  rt.linear @rest ins(%x : memref<2x?x4xf32>) outs(%m : memref<2x?x6xf32>)
  tp.all_reduce %m on @mesh ["tp"] {site = "layers.0.mlp"} : memref<2x?x6xf32>
  rt.launch @k grid(%n) buffers(%m, %y : memref<2x?x6xf32>, memref<2x?x6xf32>) dims()
  return
}

// -----

// The same of a product that is added to what is pending: each part to its rows.
// CHECK-LABEL: func.func @caat_forward(
// CHECK:         rt.launch @k
// CHECK-COUNT-4: rt.linear @rest accumulate ins(%{{.*}}) outs(%{{.*}} : memref<?x6xf32, strided<[6, 1], offset: ?>>)
// CHECK-NOT:     rt.linear
tp.mesh @mesh <["tp" = 2]>
rt.weight @rest linear : tensor<4x6xf32> {
  %0 = arith.constant dense<1.0> : tensor<4x6xf32>
  rt.yield %0 : tensor<4x6xf32>
}
func.func private @k(index, index, memref<f32>, memref<f32>)
func.func @caat_forward() {
  %n = rt.dim "n"
  %x = rt.buffer 0 [%n] : memref<2x?x4xf32>
  %y = rt.buffer 1 [%n] : memref<2x?x6xf32>
  %m = memref.alloc(%n) : memref<2x?x6xf32>
  rt.launch @k grid(%n) buffers(%y, %m : memref<2x?x6xf32>, memref<2x?x6xf32>) dims()
  rt.linear @rest accumulate ins(%x : memref<2x?x4xf32>) outs(%m : memref<2x?x6xf32>)
  tp.all_reduce %m on @mesh ["tp"] {site = "layers.0.mlp"} : memref<2x?x6xf32>
  rt.launch @k grid(%n) buffers(%m, %y : memref<2x?x6xf32>, memref<2x?x6xf32>) dims()
  return
}
