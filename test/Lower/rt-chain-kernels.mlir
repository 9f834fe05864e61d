// RUN: caat-opt %s --split-input-file --pass-pipeline="builtin.module(func.func(rt-chain-kernels,cse))" | FileCheck %s

// A row is written and then read, by a sum at that; what is allocated in between does not matter. The third kernel goes on
// with the same rows.
// CHECK-LABEL: func.func @chained
// CHECK-SAME: %[[A:[^:]*]]: memref<?x8xf32> {llvm.noalias}, %[[B:[^:]*]]: memref<?xf32> {llvm.noalias}, %[[N:[^:]*]]: index
// CHECK:       scf.forall (%[[ROW:.*]]) in (%[[N]]) {
// CHECK:         %[[OF_A:.*]] = memref.subview %[[A]][%[[ROW]], 0]
// CHECK:         linalg.fill {{.*}} outs(%[[OF_A]]
// CHECK:         %[[OF_B:.*]] = memref.subview %[[B]][%[[ROW]]]
// CHECK:         linalg.generic {{.*}} ins(%[[OF_A]] {{.*}} outs(%[[OF_B]]
// CHECK:         linalg.fill {{.*}} outs(%[[OF_B]]
// CHECK:       mapping = [#rt.rows]
// CHECK-NOT:   scf.forall
#id = affine_map<(d0) -> (d0)>
#none = affine_map<(d0) -> ()>
func.func @chained(%a: memref<?x8xf32> {llvm.noalias}, %b: memref<?xf32> {llvm.noalias}, %n: index) {
  %one = arith.constant 1.0 : f32
  scf.forall (%i) in (%n) {
    %row = memref.subview %a[%i, 0] [1, 8] [1, 1] : memref<?x8xf32> to memref<8xf32, strided<[1], offset: ?>>
    linalg.fill ins(%one : f32) outs(%row : memref<8xf32, strided<[1], offset: ?>>)
  } {mapping = [#rt.rows]}
  %c = memref.alloc(%n) : memref<?xf32>
  scf.forall (%i) in (%n) {
    %row = memref.subview %a[%i, 0] [1, 8] [1, 1] : memref<?x8xf32> to memref<8xf32, strided<[1], offset: ?>>
    %sum = memref.subview %b[%i] [1] [1] : memref<?xf32> to memref<f32, strided<[], offset: ?>>
    linalg.generic {indexing_maps = [#id, #none], iterator_types = ["reduction"]} ins(%row : memref<8xf32, strided<[1], offset: ?>>) outs(%sum : memref<f32, strided<[], offset: ?>>) {
    ^bb0(%x: f32, %y: f32):
      %s = arith.addf %x, %y : f32
      linalg.yield %s : f32
    }
  } {mapping = [#rt.rows]}
  scf.forall (%i) in (%n) {
    %sum = memref.subview %b[%i] [1] [1] : memref<?xf32> to memref<f32, strided<[], offset: ?>>
    linalg.fill ins(%one : f32) outs(%sum : memref<f32, strided<[], offset: ?>>)
  } {mapping = [#rt.rows]}
  return
}

// -----

// Elements that are looked up lie in the row, wherever; the kernel before wrote all of it.
// CHECK-LABEL: func.func @permuted
// CHECK:       scf.forall
// CHECK:         linalg.fill
// CHECK:         memref.load
// CHECK-NOT:   scf.forall
#id = affine_map<(d0) -> (d0)>
func.func @permuted(%a: memref<?x8xf32> {llvm.noalias}, %b: memref<?x4xf32> {llvm.noalias}, %order: memref<4xindex> {llvm.noalias}, %n: index) {
  %one = arith.constant 1.0 : f32
  scf.forall (%i) in (%n) {
    %row = memref.subview %a[%i, 0] [1, 8] [1, 1] : memref<?x8xf32> to memref<8xf32, strided<[1], offset: ?>>
    linalg.fill ins(%one : f32) outs(%row : memref<8xf32, strided<[1], offset: ?>>)
  } {mapping = [#rt.rows]}
  scf.forall (%i) in (%n) {
    %to = memref.subview %b[%i, 0] [1, 4] [1, 1] : memref<?x4xf32> to memref<4xf32, strided<[1], offset: ?>>
    linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]} ins(%order : memref<4xindex>) outs(%to : memref<4xf32, strided<[1], offset: ?>>) {
    ^bb0(%at: index, %old: f32):
      %x = memref.load %a[%i, %at] : memref<?x8xf32>
      linalg.yield %x : f32
    }
  } {mapping = [#rt.rows]}
  return
}

// -----

// Not where rows are written in part: another row may have what is looked up.
// CHECK-LABEL: func.func @partly
// CHECK-COUNT-2: scf.forall
#id = affine_map<(d0) -> (d0)>
func.func @partly(%a: memref<2x8xf32> {llvm.noalias}, %b: memref<?x4xf32> {llvm.noalias}, %order: memref<4xindex> {llvm.noalias}, %n: index) {
  %one = arith.constant 1.0 : f32
  %c2 = arith.constant 2 : index
  scf.forall (%i) in (%n) {
    %half = arith.divui %i, %c2 : index
    %row = memref.subview %a[%half, 0] [1, 4] [1, 1] : memref<2x8xf32> to memref<4xf32, strided<[1], offset: ?>>
    linalg.fill ins(%one : f32) outs(%row : memref<4xf32, strided<[1], offset: ?>>)
  } {mapping = [#rt.rows]}
  scf.forall (%i) in (%n) {
    %half = arith.divui %i, %c2 : index
    %to = memref.subview %b[%i, 0] [1, 4] [1, 1] : memref<?x4xf32> to memref<4xf32, strided<[1], offset: ?>>
    linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]} ins(%order : memref<4xindex>) outs(%to : memref<4xf32, strided<[1], offset: ?>>) {
    ^bb0(%at: index, %old: f32):
      %x = memref.load %a[%half, %at] : memref<2x8xf32>
      linalg.yield %x : f32
    }
  } {mapping = [#rt.rows]}
  return
}

// -----

// Not chained: a kernel that reads another row; one that reads all; one of other rows; one that has nothing to do with the
// one before (rt-merge-kernels has their rows side by side).
// CHECK-LABEL: func.func @apart
// CHECK-COUNT-5: scf.forall
func.func @apart(%a: memref<?x8xf32> {llvm.noalias}, %b: memref<?x8xf32> {llvm.noalias}, %c: memref<?x8xf32> {llvm.noalias}, %n: index, %m: index) {
  %one = arith.constant 1.0 : f32
  %c1 = arith.constant 1 : index
  scf.forall (%i) in (%n) {
    %row = memref.subview %a[%i, 0] [1, 8] [1, 1] : memref<?x8xf32> to memref<8xf32, strided<[1], offset: ?>>
    linalg.fill ins(%one : f32) outs(%row : memref<8xf32, strided<[1], offset: ?>>)
  } {mapping = [#rt.rows]}
  scf.forall (%i) in (%n) {
    %next = arith.addi %i, %c1 : index
    %row = memref.subview %a[%next, 0] [1, 8] [1, 1] : memref<?x8xf32> to memref<8xf32, strided<[1], offset: ?>>
    %to = memref.subview %b[%i, 0] [1, 8] [1, 1] : memref<?x8xf32> to memref<8xf32, strided<[1], offset: ?>>
    linalg.copy ins(%row : memref<8xf32, strided<[1], offset: ?>>) outs(%to : memref<8xf32, strided<[1], offset: ?>>)
  } {mapping = [#rt.rows]}
  scf.forall (%i) in (%n) {
    %x = memref.load %b[%c1, %i] : memref<?x8xf32>
    %to = memref.subview %c[%i, 0] [1, 8] [1, 1] : memref<?x8xf32> to memref<8xf32, strided<[1], offset: ?>>
    linalg.fill ins(%x : f32) outs(%to : memref<8xf32, strided<[1], offset: ?>>)
  } {mapping = [#rt.rows]}
  scf.forall (%i) in (%m) {
    %to = memref.subview %c[%i, 0] [1, 8] [1, 1] : memref<?x8xf32> to memref<8xf32, strided<[1], offset: ?>>
    linalg.fill ins(%one : f32) outs(%to : memref<8xf32, strided<[1], offset: ?>>)
  } {mapping = [#rt.rows]}
  scf.forall (%i) in (%m) {
    %to = memref.subview %a[%i, 0] [1, 8] [1, 1] : memref<?x8xf32> to memref<8xf32, strided<[1], offset: ?>>
    linalg.fill ins(%one : f32) outs(%to : memref<8xf32, strided<[1], offset: ?>>)
  } {mapping = [#rt.rows]}
  return
}
