// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: caat-opt %s --onnx-raise-rotary --remarks-filter=caat 2>%t.remarks | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK < %t.remarks

// CHECK-LABEL: func.func @rotary
// CHECK-SAME: (%[[X:.*]]: tensor<?x4x?x8xf32> {{.*}}, %[[F:.*]]: tensor<?x?x4xf32>
func.func @rotary(%x: tensor<?x4x?x8xf32> {onnx.dims = ["batch", "", "seq", ""]}, %f: tensor<?x?x4xf32> {onnx.dims = ["batch", "seq", ""]}) -> tensor<?x4x?x8xf32> {
  // CHECK-DAG: %[[C:.*]] = onnx.Cos %[[F]] : (tensor<?x?x4xf32>)
  // CHECK-DAG: %[[S:.*]] = onnx.Sin %[[F]] : (tensor<?x?x4xf32>)
  // CHECK: %[[Y:.*]] = onnx.RotaryEmbedding %[[X]], %[[C]], %[[S]] :
  // CHECK: return %[[Y]]
  // REMARK: [Passed] raise-rotary
  %heads = onnx.Constant dense<1> : tensor<1xi64>
  %zero = onnx.Constant dense<0> : tensor<1xi64>
  %four = onnx.Constant dense<4> : tensor<1xi64>
  %end = onnx.Constant dense<9223372036854775807> : tensor<1xi64>
  %last = onnx.Constant dense<3> : tensor<1xi64>
  %ff = onnx.Concat %f, %f {axis = -1 : i64} : (tensor<?x?x4xf32>, tensor<?x?x4xf32>) -> tensor<?x?x8xf32>
  %c = onnx.Cos %ff : (tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %s = onnx.Sin %ff : (tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %cos = onnx.Unsqueeze %c axes %heads : (tensor<?x?x8xf32>, tensor<1xi64>) -> tensor<?x1x?x8xf32>
  %sin = onnx.Unsqueeze %s axes %heads : (tensor<?x?x8xf32>, tensor<1xi64>) -> tensor<?x1x?x8xf32>
  %a = onnx.Slice %x, %zero, %four axes %last : (tensor<?x4x?x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x4x?x4xf32>
  %b = onnx.Slice %x, %four, %end axes %last : (tensor<?x4x?x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x4x?x4xf32>
  %n = onnx.Neg %b : (tensor<?x4x?x4xf32>) -> tensor<?x4x?x4xf32>
  %r = onnx.Concat %n, %a {axis = 3 : i64} : (tensor<?x4x?x4xf32>, tensor<?x4x?x4xf32>) -> tensor<?x4x?x8xf32>
  %0 = onnx.Mul %x, %cos : (tensor<?x4x?x8xf32>, tensor<?x1x?x8xf32>) -> tensor<?x4x?x8xf32>
  %1 = onnx.Mul %r, %sin : (tensor<?x4x?x8xf32>, tensor<?x1x?x8xf32>) -> tensor<?x4x?x8xf32>
  %2 = onnx.Add %0, %1 : (tensor<?x4x?x8xf32>, tensor<?x4x?x8xf32>) -> tensor<?x4x?x8xf32>
  return %2 : tensor<?x4x?x8xf32>
}

// Angles whose halves need not be equal.
// CHECK-LABEL: func.func @any_angles
func.func @any_angles(%x: tensor<?x4x?x8xf32>, %cos: tensor<?x1x?x8xf32>, %sin: tensor<?x1x?x8xf32>) -> tensor<?x4x?x8xf32> {
  // CHECK-NOT: onnx.RotaryEmbedding
  // CHECK: return
  // REMARK: [Missed] raise-rotary {{.*}}the angles are not known to be two equal halves
  %zero = onnx.Constant dense<0> : tensor<1xi64>
  %four = onnx.Constant dense<4> : tensor<1xi64>
  %end = onnx.Constant dense<8> : tensor<1xi64>
  %last = onnx.Constant dense<-1> : tensor<1xi64>
  %a = onnx.Slice %x, %zero, %four axes %last : (tensor<?x4x?x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x4x?x4xf32>
  %b = onnx.Slice %x, %four, %end axes %last : (tensor<?x4x?x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x4x?x4xf32>
  %n = onnx.Neg %b : (tensor<?x4x?x4xf32>) -> tensor<?x4x?x4xf32>
  %r = onnx.Concat %n, %a {axis = 3 : i64} : (tensor<?x4x?x4xf32>, tensor<?x4x?x4xf32>) -> tensor<?x4x?x8xf32>
  %0 = onnx.Mul %x, %cos : (tensor<?x4x?x8xf32>, tensor<?x1x?x8xf32>) -> tensor<?x4x?x8xf32>
  %1 = onnx.Mul %r, %sin : (tensor<?x4x?x8xf32>, tensor<?x1x?x8xf32>) -> tensor<?x4x?x8xf32>
  %2 = onnx.Add %0, %1 : (tensor<?x4x?x8xf32>, tensor<?x4x?x8xf32>) -> tensor<?x4x?x8xf32>
  return %2 : tensor<?x4x?x8xf32>
}
