// RUN: caat-opt %s --pass-pipeline="builtin.module(func.func(rt-skip-unread))" | FileCheck %s

rt.weight @head linear : tensor<4x8xf32> {
  %0 = arith.constant dense<1.0> : tensor<4x8xf32>
  rt.yield %0 : tensor<4x8xf32>
}

// Of each batch row the tokens from the first one on that is read; all rows at once where all are.
// CHECK-LABEL: func.func @caat_forward(
// CHECK:         %[[X:.*]] = rt.buffer 0[%{{.*}}] : memref<?x?x4xf32>
// CHECK:         %[[Y:.*]] = rt.buffer 1
// CHECK:         %[[UNREAD:.*]] = rt.unread_tokens of %[[TOKENS:.*]] : index
// CHECK:         %[[SOME:.*]] = arith.cmpi ne, %[[UNREAD]], %
// CHECK:         scf.if %[[SOME]] {
// CHECK:           scf.for %[[ROW:.*]] =
// CHECK:             %[[FIRST:.*]] = arith.muli %[[ROW]], %[[TOKENS]] : index
// CHECK:             %[[BEGIN:.*]] = arith.addi %[[FIRST]], %[[UNREAD]] : index
// CHECK:             %[[END:.*]] = arith.addi %[[FIRST]], %[[TOKENS]] : index
// CHECK:             %[[COUNT:.*]] = arith.subi %[[END]], %[[BEGIN]] : index
// CHECK:             memref.subview %{{.*}}[%[[BEGIN]], 0] [%[[COUNT]], 4] [1, 1]
// CHECK:             memref.subview %{{.*}}[%[[BEGIN]], 0] [%{{.*}}, 8] [1, 1]
// CHECK:             rt.linear @head ins(%{{.*}} : memref<?x4xf32, strided<[4, 1], offset: ?>>) outs(%{{.*}} : memref<?x8xf32, strided<[8, 1], offset: ?>>)
// CHECK:         } else {
// CHECK-NEXT:      rt.linear @head ins(%[[X]] : memref<?x?x4xf32>) outs(%[[Y]] : memref<?x?x8xf32>)
// CHECK-NEXT:    }
// CHECK-NEXT:    rt.linear @head ins(%[[X]] : memref<?x?x4xf32>) outs(%[[Y]] : memref<?x?x8xf32>)
// CHECK-NEXT:    return
func.func @caat_forward() {
  %b = rt.dim "batch"
  %n = rt.dim "n"
  %x = rt.buffer 0 [%b, %n] : memref<?x?x4xf32>
  %y = rt.buffer 1 [%b, %n] : memref<?x?x8xf32>
  rt.linear @head ins(%x : memref<?x?x4xf32>) outs(%y : memref<?x?x8xf32>) {only_results}
  rt.linear @head ins(%x : memref<?x?x4xf32>) outs(%y : memref<?x?x8xf32>)
  return
}
