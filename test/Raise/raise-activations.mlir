// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: caat-opt %s --onnx-raise-activations --remarks-filter=caat 2>%t.remarks | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK < %t.remarks

// CHECK-LABEL: func.func @erf
// CHECK-SAME: (%[[X:.*]]: tensor<?x8xf32>)
func.func @erf(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // CHECK-NEXT: %[[Y:.*]] = onnx.Gelu %[[X]] :
  // CHECK-NEXT: return %[[Y]]
  // REMARK: [Passed] raise-gelu {{.*}}Gelu, erf form
  %root = onnx.Constant dense<1.41421354> : tensor<f32>
  %one = onnx.Constant dense<1.0> : tensor<f32>
  %half = onnx.Constant dense<0.5> : tensor<f32>
  %0 = onnx.Div %x, %root : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %1 = onnx.Erf %0 : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %2 = onnx.Add %1, %one : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %3 = onnx.Mul %x, %2 : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %4 = onnx.Mul %3, %half : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  return %4 : tensor<?x8xf32>
}

// CHECK-LABEL: func.func @tanh
// CHECK-SAME: (%[[X:.*]]: tensor<?x8xf32>)
func.func @tanh(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // CHECK-NEXT: %[[Y:.*]] = onnx.Gelu %[[X]] {approximate = "tanh"}
  // CHECK-NEXT: return %[[Y]]
  %half = onnx.Constant dense<0.5> : tensor<f32>
  %three = onnx.Constant dense<3.0> : tensor<f32>
  %c = onnx.Constant dense<4.471500e-02> : tensor<f32>
  %s = onnx.Constant dense<0.797884583> : tensor<f32>
  %one = onnx.Constant dense<1.0> : tensor<f32>
  %0 = onnx.Mul %x, %half : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %1 = onnx.Pow %x, %three : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %2 = onnx.Mul %1, %c : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %3 = onnx.Add %x, %2 : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %4 = onnx.Mul %3, %s : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %5 = onnx.Tanh %4 : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %6 = onnx.Add %5, %one : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %7 = onnx.Mul %0, %6 : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %7 : tensor<?x8xf32>
}

// CHECK-LABEL: func.func @swish
// CHECK-SAME: (%[[X:.*]]: tensor<?x8xf32>, %[[U:.*]]: tensor<?x8xf32>)
func.func @swish(%x: tensor<?x8xf32>, %u: tensor<?x8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  // CHECK: %[[G:.*]] = onnx.Sigmoid %[[X]]
  // CHECK: %[[S:.*]] = onnx.Swish %[[X]] :
  // CHECK: %[[M:.*]] = onnx.Mul %[[U]], %[[G]]
  // CHECK: return %[[S]], %[[M]]
  %g = onnx.Sigmoid %x : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %0 = onnx.Mul %x, %g : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %1 = onnx.Mul %u, %g : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %0, %1 : tensor<?x8xf32>, tensor<?x8xf32>
}

// Another factor before erf: no Gelu.
// CHECK-LABEL: func.func @other_erf
func.func @other_erf(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // CHECK-NOT: onnx.Gelu
  // CHECK: return
  // REMARK: [Missed] raise-gelu {{.*}}not part of 0.5 * x * (1 + erf or tanh of Gelu
  %root = onnx.Constant dense<2.0> : tensor<f32>
  %one = onnx.Constant dense<1.0> : tensor<f32>
  %half = onnx.Constant dense<0.5> : tensor<f32>
  %0 = onnx.Div %x, %root : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %1 = onnx.Erf %0 : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %2 = onnx.Add %1, %one : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %3 = onnx.Mul %x, %2 : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %4 = onnx.Mul %3, %half : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  return %4 : tensor<?x8xf32>
}

// BLOOM's: the polynomial in another form.
// CHECK-LABEL: func.func @factored
// CHECK-SAME: (%[[X:.*]]: tensor<?x8xf32>)
func.func @factored(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // CHECK-NEXT: %[[Y:.*]] = onnx.Gelu %[[X]] {approximate = "tanh"}
  // CHECK-NEXT: return %[[Y]]
  %half = onnx.Constant dense<0.5> : tensor<f32>
  %c = onnx.Constant dense<4.471500e-02> : tensor<f32>
  %s = onnx.Constant dense<0.79788456> : tensor<f32>
  %one = onnx.Constant dense<1.0> : tensor<f32>
  %0 = onnx.Mul %x, %half : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %1 = onnx.Mul %x, %s : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %2 = onnx.Mul %x, %c : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %3 = onnx.Mul %2, %x : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %4 = onnx.Add %3, %one : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %5 = onnx.Mul %1, %4 : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %6 = onnx.Tanh %5 : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %7 = onnx.Add %6, %one : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %8 = onnx.Mul %0, %7 : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %8 : tensor<?x8xf32>
}

// A pooler's tanh and a gate on something else.
// CHECK-LABEL: func.func @others
func.func @others(%x: tensor<?x8xf32>, %y: tensor<?x8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  // CHECK-NOT: onnx.Gelu
  // CHECK-NOT: onnx.Swish
  // CHECK: return
  // REMARK: [Missed] raise-gelu {{.*}}not part of 0.5 * x * (1 + erf or tanh of Gelu's argument)
  // REMARK: [Missed] raise-swish {{.*}}not multiplied by its own argument
  %t = onnx.Tanh %x : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %g = onnx.Sigmoid %x : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %0 = onnx.Mul %y, %g : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %t, %0 : tensor<?x8xf32>, tensor<?x8xf32>
}
