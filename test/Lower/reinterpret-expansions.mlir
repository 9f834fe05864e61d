// RUN: caat-opt %s --reinterpret-expansions | FileCheck %s
// RUN: caat-opt %s --reinterpret-expansions --expand-strided-metadata -o /dev/null

// CHECK-LABEL: func.func @dense
// CHECK: %[[V:.*]] = memref.reinterpret_cast %arg0 to offset: [0], sizes: [%arg1, %arg2, 8], strides: [%{{.*}}, 8, 1]
// CHECK: memref.cast %[[V]] : {{.*}} to memref<?x?x8xf32>
func.func @dense(%x: memref<?x8xf32>, %a: index, %b: index) -> memref<?x?x8xf32> {
  %0 = memref.expand_shape %x [[0, 1], [2]] output_shape [%a, %b, 8] : memref<?x8xf32> into memref<?x?x8xf32>
  return %0 : memref<?x?x8xf32>
}

// CHECK-LABEL: func.func @strided
// CHECK: memref.extract_strided_metadata %arg0
// CHECK: memref.reinterpret_cast
func.func @strided(%x: memref<?x8xf32, strided<[?, 1], offset: ?>>, %a: index, %b: index) -> memref<?x?x8xf32, strided<[?, ?, 1], offset: ?>> {
  %0 = memref.expand_shape %x [[0, 1], [2]] output_shape [%a, %b, 8] : memref<?x8xf32, strided<[?, 1], offset: ?>> into memref<?x?x8xf32, strided<[?, ?, 1], offset: ?>>
  return %0 : memref<?x?x8xf32, strided<[?, ?, 1], offset: ?>>
}

// One dynamic dimension is upstream's own business.
// CHECK-LABEL: func.func @single
// CHECK: memref.expand_shape
func.func @single(%x: memref<?x8xf32>, %a: index) -> memref<?x4x8xf32> {
  %0 = memref.expand_shape %x [[0, 1], [2]] output_shape [%a, 4, 8] : memref<?x8xf32> into memref<?x4x8xf32>
  return %0 : memref<?x4x8xf32>
}
