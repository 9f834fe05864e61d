// RUN: caat-opt %s --rt-outline-kernels --canonicalize | FileCheck %s

// Two equal kernels on other buffers are one function; a third differs.
// CHECK-LABEL: func.func @caat_forward()
// CHECK-DAG:   %[[N:.*]] = rt.dim "n"
// CHECK-DAG:   %[[A:.*]] = rt.buffer 0
// CHECK-DAG:   %[[B:.*]] = rt.buffer 1
// CHECK:       rt.launch @k0_map grid(%[[N]]) buffers(%[[A]], %[[B]] : memref<?x4xf32>, memref<?x4xf32>) dims(%[[N]])
// CHECK-NEXT:  rt.launch @k0_map grid(%[[N]]) buffers(%[[B]], %[[A]] : memref<?x4xf32>, memref<?x4xf32>) dims(%[[N]])
// CHECK:       rt.launch @k1_map grid(%[[N]]) buffers(%[[A]] : memref<?x4xf32>) dims(%{{.*}}, %[[N]])
func.func @caat_forward() {
  %c0 = arith.constant 0 : index
  %half = arith.constant 0.5 : f32
  %n = rt.dim "n"
  %a = rt.buffer 0[%n] : memref<?x4xf32>
  %b = rt.buffer 1[%n] : memref<?x4xf32>
  scf.forall (%i) in (%n) {
    %v = memref.load %a[%i, %c0] : memref<?x4xf32>
    memref.store %v, %b[%i, %c0] : memref<?x4xf32>
  } {mapping = [#rt.rows]}
  scf.forall (%i) in (%n) {
    %v = memref.load %b[%i, %c0] : memref<?x4xf32>
    memref.store %v, %a[%i, %c0] : memref<?x4xf32>
  } {mapping = [#rt.rows]}
  // A view is repeated inside, on the buffer it looks at; scalars are passed.
  %view = memref.subview %a[0, 1] [%n, 2] [1, 1] : memref<?x4xf32> to memref<?x2xf32, strided<[4, 1], offset: 1>>
  %scalar = memref.load %a[%c0, %c0] : memref<?x4xf32>
  scf.forall (%i) in (%n) {
    memref.store %scalar, %view[%i, %c0] : memref<?x2xf32, strided<[4, 1], offset: 1>>
  } {mapping = [#rt.rows]}
  return
}

// CHECK-LABEL: func.func private @k0_map(
// CHECK-SAME:    %[[BEGIN:.*]]: index, %[[END:.*]]: index, %[[P:[a-z0-9]*]]: memref<f32> {llvm.noalias}, %[[Q:[a-z0-9]*]]: memref<f32> {llvm.noalias}, %[[M:[a-z0-9]*]]: index)
// CHECK-DAG:   %[[X:.*]] = memref.reinterpret_cast %[[P]] to offset: [0], sizes: [%[[M]], 4], strides: [4, 1]
// CHECK-DAG:   %[[Y:.*]] = memref.reinterpret_cast %[[Q]] to offset: [0], sizes: [%[[M]], 4], strides: [4, 1]
// CHECK:       scf.for %[[I:.*]] = %[[BEGIN]] to %[[END]]
// CHECK-NEXT:    %[[V:.*]] = memref.load %[[X]][%[[I]],
// CHECK-NEXT:    memref.store %[[V]], %[[Y]][%[[I]],

// CHECK-LABEL: func.func private @k1_map(
// CHECK:       arith.bitcast %{{.*}} : i32 to f32
// CHECK:       memref.subview
