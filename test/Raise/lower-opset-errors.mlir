// RUN: caat-opt %s -split-input-file -verify-diagnostics -onnx-lower-opset

func.func @scatter(%x: tensor<2x8x4xf32>, %u: tensor<2x1x4xf32>) -> tensor<2x8x4xf32> {
  // expected-error@below {{TensorScatter came with opset 24 and cannot be written in opset 18: it has no older form}}
  %0 = onnx.TensorScatter %x, %u : (tensor<2x8x4xf32>, tensor<2x1x4xf32>) -> tensor<2x8x4xf32>
  return %0 : tensor<2x8x4xf32>
}

// -----

func.func @heads(%x: tensor<2x?x3x8xf32>) -> tensor<2x?x3x8xf32> {
  // expected-error@below {{Attention came with opset 23 and cannot be written in opset 18: its numbers of heads or their size are not known}}
  %0 = onnx.Attention %x, %x, %x {resultSegmentSizes = array<i32: 1, 0, 0, 0>} : (tensor<2x?x3x8xf32>, tensor<2x?x3x8xf32>, tensor<2x?x3x8xf32>) -> tensor<2x?x3x8xf32>
  return %0 : tensor<2x?x3x8xf32>
}
