// RUN: caat-opt %s --onnx-to-linalg --canonicalize | FileCheck %s

// The host reads a condition that what follows depends on, and leaves others to the device.
// CHECK-LABEL: func.func @checks(
// CHECK-SAME:    %[[A:.*]]: tensor<i1>, %[[B:.*]]: tensor<i1>
// CHECK:         %[[HOLDS:.*]] = tensor.extract %[[A]][]
// CHECK-NEXT:    rt.check %[[HOLDS]], "now"
// CHECK-NEXT:    rt.check_later %[[B]], "later" : tensor<i1>
func.func @checks(%a: tensor<i1>, %b: tensor<i1>) {
  onnx.check %a, "now" : tensor<i1>
  onnx.check %b, "later" {late} : tensor<i1>
  return
}
