// RUN: caat-opt %s --canonicalize | FileCheck %s

// CHECK-LABEL: func.func @dim_of_buffer
// CHECK: %[[N:.*]] = rt.dim "n"
// CHECK: return %[[N]]
func.func @dim_of_buffer() -> index {
  %n = rt.dim "n"
  %m = rt.dim "m"
  %c2 = arith.constant 2 : index
  %b = rt.buffer 0[%m, %n] : memref<?x4x?xf32>
  %d = memref.dim %b, %c2 : memref<?x4x?xf32>
  return %d : index
}

// CHECK-LABEL: func.func @what_always_holds
// CHECK-NEXT: rt.check_later %{{.*}}, "may not hold"
// CHECK-NEXT: return
func.func @what_always_holds(%x: tensor<i1>) {
  %true = arith.constant true
  rt.check %true, "holds"
  %holds = arith.constant dense<true> : tensor<i1>
  rt.check_later %holds, "holds" : tensor<i1>
  rt.check_later %x, "may not hold" : tensor<i1>
  return
}
