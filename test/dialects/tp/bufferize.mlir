// RUN: caat-opt %s --one-shot-bufferize="bufferize-function-boundaries function-boundary-type-conversion=identity-layout-map" \
// RUN:   --canonicalize --cse | FileCheck %s

tp.mesh @mesh <["tp" = 2]>

// In place where nobody reads the operand again.
// CHECK-LABEL: func.func @in_place(
// CHECK-SAME:    %[[X:.*]]: memref<?x4xf32>
// CHECK-NOT:     memref.alloc
// CHECK:         tp.all_reduce %[[X]] on @mesh ["tp"] {site = "s"} : memref<?x4xf32>
// CHECK:         tp.broadcast %[[X]] root 1 on @mesh ["tp"] : memref<?x4xf32>
// CHECK:         return %[[X]]
func.func @in_place(%x: tensor<?x4xf32> {bufferization.writable = true}) -> tensor<?x4xf32> {
  %0 = tp.all_reduce %x on @mesh ["tp"] {site = "s"} : tensor<?x4xf32>
  %1 = tp.broadcast %0 root 1 on @mesh ["tp"] : tensor<?x4xf32>
  return %1 : tensor<?x4xf32>
}

// A copy where the partial value is read behind the reduction.
// CHECK-LABEL: func.func @read_again(
// CHECK-SAME:    %[[X:.*]]: memref<?x4xf32>
// CHECK:         %[[COPY:.*]] = memref.alloc
// CHECK:         memref.copy %[[X]], %[[COPY]]
// CHECK:         tp.all_reduce %[[COPY]]
// CHECK:         return %[[COPY]], %[[X]]
func.func @read_again(%x: tensor<?x4xf32>) -> (tensor<?x4xf32>, tensor<?x4xf32>) {
  %0 = tp.all_reduce %x on @mesh ["tp"] : tensor<?x4xf32>
  return %0, %x : tensor<?x4xf32>, tensor<?x4xf32>
}

// A rounded sum is in place too; its error has a buffer of its own where somebody reads it.
// CHECK-LABEL: func.func @rounded(
// CHECK-SAME:    %[[X:.*]]: memref<?x4xf32>
// CHECK:         %[[E:.*]] = memref.alloc(%{{.*}}) {{.*}}: memref<?x4xf32>
// CHECK-NEXT:    tp.quantized_all_reduce %[[X]] error(%[[E]]) bits 4 block 32 exact [1] on @mesh ["tp"] {site = "s"} : memref<?x4xf32>
// CHECK:         tp.quantized_all_reduce %[[X]] bits 8 block 32 exact [] on @mesh ["tp"] : memref<?x4xf32>
// CHECK:         return %[[X]], %[[E]]
func.func @rounded(%x: tensor<?x4xf32> {bufferization.writable = true}) -> (tensor<?x4xf32>, tensor<?x4xf32>) {
  %0:2 = tp.quantized_all_reduce %x bits 4 block 32 exact [1] on @mesh ["tp"] {site = "s"} : tensor<?x4xf32>
  %1:2 = tp.quantized_all_reduce %0#0 bits 8 block 32 exact [] on @mesh ["tp"] : tensor<?x4xf32>
  return %1#0, %0#1 : tensor<?x4xf32>, tensor<?x4xf32>
}

// The others write a buffer of their own, whose dynamic extents follow from the operand's.
// CHECK-LABEL: func.func @own_buffer(
// CHECK-SAME:    %[[X:.*]]: memref<?x?xf32>
// CHECK-DAG:     %[[TWO:.*]] = arith.constant 2 : index
// CHECK-DAG:     %[[D0:.*]] = memref.dim %[[X]], %{{.*}}
// CHECK-DAG:     %[[WIDE:.*]] = arith.muli %{{.*}}, %[[TWO]]
// CHECK:         %[[G:.*]] = memref.alloc(%[[D0]], %[[WIDE]])
// CHECK:         tp.all_gather %[[X]] into %[[G]] dim 1
// CHECK:         %[[NARROW:.*]] = arith.divui %[[WIDE]], %[[TWO]]
// CHECK:         %[[S:.*]] = memref.alloc(%[[D0]], %[[NARROW]])
// CHECK:         tp.reduce_scatter %[[G]] into %[[S]] dim 1
// CHECK:         %[[P:.*]] = memref.alloc(%[[D0]], %[[NARROW]])
// CHECK:         tp.permute %[[S]] into %[[P]] shift 1
// CHECK:         %[[A:.*]] = memref.alloc(%[[D0]], %[[NARROW]])
// CHECK:         tp.all_to_all %[[P]] into %[[A]]
func.func @own_buffer(%x: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = tp.all_gather %x dim 1 on @mesh ["tp"] : tensor<?x?xf32> -> tensor<?x?xf32>
  %1 = tp.reduce_scatter %0 dim 1 on @mesh ["tp"] : tensor<?x?xf32> -> tensor<?x?xf32>
  %2 = tp.permute %1 shift 1 on @mesh ["tp"] : tensor<?x?xf32> -> tensor<?x?xf32>
  %3 = tp.all_to_all %2 on @mesh ["tp"] : tensor<?x?xf32> -> tensor<?x?xf32>
  return %3 : tensor<?x?xf32>
}
