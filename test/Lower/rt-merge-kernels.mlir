// RUN: caat-opt %s --split-input-file --pass-pipeline="builtin.module(func.func(rt-merge-kernels))" | FileCheck %s

// Two kernels on data of their own are one: rows of the first, then those of the second. What is allocated in between
// does not matter.
// CHECK-LABEL: func.func @independent
// CHECK-SAME: %[[A:[^:]*]]: memref<?x8xf32> {llvm.noalias}, %[[B:[^:]*]]: memref<?x8xf32> {llvm.noalias}, %[[M:[^:]*]]: index, %[[N:[^:]*]]: index
// CHECK:   %[[TOTAL:.*]] = arith.addi %[[M]], %[[N]]
// CHECK:   scf.forall (%[[ROW:.*]]) in (%[[TOTAL]]) {
// CHECK:     %[[FIRST:.*]] = arith.cmpi ult, %[[ROW]], %[[M]]
// CHECK:     scf.if %[[FIRST]] {
// CHECK:       memref.subview %[[A]][%[[ROW]], 0]
// CHECK:     } else {
// CHECK:       %[[REST:.*]] = arith.subi %[[ROW]], %[[M]]
// CHECK:       memref.subview %[[B]][%[[REST]], 0]
// CHECK:   mapping = [#rt.rows]
// CHECK-NOT: scf.forall
func.func @independent(%a: memref<?x8xf32> {llvm.noalias}, %b: memref<?x8xf32> {llvm.noalias}, %m: index, %n: index) {
  %one = arith.constant 1.0 : f32
  scf.forall (%i) in (%m) {
    %row = memref.subview %a[%i, 0] [1, 8] [1, 1] : memref<?x8xf32> to memref<1x8xf32, strided<[8, 1], offset: ?>>
    linalg.fill ins(%one : f32) outs(%row : memref<1x8xf32, strided<[8, 1], offset: ?>>)
  } {mapping = [#rt.rows]}
  %c = memref.alloc(%n) : memref<?xf32>
  scf.forall (%i) in (%n) {
    %row = memref.subview %b[%i, 0] [1, 8] [1, 1] : memref<?x8xf32> to memref<1x8xf32, strided<[8, 1], offset: ?>>
    linalg.fill ins(%one : f32) outs(%row : memref<1x8xf32, strided<[8, 1], offset: ?>>)
  } {mapping = [#rt.rows]}
  return
}

// -----

// Not merged: one that reads what the other writes; one that is much wider; one with a reduction.
// CHECK-LABEL: func.func @apart
// CHECK-COUNT-4: scf.forall
#id = affine_map<(d0) -> (d0)>
#none = affine_map<(d0) -> ()>
func.func @apart(%a: memref<8xf32> {llvm.noalias}, %b: memref<8xf32> {llvm.noalias}, %c: memref<512xf32> {llvm.noalias}, %d: memref<f32> {llvm.noalias}, %n: index) {
  %one = arith.constant 1.0 : f32
  scf.forall (%i) in (%n) {
    linalg.fill ins(%one : f32) outs(%a : memref<8xf32>)
  } {mapping = [#rt.rows]}
  scf.forall (%i) in (%n) {
    linalg.copy ins(%a : memref<8xf32>) outs(%b : memref<8xf32>)
  } {mapping = [#rt.rows]}
  scf.forall (%i) in (%n) {
    linalg.fill ins(%one : f32) outs(%c : memref<512xf32>)
  } {mapping = [#rt.rows]}
  scf.forall (%i) in (%n) {
    linalg.generic {indexing_maps = [#id, #none], iterator_types = ["reduction"]} ins(%a : memref<8xf32>) outs(%d : memref<f32>) {
    ^bb0(%x: f32, %y: f32):
      %s = arith.addf %x, %y : f32
      linalg.yield %s : f32
    }
  } {mapping = [#rt.rows]}
  return
}
