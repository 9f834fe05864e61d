// RUN: caat-opt %s --pass-pipeline="builtin.module(func.func(rt-resolve-dims))" | FileCheck %s

// A size comes from what the result is made of, past all operations on the way.
// CHECK-LABEL: func.func @result(
// CHECK-SAME:    %[[X:.*]]: tensor<?x8xf32>, %{{.*}}: index)
// CHECK:       %[[D:.*]] = tensor.dim %[[X]], %{{.*}}
// CHECK:       return %{{.*}}, %[[D]]
func.func @result(%x: tensor<?x8xf32>, %n: index) -> (tensor<?x8xf32>, index) {
  %c0 = arith.constant 0 : index
  %e = tensor.empty(%n) : tensor<?x8xf32>
  %y = linalg.copy ins(%x : tensor<?x8xf32>) outs(%e : tensor<?x8xf32>) -> tensor<?x8xf32>
  %d = tensor.dim %y, %c0 : tensor<?x8xf32>
  return %y, %d : tensor<?x8xf32>, index
}

// Of an argument nothing is known.
// CHECK-LABEL: func.func @argument(
// CHECK:       %[[D:.*]] = tensor.dim
// CHECK:       return %[[D]]
func.func @argument(%x: tensor<?x8xf32>) -> index {
  %c0 = arith.constant 0 : index
  %d = tensor.dim %x, %c0 : tensor<?x8xf32>
  return %d : index
}
