// RUN: caat-opt %s --pass-pipeline="builtin.module(func.func(rt-merge-equal-ops))" | FileCheck %s

// Kernels are equal when they use the same values from outside: the second is the first, the third reads another tensor.
// CHECK-LABEL: func.func @kernels(
// CHECK-SAME:    %[[X:.*]]: tensor<?xf32>, %[[Y:.*]]: tensor<?xf32>, %[[N:.*]]: index)
// CHECK:       %[[E:.*]] = tensor.empty(%[[N]])
// CHECK-NOT:   tensor.empty
// CHECK:       %[[A:.*]] = scf.forall {{.*}} shared_outs(%{{.*}} = %[[E]])
// CHECK:         tensor.extract_slice %[[X]]
// CHECK:       %[[B:.*]] = scf.forall {{.*}} shared_outs(%{{.*}} = %[[E]])
// CHECK:         tensor.extract_slice %[[Y]]
// CHECK-NOT:   scf.forall (
// CHECK:       return %[[A]], %[[A]], %[[B]]
func.func @kernels(%x: tensor<?xf32>, %y: tensor<?xf32>, %n: index) -> (tensor<?xf32>, tensor<?xf32>, tensor<?xf32>) {
  %e0 = tensor.empty(%n) : tensor<?xf32>
  %a = scf.forall (%i) in (%n) shared_outs(%o = %e0) -> (tensor<?xf32>) {
    %row = tensor.extract_slice %x[%i] [1] [1] : tensor<?xf32> to tensor<1xf32>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %row into %o[%i] [1] [1] : tensor<1xf32> into tensor<?xf32>
    }
  }
  %e1 = tensor.empty(%n) : tensor<?xf32>
  %b = scf.forall (%i) in (%n) shared_outs(%o = %e1) -> (tensor<?xf32>) {
    %row = tensor.extract_slice %x[%i] [1] [1] : tensor<?xf32> to tensor<1xf32>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %row into %o[%i] [1] [1] : tensor<1xf32> into tensor<?xf32>
    }
  }
  %e2 = tensor.empty(%n) : tensor<?xf32>
  %c = scf.forall (%i) in (%n) shared_outs(%o = %e2) -> (tensor<?xf32>) {
    %row = tensor.extract_slice %y[%i] [1] [1] : tensor<?xf32> to tensor<1xf32>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %row into %o[%i] [1] [1] : tensor<1xf32> into tensor<?xf32>
    }
  }
  return %a, %b, %c : tensor<?xf32>, tensor<?xf32>, tensor<?xf32>
}

// A region sees what stands before it, and nothing of the other branch.
// CHECK-LABEL: func.func @branches(
// CHECK:       %[[SUM:.*]] = arith.addi
// CHECK:       scf.if
// CHECK-NEXT:    %[[P:.*]] = arith.muli %[[SUM]], %[[SUM]]
// CHECK-NEXT:    scf.yield %[[P]]
// CHECK:       else
// CHECK-NEXT:    %[[Q:.*]] = arith.muli %[[SUM]], %[[SUM]]
// CHECK-NEXT:    scf.yield %[[Q]]
func.func @branches(%flag: i1, %n: index, %m: index) -> (index, index) {
  %sum = arith.addi %n, %m : index
  %r = scf.if %flag -> index {
    %again = arith.addi %n, %m : index
    %p = arith.muli %sum, %again : index
    scf.yield %p : index
  } else {
    %q = arith.muli %sum, %sum : index
    scf.yield %q : index
  }
  return %r, %sum : index, index
}

// What reads memory stays, since it may have been written in between; what nobody uses goes.
// CHECK-LABEL: func.func @memory(
// CHECK-NOT:   arith.muli
// CHECK:       memref.load
// CHECK-NEXT:  memref.store
// CHECK-NEXT:  memref.load
func.func @memory(%m: memref<?xindex>, %i: index) -> (index, index) {
  %unused = arith.muli %i, %i : index
  %a = memref.load %m[%i] : memref<?xindex>
  memref.store %i, %m[%i] : memref<?xindex>
  %b = memref.load %m[%i] : memref<?xindex>
  return %a, %b : index, index
}
