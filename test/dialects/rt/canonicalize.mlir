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
