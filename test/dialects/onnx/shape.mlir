// RUN: caat-opt %s | caat-opt | FileCheck %s

// CHECK-LABEL: func @reshape
func.func @reshape(%x: tensor<?x4x8xf32>, %shape: tensor<4xi64>) {
  // CHECK: onnx.Reshape %{{.*}}, %{{.*}} {allowzero = 1 : i64} : (tensor<?x4x8xf32>, tensor<4xi64>) -> tensor<?x4x2x4xf32>
  %0 = onnx.Reshape %x, %shape {allowzero = 1 : i64} : (tensor<?x4x8xf32>, tensor<4xi64>) -> tensor<?x4x2x4xf32>
  // CHECK: onnx.Flatten %{{.*}} {axis = -1 : i64} : (tensor<?x4x8xf32>) -> tensor<?x8xf32>
  %1 = onnx.Flatten %x {axis = -1 : i64} : (tensor<?x4x8xf32>) -> tensor<?x8xf32>
  // CHECK: onnx.Transpose %{{.*}} {perm = array<i64: 0, 2, 1>}
  %2 = onnx.Transpose %x {perm = array<i64: 0, 2, 1>} : (tensor<?x4x8xf32>) -> tensor<?x8x4xf32>
  // CHECK: onnx.Transpose %{{.*}} : (tensor<?x4x8xf32>) -> tensor<8x4x?xf32>
  %3 = onnx.Transpose %x : (tensor<?x4x8xf32>) -> tensor<8x4x?xf32>
  %axes = onnx.Constant dense<[1, -1]> : tensor<2xi64>
  // CHECK: %[[U:.*]] = onnx.Unsqueeze %{{.*}} axes %{{.*}} : {{.*}} -> tensor<?x1x4x8x1xf32>
  %4 = onnx.Unsqueeze %x axes %axes : (tensor<?x4x8xf32>, tensor<2xi64>) -> tensor<?x1x4x8x1xf32>
  // CHECK: onnx.Squeeze %[[U]] axes %{{.*}} : {{.*}} -> tensor<?x4x8xf32>
  %5 = onnx.Squeeze %4 axes %axes : (tensor<?x1x4x8x1xf32>, tensor<2xi64>) -> tensor<?x4x8xf32>
  // CHECK: onnx.Squeeze %[[U]] : (tensor<?x1x4x8x1xf32>) -> tensor<*xf32>
  %6 = onnx.Squeeze %4 : (tensor<?x1x4x8x1xf32>) -> tensor<*xf32>
  return
}

// CHECK-LABEL: func @pieces
func.func @pieces(%x: tensor<?x4x8xf32>, %i: tensor<1xi64>) {
  // CHECK: onnx.Concat %{{.*}}, %{{.*}} {axis = 1 : i64} : {{.*}} -> tensor<?x8x8xf32>
  %0 = onnx.Concat %x, %x {axis = 1 : i64} : (tensor<?x4x8xf32>, tensor<?x4x8xf32>) -> tensor<?x8x8xf32>
  // CHECK: onnx.Split %{{.*}} {axis = 2 : i64, num_outputs = 3 : i64} : {{.*}} -> (tensor<?x4x3xf32>, tensor<?x4x3xf32>, tensor<?x4x2xf32>)
  %1:3 = onnx.Split %x {axis = 2 : i64, num_outputs = 3 : i64} : (tensor<?x4x8xf32>) -> (tensor<?x4x3xf32>, tensor<?x4x3xf32>, tensor<?x4x2xf32>)
  %sizes = onnx.Constant dense<[1, 7]> : tensor<2xi64>
  // CHECK: onnx.Split %{{.*}} sizes %{{.*}} {axis = -1 : i64}
  %2:2 = onnx.Split %x sizes %sizes {axis = -1 : i64} : (tensor<?x4x8xf32>, tensor<2xi64>) -> (tensor<?x4x1xf32>, tensor<?x4x7xf32>)
  // CHECK: onnx.Slice %{{.*}}, %{{.*}}, %{{.*}} axes %{{.*}} steps %{{.*}} :
  %3 = onnx.Slice %x, %i, %i axes %i steps %i : (tensor<?x4x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x4x?xf32>
  // CHECK: onnx.Slice %{{.*}}, %{{.*}}, %{{.*}} steps %{{.*}} :
  %4 = onnx.Slice %x, %i, %i steps %i : (tensor<?x4x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x4x8xf32>
  return
}

// CHECK-LABEL: func @larger
func.func @larger(%x: tensor<1x4x8xf32>, %three: tensor<3xi64>, %six: tensor<6xi64>, %v: tensor<f32>, %k: tensor<i64>) {
  // CHECK: onnx.Expand {{.*}} -> tensor<?x4x8xf32>
  %0 = onnx.Expand %x, %three : (tensor<1x4x8xf32>, tensor<3xi64>) -> tensor<?x4x8xf32>
  // CHECK: onnx.Tile
  %1 = onnx.Tile %x, %three : (tensor<1x4x8xf32>, tensor<3xi64>) -> tensor<?x?x?xf32>
  // CHECK: onnx.Pad %{{.*}}, %{{.*}} value %{{.*}} :
  %2 = onnx.Pad %x, %six value %v : (tensor<1x4x8xf32>, tensor<6xi64>, tensor<f32>) -> tensor<?x?x?xf32>
  // CHECK: onnx.Trilu %{{.*}} diagonal %{{.*}} {upper = 0 : i64}
  %3 = onnx.Trilu %x diagonal %k {upper = 0 : i64} : (tensor<1x4x8xf32>, tensor<i64>) -> tensor<1x4x8xf32>
  // CHECK: onnx.Range {{.*}} -> tensor<?xi64>
  %4 = onnx.Range %k, %k, %k : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  // CHECK: onnx.ConstantOfShape %{{.*}} {value = dense<1> : tensor<1xi64>}
  %5 = onnx.ConstantOfShape %three {value = dense<1> : tensor<1xi64>} : (tensor<3xi64>) -> tensor<?x?x?xi64>
  // CHECK: onnx.Shape %{{.*}} {end = -1 : i64, start = 1 : i64} : {{.*}} -> tensor<1xi64>
  %6 = onnx.Shape %x {start = 1 : i64, end = -1 : i64} : (tensor<1x4x8xf32>) -> tensor<1xi64>
  // CHECK: onnx.Size
  %7 = onnx.Size %x : (tensor<1x4x8xf32>) -> tensor<i64>
  return
}

// CHECK-LABEL: func @indices
func.func @indices(%x: tensor<16x8xf32>, %ids: tensor<?x?xi64>, %e: tensor<4x8xi64>, %nd: tensor<?x2xi64>, %u: tensor<?xf32>, %s: tensor<4x8xf32>,
                   %cache: tensor<2x4x64x8xf32>, %new: tensor<2x4x1x8xf32>, %at: tensor<2xi64>, %d: tensor<i64>, %v: tensor<2xf32>) {
  // CHECK: onnx.Gather {{.*}} -> tensor<?x?x8xf32>
  %0 = onnx.Gather %x, %ids : (tensor<16x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
  // CHECK: onnx.GatherElements {{.*}} -> tensor<4x8xf32>
  %1 = onnx.GatherElements %x, %e : (tensor<16x8xf32>, tensor<4x8xi64>) -> tensor<4x8xf32>
  // CHECK: onnx.GatherND {{.*}} -> tensor<?xf32>
  %2 = onnx.GatherND %x, %nd : (tensor<16x8xf32>, tensor<?x2xi64>) -> tensor<?xf32>
  // CHECK: onnx.ScatterND {{.*}} {reduction = "add"}
  %3 = onnx.ScatterND %x, %nd, %u {reduction = "add"} : (tensor<16x8xf32>, tensor<?x2xi64>, tensor<?xf32>) -> tensor<16x8xf32>
  // CHECK: onnx.ScatterElements
  %4 = onnx.ScatterElements %x, %e, %s : (tensor<16x8xf32>, tensor<4x8xi64>, tensor<4x8xf32>) -> tensor<16x8xf32>
  // CHECK: onnx.TensorScatter %{{.*}}, %{{.*}} at %{{.*}} {mode = "circular"}
  %5 = onnx.TensorScatter %cache, %new at %at {mode = "circular"} : (tensor<2x4x64x8xf32>, tensor<2x4x1x8xf32>, tensor<2xi64>) -> tensor<2x4x64x8xf32>
  // CHECK: onnx.OneHot {{.*}} -> tensor<?x?x?xf32>
  %6 = onnx.OneHot %ids, %d, %v : (tensor<?x?xi64>, tensor<i64>, tensor<2xf32>) -> tensor<?x?x?xf32>
  return
}

// CHECK-LABEL: func @sequences
func.func @sequences(%x: tensor<6x?x3xf32>, %lengths: tensor<?xi64>) {
  // CHECK: onnx.ReverseSequence %{{.*}}, %{{.*}} : (tensor<6x?x3xf32>, tensor<?xi64>) -> tensor<6x?x3xf32>
  %0 = onnx.ReverseSequence %x, %lengths : (tensor<6x?x3xf32>, tensor<?xi64>) -> tensor<6x?x3xf32>
  return
}
