// RUN: caat-opt %s --onnx-to-linalg --verify-diagnostics --split-input-file

module attributes {onnx.opset = 24 : i64} {
  func.func @named(%x: tensor<?xf32>) -> tensor<1x?xi64> {
    // expected-error @unknown {{node 'find' (NonZero, opset 24) must be executed but has no lowering}}
    %0 = onnx.NonZero %x : (tensor<?xf32>) -> tensor<1x?xi64> loc("find"(unknown))
    return %0 : tensor<1x?xi64>
  }
}

// -----

func.func @custom(%x: tensor<?xf32>) -> tensor<?xf32> {
  // expected-error @below {{(com.microsoft.BiasGelu, version 1) must be executed but has no lowering}}
  %0 = onnx.Custom "com.microsoft" "BiasGelu"(%x) {node_attributes = {}, version = 1 : i64} : (tensor<?xf32>) -> tensor<?xf32>
  return %0 : tensor<?xf32>
}

// -----

// The reason is part of the message where a pattern knows it.
func.func @axes(%x: tensor<?x4xf32>, %axes: tensor<1xi64>) -> tensor<?x?xf32> {
  // expected-error @below {{must be executed but has no lowering: axes are not constant}}
  %0 = onnx.ReduceSum %x axes %axes : (tensor<?x4xf32>, tensor<1xi64>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// -----

func.func @outside(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %axis = onnx.Constant dense<77> : tensor<i64>
  // expected-error @below {{must be executed but has no lowering: axis is outside of the rank}}
  %0 = onnx.CumSum %x, %axis : (tensor<?x4xf32>, tensor<i64>) -> tensor<?x4xf32>
  return %0 : tensor<?x4xf32>
}

// -----

func.func @blocks_outside(%x: tensor<4x6xi8>, %scale: tensor<2x6xf32>) -> tensor<4x6xf32> {
  // expected-error @below {{must be executed but has no lowering: axis is outside of the rank}}
  %0 = onnx.DequantizeLinear %x, %scale {axis = 9 : i64, block_size = 2 : i64} : (tensor<4x6xi8>, tensor<2x6xf32>) -> tensor<4x6xf32>
  return %0 : tensor<4x6xf32>
}
