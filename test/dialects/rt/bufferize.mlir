// RUN: caat-opt %s --split-input-file --pass-pipeline="builtin.module(func.func(rt-bufferize),canonicalize,cse)" | FileCheck %s

rt.weight @w linear : tensor<4x8xf32> {
  %0 = arith.constant dense<1.0> : tensor<4x8xf32>
  rt.yield %0 : tensor<4x8xf32>
}
rt.weight @scale : tensor<8xf32> {
  %0 = arith.constant dense<1.0> : tensor<8xf32>
  rt.yield %0 : tensor<8xf32>
}

// The product writes its destination; no copy.
// CHECK-LABEL: func.func @linear()
func.func @linear() {
  // CHECK-DAG: %[[X:.*]] = rt.buffer 0
  // CHECK-DAG: %[[Y:.*]] = rt.buffer 1
  %n = rt.dim "n"
  %x = rt.buffer 0[%n] : memref<?x4xf32>
  %y = rt.buffer 1[%n] : memref<?x8xf32>
  %tx = bufferization.to_tensor %x restrict : memref<?x4xf32> to tensor<?x4xf32>
  %ty = bufferization.to_tensor %y restrict writable : memref<?x8xf32> to tensor<?x8xf32>
  // CHECK-NOT: memref.alloc
  // CHECK: rt.linear @w ins(%[[X]] : memref<?x4xf32>) outs(%[[Y]] : memref<?x8xf32>)
  // CHECK-NEXT: return
  %0 = rt.linear @w ins(%tx : tensor<?x4xf32>) outs(%ty : tensor<?x8xf32>) -> tensor<?x8xf32>
  bufferization.materialize_in_destination %0 in restrict writable %y : (tensor<?x8xf32>, memref<?x8xf32>) -> ()
  return
}

// A condition is read where it is.
// CHECK-LABEL: func.func @check()
func.func @check() {
  // CHECK-NEXT: %[[X:.*]] = rt.buffer 0
  // CHECK-NEXT: rt.check_later %[[X]], "holds" : memref<i1>
  // CHECK-NEXT: return
  %x = rt.buffer 0[] : memref<i1>
  %tx = bufferization.to_tensor %x restrict : memref<i1> to tensor<i1>
  rt.check_later %tx, "holds" : tensor<i1>
  return
}

// A sum in place, with a bias that is read.
// CHECK-LABEL: func.func @sum()
func.func @sum() {
  // CHECK-DAG: %[[X:.*]] = rt.buffer 0
  // CHECK-DAG: %[[Y:.*]] = rt.buffer 1
  // CHECK-DAG: %[[B:.*]] = rt.parameter @scale : memref<8xf32>
  %n = rt.dim "n"
  %x = rt.buffer 0[%n] : memref<?x4xf32>
  %y = rt.buffer 1[%n] : memref<?x8xf32>
  %tx = bufferization.to_tensor %x restrict : memref<?x4xf32> to tensor<?x4xf32>
  %ty = bufferization.to_tensor %y restrict writable : memref<?x8xf32> to tensor<?x8xf32>
  %b = rt.parameter @scale : tensor<8xf32>
  // CHECK-NOT: memref.alloc
  // CHECK: rt.linear @w accumulate ins(%[[X]] : memref<?x4xf32>) bias(%[[B]] : memref<8xf32>) then relu outs(%[[Y]] : memref<?x8xf32>)
  // CHECK-NEXT: return
  %0 = rt.linear @w accumulate ins(%tx : tensor<?x4xf32>) bias(%b : tensor<8xf32>) then relu outs(%ty : tensor<?x8xf32>) -> tensor<?x8xf32>
  bufferization.materialize_in_destination %0 in restrict writable %y : (tensor<?x8xf32>, memref<?x8xf32>) -> ()
  return
}

// A parameter is read-only: writing on it needs a copy.
// CHECK-LABEL: func.func @parameter()
func.func @parameter() {
  // CHECK-DAG: %[[P:.*]] = rt.parameter @scale : memref<8xf32>
  // CHECK-DAG: %[[A:.*]] = memref.alloc()
  // CHECK: memref.copy %[[P]], %[[A]]
  // CHECK: memref.store %{{.*}}, %[[A]]
  %p = rt.parameter @scale : tensor<8xf32>
  %c = arith.constant 0 : index
  %f = arith.constant 1.0 : f32
  %0 = tensor.insert %f into %p[%c] : tensor<8xf32>
  %y = rt.buffer 0[] : memref<8xf32>
  bufferization.materialize_in_destination %0 in restrict writable %y : (tensor<8xf32>, memref<8xf32>) -> ()
  return
}

// A site that begins a stream reads neither base nor pending: they are buffers of its own. The next one updates both in
// place.
// CHECK-LABEL: func.func @sync_points()
func.func @sync_points() {
  %n = rt.dim "n"
  %x = rt.buffer 0[%n] : memref<?x4xf32>
  %y = rt.buffer 1[%n] : memref<?x4xf32>
  %t = bufferization.to_tensor %x restrict : memref<?x4xf32> to tensor<?x4xf32>
  %e0 = tensor.empty(%n) : tensor<?x4xf32>
  %e1 = tensor.empty(%n) : tensor<?x4xf32>
  %e2 = tensor.empty(%n) : tensor<?x4xf32>
  %e3 = tensor.empty(%n) : tensor<?x4xf32>
  // CHECK-NOT: memref.copy
  // CHECK: rt.sync_point "a" {{.*}} outs(%{{.*}}, %[[BASE:.*]], %[[PENDING:.*]] : memref
  %0:3 = rt.sync_point "a" partial(%t : tensor<?x4xf32>) outs(%e0, %e1, %e2 : tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>)
      {starts_base, starts_pending} -> tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>
  // CHECK-NOT: memref.copy
  // CHECK: rt.sync_point "b" {{.*}} outs(%{{.*}}, %[[BASE]], %[[PENDING]] : memref
  %1:3 = rt.sync_point "b" partial(%0#0 : tensor<?x4xf32>) outs(%e3, %0#1, %0#2 : tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>)
      {flushes} -> tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>
  bufferization.materialize_in_destination %1#0 in restrict writable %y : (tensor<?x4xf32>, memref<?x4xf32>) -> ()
  return
}
