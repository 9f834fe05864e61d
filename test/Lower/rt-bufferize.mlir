// RUN: caat-opt %s --pass-pipeline='builtin.module(func.func(rt-bufferize))' | FileCheck %s

// A kernel writes two values from one tensor.empty: each in the buffer where it ends, no third buffer in between.
// CHECK-LABEL: func @two_results
func.func @two_results() {
  // CHECK-DAG: %[[IN:.*]] = rt.buffer 0
  // CHECK-DAG: %[[FIRST:.*]] = rt.buffer 1
  // CHECK-DAG: %[[SECOND:.*]] = rt.buffer 2
  // CHECK: scf.forall (%[[I:.*]]) in (4)
  // CHECK-DAG: memref.subview %[[FIRST]][%[[I]]]
  // CHECK-DAG: memref.subview %[[SECOND]][%[[I]]]
  // CHECK: memref.copy %[[FIRST]], %[[FIRST]]
  // CHECK: memref.copy %[[SECOND]], %[[SECOND]]
  %in = rt.buffer 0 [] : memref<4xf32>
  %first = rt.buffer 1 [] : memref<4xf32>
  %second = rt.buffer 2 [] : memref<4xf32>
  %x = bufferization.to_tensor %in restrict : memref<4xf32> to tensor<4xf32>
  %empty = tensor.empty() : tensor<4xf32>
  %y:2 = scf.forall (%i) in (4) shared_outs(%a = %empty, %b = %empty) -> (tensor<4xf32>, tensor<4xf32>) {
    %v = tensor.extract %x[%i] : tensor<4xf32>
    %n = arith.negf %v : f32
    %c = tensor.from_elements %v : tensor<1xf32>
    %d = tensor.from_elements %n : tensor<1xf32>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %c into %a[%i] [1] [1] : tensor<1xf32> into tensor<4xf32>
      tensor.parallel_insert_slice %d into %b[%i] [1] [1] : tensor<1xf32> into tensor<4xf32>
    }
  } {mapping = [#rt.rows]}
  bufferization.materialize_in_destination %y#0 in restrict writable %first : (tensor<4xf32>, memref<4xf32>) -> ()
  bufferization.materialize_in_destination %y#1 in restrict writable %second : (tensor<4xf32>, memref<4xf32>) -> ()
  return
}

// Two values made from one: they may not share its buffer.
// CHECK-LABEL: func @from_one
func.func @from_one() {
  // CHECK-DAG: %[[FIRST:.*]] = rt.buffer 1
  // CHECK-DAG: %[[SECOND:.*]] = rt.buffer 2
  // CHECK: %[[BASE:.*]] = memref.alloc
  // CHECK: %[[OTHER:.*]] = memref.alloc
  // CHECK: linalg.fill {{.*}} outs(%[[OTHER]]
  // CHECK: memref.store {{.*}}, %[[BASE]]
  // CHECK: memref.copy %[[OTHER]], %[[FIRST]]
  // CHECK: memref.copy %[[BASE]], %[[SECOND]]
  %c0 = arith.constant 0 : index
  %one = arith.constant 1.0 : f32
  %first = rt.buffer 1 [] : memref<4xf32>
  %second = rt.buffer 2 [] : memref<4xf32>
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty() : tensor<4xf32>
  %base = linalg.fill ins(%zero : f32) outs(%empty : tensor<4xf32>) -> tensor<4xf32>
  %y = linalg.fill ins(%one : f32) outs(%base : tensor<4xf32>) -> tensor<4xf32>
  %z = tensor.insert %one into %base[%c0] : tensor<4xf32>
  bufferization.materialize_in_destination %y in restrict writable %first : (tensor<4xf32>, memref<4xf32>) -> ()
  bufferization.materialize_in_destination %z in restrict writable %second : (tensor<4xf32>, memref<4xf32>) -> ()
  return
}
