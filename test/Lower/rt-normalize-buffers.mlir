// RUN: caat-opt %s --split-input-file --pass-pipeline="builtin.module(func.func(rt-normalize-buffers),canonicalize,cse)" --verify-diagnostics --allow-unregistered-dialect | FileCheck %s

rt.weight @w linear : tensor<4x8xf32> {
  %0 = arith.constant dense<1.0> : tensor<4x8xf32>
  rt.yield %0 : tensor<4x8xf32>
}
tp.mesh @mesh <["tp" = 2]>

// Strided operands get dense temporaries: copied in where read, back where written.
// CHECK-LABEL: func.func @strided(
// CHECK-SAME:    %[[X:.*]]: memref<6x4xf32, strided<[8, 1]>>, %[[Y:.*]]: memref<6x8xf32>)
// CHECK:       %[[T:.*]] = memref.alloc() : memref<6x4xf32>
// CHECK:       scf.forall (%[[I:.*]]) in (6)
// CHECK:         scf.for %[[J:.*]] =
// CHECK:           %[[V:.*]] = memref.load %[[X]][%[[I]], %[[J]]]
// CHECK:           memref.store %[[V]], %[[T]][%[[I]], %[[J]]]
// CHECK:       mapping = [#rt.rows]
// CHECK:       rt.linear @w ins(%[[T]] : memref<6x4xf32>) outs(%[[Y]] : memref<6x8xf32>)
// CHECK:       %[[S:.*]] = memref.alloc() : memref<6x4xf32>
// CHECK:       scf.forall
// CHECK:         memref.store %{{.*}}, %[[S]]
// CHECK:       tp.all_reduce %[[S]]
// CHECK:       scf.forall
// CHECK:         memref.store %{{.*}}, %[[X]]
func.func @strided(%x: memref<6x4xf32, strided<[8, 1]>>, %y: memref<6x8xf32>) {
  rt.linear @w ins(%x : memref<6x4xf32, strided<[8, 1]>>) outs(%y : memref<6x8xf32>)
  tp.all_reduce %x on @mesh ["tp"] : memref<6x4xf32, strided<[8, 1]>>
  return
}

// Attention takes strides, but for those of a head's elements.
// CHECK-LABEL: func.func @attention(
// CHECK-SAME:    %[[Q:.*]]: memref<2x3x4x8xf32, strided<[400, 100, 10, 1]>>, %[[K:.*]]: memref<2x2x5x8xf32, strided<[160, 80, 16, 2]>>,
// CHECK:       %[[D:.*]] = memref.alloc() : memref<2x2x5x8xf32>
// CHECK:       scf.forall
// CHECK:         memref.store %{{.*}}, %[[D]]
// CHECK-NOT:   memref.alloc
// CHECK:       rt.attention via bf16 query(%[[Q]] : {{.*}}) keys(%[[D]] : {{.*}}) values(%{{.*}} : {{.*}})
// CHECK-NOT:   scf.forall
func.func @attention(%q: memref<2x3x4x8xf32, strided<[400, 100, 10, 1]>>, %k: memref<2x2x5x8xf32, strided<[160, 80, 16, 2]>>,
                     %v: memref<2x2x5x8xf32>, %y: memref<2x3x4x8xf32>, %n: index) {
  rt.attention via bf16 query(%q : memref<2x3x4x8xf32, strided<[400, 100, 10, 1]>>)
    keys(%k : memref<2x2x5x8xf32, strided<[160, 80, 16, 2]>>) values(%v : memref<2x2x5x8xf32>) total(%n) past(%n)
    outs(%y : memref<2x3x4x8xf32>) {scale = 1.0 : f32}
  return
}

// Dense buffers, at any offset, are used as they are.
// CHECK-LABEL: func.func @dense(
// CHECK-NOT:   memref.alloc
// CHECK-NOT:   scf.forall (
// CHECK:       rt.copy
// CHECK-NOT:   memref.copy
func.func @dense(%x: memref<6x4xf32, strided<[4, 1], offset: 8>>, %y: memref<6x8xf32>, %z: memref<6x4xf32>) {
  rt.linear @w ins(%x : memref<6x4xf32, strided<[4, 1], offset: 8>>) outs(%y : memref<6x8xf32>)
  memref.copy %x, %z : memref<6x4xf32, strided<[4, 1], offset: 8>> to memref<6x4xf32>
  memref.copy %z, %z : memref<6x4xf32> to memref<6x4xf32>
  return
}

// A linalg op outside of kernels becomes one.
// CHECK-LABEL: func.func @loose(
// CHECK:       scf.forall (%{{.*}}) in (1) {
// CHECK:         linalg.fill
// CHECK:       } {mapping = [#rt.rows]}
func.func @loose(%x: memref<4xf32>) {
  %c = arith.constant 0.0 : f32
  linalg.fill ins(%c : f32) outs(%x : memref<4xf32>)
  return
}

// Small row buffers go on the stack, others become a row of one buffer outside.
// CHECK-LABEL: func.func @row_buffers(
// CHECK-SAME:    %[[N:.*]]: index, %[[M:.*]]: index)
// CHECK:       %[[ROWS:.*]] = memref.alloc(%{{.*}}) : memref<?xi8>
// CHECK:       scf.forall (%[[I:.*]]) in (%[[N]])
// CHECK:         memref.alloca() {alignment = 64 : i64} : memref<1x8xf32>
// CHECK:         %[[OFFSET:.*]] = arith.muli %[[I]], %{{.*}}
// CHECK:         memref.view %[[ROWS]][%[[OFFSET]]][%{{.*}}] : memref<?xi8> to memref<?xf32>
func.func @row_buffers(%n: index, %m: index) {
  scf.forall (%i) in (%n) {
    %c2 = arith.constant 2 : index
    %size = arith.muli %m, %c2 : index
    %a = memref.alloc() : memref<1x8xf32>
    %b = memref.alloc(%size) : memref<?xf32>
    "test.use"(%a, %b) : (memref<1x8xf32>, memref<?xf32>) -> ()
  } {mapping = [#rt.rows]}
  return
}

// -----

func.func @varying(%n: index) {
  scf.forall (%i) in (%n) {
    // expected-error@below {{has a size that differs from row to row of a kernel}}
    %b = memref.alloc(%i) : memref<?xf32>
    "test.use"(%b) : (memref<?xf32>) -> ()
  } {mapping = [#rt.rows]}
  return
}

// -----

func.func @varying_by_arithmetic(%n: index) {
  scf.forall (%i) in (%n) {
    %c2 = arith.constant 2 : index
    %size = arith.muli %i, %c2 : index
    // expected-error@below {{has a size that differs from row to row of a kernel}}
    %b = memref.alloc(%size) : memref<?xf32>
    "test.use"(%b) : (memref<?xf32>) -> ()
  } {mapping = [#rt.rows]}
  return
}

// -----

// A size of a collapsed buffer is the product of those that it is made of.
// CHECK-LABEL: func.func @collapsed(
// CHECK-SAME:    %[[X:.*]]: memref<?x?x4xf32>
// CHECK-DAG:   %[[A:.*]] = memref.dim %[[X]], %c0
// CHECK-DAG:   %[[B:.*]] = memref.dim %[[X]], %c1
// CHECK:       %[[N:.*]] = arith.muli
// CHECK:       memref.alloc(%[[N]]) : memref<?x4xf32>
func.func @collapsed(%x: memref<?x?x4xf32>) -> memref<?x4xf32> {
  %c0 = arith.constant 0 : index
  %0 = memref.collapse_shape %x [[0, 1], [2]] : memref<?x?x4xf32> into memref<?x4xf32>
  %n = memref.dim %0, %c0 : memref<?x4xf32>
  %1 = memref.alloc(%n) : memref<?x4xf32>
  return %1 : memref<?x4xf32>
}
