// RUN: caat-opt %s | caat-opt | FileCheck %s

// CHECK-LABEL: func @unary
// CHECK-SAME: (%[[X:.*]]: tensor<?x8xf32>
func.func @unary(%x: tensor<?x8xf32>, %b: tensor<4xi1>) {
  // CHECK: onnx.Neg %[[X]] : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %0 = onnx.Neg %x : (tensor<?x8xf32>) -> tensor<?x8xf32>
  // CHECK: onnx.Exp %[[X]]
  %1 = onnx.Exp %x : (tensor<?x8xf32>) -> tensor<?x8xf32>
  // The default is not printed, another value is.
  // CHECK: onnx.LeakyRelu %[[X]] :
  %2 = onnx.LeakyRelu %x {alpha = 0.01 : f32} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  // CHECK: onnx.LeakyRelu %[[X]] {alpha = 2.000000e-01 : f32}
  %3 = onnx.LeakyRelu %x {alpha = 0.2 : f32} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  // CHECK: onnx.Gelu %[[X]] {approximate = "tanh"}
  %4 = onnx.Gelu %x {approximate = "tanh"} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  // CHECK: onnx.IsInf %[[X]] {detect_negative = 0 : i64} : (tensor<?x8xf32>) -> tensor<?x8xi1>
  %5 = onnx.IsInf %x {detect_negative = 0 : i64} : (tensor<?x8xf32>) -> tensor<?x8xi1>
  // CHECK: onnx.Cast %[[X]] to bf16 : (tensor<?x8xf32>) -> tensor<?x8xbf16>
  %6 = onnx.Cast %x to bf16 : (tensor<?x8xf32>) -> tensor<?x8xbf16>
  // CHECK: onnx.CastLike
  %7 = onnx.CastLike %x, %6 : (tensor<?x8xf32>, tensor<?x8xbf16>) -> tensor<?x8xbf16>
  // CHECK: onnx.Not
  %8 = onnx.Not %b : (tensor<4xi1>) -> tensor<4xi1>
  // CHECK: onnx.Selu %[[X]] :
  %9 = onnx.Selu %x : (tensor<?x8xf32>) -> tensor<?x8xf32>
  // Shapes that are not known yet are legal.
  // CHECK: onnx.Sigmoid %[[X]] : (tensor<?x8xf32>) -> tensor<*xf32>
  %10 = onnx.Sigmoid %x : (tensor<?x8xf32>) -> tensor<*xf32>
  return
}

// CHECK-LABEL: func @broadcast
func.func @broadcast(%x: tensor<?x1x8xf32>, %y: tensor<4x1xf32>, %c: tensor<8xi1>, %s: tensor<f32>, %i: tensor<i64>) {
  // CHECK: onnx.Add %{{.*}}, %{{.*}} : (tensor<?x1x8xf32>, tensor<4x1xf32>) -> tensor<?x4x8xf32>
  %0 = onnx.Add %x, %y : (tensor<?x1x8xf32>, tensor<4x1xf32>) -> tensor<?x4x8xf32>
  // CHECK: onnx.Pow %{{.*}}, %{{.*}} : (tensor<4x1xf32>, tensor<i64>) -> tensor<4x1xf32>
  %1 = onnx.Pow %y, %i : (tensor<4x1xf32>, tensor<i64>) -> tensor<4x1xf32>
  // CHECK: onnx.LessOrEqual {{.*}} -> tensor<?x4x8xi1>
  %2 = onnx.LessOrEqual %x, %y : (tensor<?x1x8xf32>, tensor<4x1xf32>) -> tensor<?x4x8xi1>
  // CHECK: onnx.Max %{{.*}}, %{{.*}}, %{{.*}} : (
  %3 = onnx.Max %x, %y, %s : (tensor<?x1x8xf32>, tensor<4x1xf32>, tensor<f32>) -> tensor<?x4x8xf32>
  // CHECK: onnx.Clip %{{.*}} max %{{.*}} : (tensor<4x1xf32>, tensor<f32>) -> tensor<4x1xf32>
  %4 = onnx.Clip %y max %s : (tensor<4x1xf32>, tensor<f32>) -> tensor<4x1xf32>
  // CHECK: onnx.Clip %{{.*}} min %{{.*}} max %{{.*}} : (
  %5 = onnx.Clip %y min %s max %s : (tensor<4x1xf32>, tensor<f32>, tensor<f32>) -> tensor<4x1xf32>
  // CHECK: onnx.Where {{.*}} -> tensor<4x8xf32>
  %6 = onnx.Where %c, %y, %s : (tensor<8xi1>, tensor<4x1xf32>, tensor<f32>) -> tensor<4x8xf32>
  // CHECK: onnx.PRelu
  %7 = onnx.PRelu %y, %s : (tensor<4x1xf32>, tensor<f32>) -> tensor<4x1xf32>
  // CHECK: onnx.Mod %{{.*}}, %{{.*}} {fmod = 1 : i64}
  %8 = onnx.Mod %x, %s {fmod = 1 : i64} : (tensor<?x1x8xf32>, tensor<f32>) -> tensor<?x1x8xf32>
  return
}

// CHECK-LABEL: func @bits
func.func @bits(%x: tensor<?x8xui8>, %y: tensor<8xui8>, %f: tensor<4xf32>) {
  // CHECK: onnx.BitShift %{{.*}}, %{{.*}} {direction = "LEFT"} : (tensor<?x8xui8>, tensor<8xui8>) -> tensor<?x8xui8>
  %0 = onnx.BitShift %x, %y {direction = "LEFT"} : (tensor<?x8xui8>, tensor<8xui8>) -> tensor<?x8xui8>
  // CHECK: onnx.BitwiseAnd {{.*}} -> tensor<?x8xui8>
  %1 = onnx.BitwiseAnd %x, %y : (tensor<?x8xui8>, tensor<8xui8>) -> tensor<?x8xui8>
  // CHECK: onnx.BitwiseNot
  %2 = onnx.BitwiseNot %x : (tensor<?x8xui8>) -> tensor<?x8xui8>
  // CHECK: onnx.BitCast %{{.*}} to i32 : (tensor<4xf32>) -> tensor<4xi32>
  %3 = onnx.BitCast %f to i32 : (tensor<4xf32>) -> tensor<4xi32>
  // CHECK: onnx.Shrink %{{.*}} {bias = 1.000000e+00 : f32} : (tensor<4xf32>) -> tensor<4xf32>
  %4 = onnx.Shrink %f {bias = 1.0 : f32} : (tensor<4xf32>) -> tensor<4xf32>
  // CHECK: onnx.Atanh
  %5 = onnx.Atanh %f : (tensor<4xf32>) -> tensor<4xf32>
  return
}
