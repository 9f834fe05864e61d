// RUN: caat-opt %s --pass-pipeline="builtin.module(func.func(tp-merge-all-reduces))" | FileCheck %s

tp.mesh @mesh <["tp" = 2]>
tp.mesh @other <["tp" = 2]>
onnx.initializer @b : tensor<4xf32> {file = "m", offset = 0 : i64, length = 16 : i64}

// Both orders of the additions, with biases, which are added up among themselves.
// CHECK-LABEL: func.func @with_biases(
// CHECK-SAME:    %[[X:.*]]: tensor<?x4xf32>, %[[P:.*]]: tensor<?x4xf32>, %[[Q:.*]]: tensor<?x4xf32>
func.func @with_biases(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>, %q: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %b = onnx.get_initializer @b : tensor<4xf32>
  %r = tp.all_reduce %p on @mesh ["tp"] : tensor<?x4xf32>
  %rb = onnx.Add %r, %b : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  %s = tp.all_reduce %q on @mesh ["tp"] : tensor<?x4xf32>
  %sb = onnx.Add %b, %s : (tensor<4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %m = onnx.Add %rb, %sb : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %y = onnx.Add %m, %x : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
// CHECK:         %[[B:.*]] = onnx.get_initializer @b
// CHECK:         %[[PQ:.*]] = onnx.Add %[[P]], %[[Q]]
// CHECK:         %[[BB:.*]] = onnx.Add %[[B]], %[[B]] : {{.*}} -> tensor<4xf32>
// CHECK:         %[[R:.*]] = tp.all_reduce %[[PQ]]
// CHECK:         %[[RB:.*]] = onnx.Add %[[R]], %[[BB]]
// CHECK:         %[[Y:.*]] = onnx.Add %[[X]], %[[RB]]
// CHECK-NEXT:    return %[[Y]]

// A sum that something else reads first stays: this is the ordinary pre-norm block.
// CHECK-LABEL: func.func @read_between(
// CHECK-COUNT-2: tp.all_reduce
func.func @read_between(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %r = tp.all_reduce %p on @mesh ["tp"] : tensor<?x4xf32>
  %y = onnx.Add %x, %r : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %q = onnx.Relu %y : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %s = tp.all_reduce %q on @mesh ["tp"] : tensor<?x4xf32>
  %z = onnx.Add %y, %s : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %z : tensor<?x4xf32>
}

// Other ranks take part, or the reduced value has another reader.
// CHECK-LABEL: func.func @different(
// CHECK-COUNT-4: tp.all_reduce
func.func @different(%p: tensor<?x4xf32>, %q: tensor<?x4xf32>) -> (tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>) {
  %r = tp.all_reduce %p on @mesh ["tp"] : tensor<?x4xf32>
  %s = tp.all_reduce %q on @other ["tp"] : tensor<?x4xf32>
  %y = onnx.Add %r, %s : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %t = tp.all_reduce %p on @mesh ["tp"] : tensor<?x4xf32>
  %u = tp.all_reduce %q on @mesh ["tp"] : tensor<?x4xf32>
  %z = onnx.Add %t, %u : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y, %z, %t : tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>
}

// One partial sum, the stream, and what a module that is not split adds: the reduction joins the sum of the others.
// CHECK-LABEL: func.func @one_of_three(
// CHECK-SAME:    %[[X:.*]]: tensor<?x4xf32>, %[[A:.*]]: tensor<?x4xf32>, %[[P:.*]]: tensor<?x4xf32>)
func.func @one_of_three(%x: tensor<?x4xf32>, %a: tensor<?x4xf32>, %p: tensor<?x4xf32>) -> tensor<?x4xf32> {
  // CHECK-DAG: %[[BASE:.*]] = onnx.Add %[[A]], %[[X]]
  // CHECK-DAG: %[[R:.*]] = tp.all_reduce %[[P]]
  // CHECK: %[[Y:.*]] = onnx.Add %[[BASE]], %[[R]]
  // CHECK: return %[[Y]]
  %r = tp.all_reduce %p on @mesh ["tp"] : tensor<?x4xf32>
  %0 = onnx.Add %r, %a : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %1 = onnx.Add %0, %x : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %1 : tensor<?x4xf32>
}

// What is added has fewer dimensions than the sum, and would not add up to its shape.
// CHECK-LABEL: func.func @small_addends(
// CHECK-SAME:    %[[P:.*]]: tensor<?x?x4xf32>, %[[A:.*]]: tensor<?x1xf32>, %[[C:.*]]: tensor<?x4xf32>)
func.func @small_addends(%p: tensor<?x?x4xf32>, %a: tensor<?x1xf32>, %c: tensor<?x4xf32>) -> tensor<?x?x4xf32> {
  // CHECK: %[[R:.*]] = tp.all_reduce %[[P]]
  // CHECK: %[[RA:.*]] = onnx.Add %[[R]], %[[A]]
  // CHECK: %[[S:.*]] = tp.all_reduce %[[C]]
  // CHECK: %[[Y:.*]] = onnx.Add %[[RA]], %[[S]]
  // CHECK: return %[[Y]]
  %r = tp.all_reduce %p on @mesh ["tp"] : tensor<?x?x4xf32>
  %ra = onnx.Add %r, %a : (tensor<?x?x4xf32>, tensor<?x1xf32>) -> tensor<?x?x4xf32>
  %s = tp.all_reduce %c on @mesh ["tp"] : tensor<?x4xf32>
  %y = onnx.Add %ra, %s : (tensor<?x?x4xf32>, tensor<?x4xf32>) -> tensor<?x?x4xf32>
  return %y : tensor<?x?x4xf32>
}

// Beside two sums they are added to the merged one.
// CHECK-LABEL: func.func @small_addends_of_two(
// CHECK-SAME:    %[[P:.*]]: tensor<?x?x4xf32>, %[[Q:.*]]: tensor<?x?x4xf32>, %[[A:.*]]: tensor<?x1xf32>, %[[C:.*]]: tensor<?x4xf32>)
func.func @small_addends_of_two(%p: tensor<?x?x4xf32>, %q: tensor<?x?x4xf32>, %a: tensor<?x1xf32>, %c: tensor<?x4xf32>)
    -> tensor<?x?x4xf32> {
  // CHECK: %[[PQ:.*]] = onnx.Add %[[P]], %[[Q]]
  // CHECK: %[[R:.*]] = tp.all_reduce %[[PQ]]
  // CHECK: %[[RA:.*]] = onnx.Add %[[A]], %[[R]] : (tensor<?x1xf32>, tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  // CHECK: %[[Y:.*]] = onnx.Add %[[C]], %[[RA]] : (tensor<?x4xf32>, tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  // CHECK: return %[[Y]]
  %r = tp.all_reduce %p on @mesh ["tp"] : tensor<?x?x4xf32>
  %ra = onnx.Add %r, %a : (tensor<?x?x4xf32>, tensor<?x1xf32>) -> tensor<?x?x4xf32>
  %s = tp.all_reduce %q on @mesh ["tp"] : tensor<?x?x4xf32>
  %sc = onnx.Add %s, %c : (tensor<?x?x4xf32>, tensor<?x4xf32>) -> tensor<?x?x4xf32>
  %y = onnx.Add %ra, %sc : (tensor<?x?x4xf32>, tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  return %y : tensor<?x?x4xf32>
}
