// RUN: caat-opt %s --split-input-file --tp-find-batch --verify-diagnostics | FileCheck %s

// Rows pass through products, reshapes that merge them with positions, and attention-free element-wise ops.
// CHECK: module attributes {caat.batch = "batch"}
module {
  func.func @main(%x: tensor<?x?x4xf32> {onnx.dims = ["batch", "seq", ""]}, %w: tensor<4x4xf32>) -> tensor<?x?x4xf32> {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %four = arith.constant 4 : i64
    %flat = onnx.Constant dense<[-1, 4]> : tensor<2xi64>
    %b = tensor.dim %x, %c0 : tensor<?x?x4xf32>
    %s = tensor.dim %x, %c1 : tensor<?x?x4xf32>
    %bi = arith.index_cast %b : index to i64
    %si = arith.index_cast %s : index to i64
    %shape = tensor.from_elements %bi, %si, %four : tensor<3xi64>
    %0 = onnx.Reshape %x, %flat : (tensor<?x?x4xf32>, tensor<2xi64>) -> tensor<?x4xf32>
    %1 = onnx.MatMul %0, %w : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
    %2 = onnx.Relu %1 : (tensor<?x4xf32>) -> tensor<?x4xf32>
    %3 = onnx.Reshape %2, %shape : (tensor<?x4xf32>, tensor<3xi64>) -> tensor<?x?x4xf32>
    return %3 : tensor<?x?x4xf32>
  }
}

// -----

module {
  // expected-error@below {{the samples along 'batch' cannot be divided over the ranks (--strategy=rtp): (ReduceMean) sums over them}}
  func.func @main(%x: tensor<?x4xf32> {onnx.dims = ["batch", ""]}) -> tensor<?x4xf32> {
    %axes = onnx.Constant dense<0> : tensor<1xi64>
    %0 = onnx.ReduceMean %x axes %axes {keepdims = 1 : i64} : (tensor<?x4xf32>, tensor<1xi64>) -> tensor<1x4xf32>
    %1 = onnx.Sub %x, %0 : (tensor<?x4xf32>, tensor<1x4xf32>) -> tensor<?x4xf32>
    return %1 : tensor<?x4xf32>
  }
}

// -----

module {
  // expected-error@below {{(MatMul) sums over them}}
  func.func @main(%x: tensor<?x4xf32> {onnx.dims = ["batch", ""]}) -> tensor<4x4xf32> {
    %0 = onnx.Transpose %x {perm = array<i64: 1, 0>} : (tensor<?x4xf32>) -> tensor<4x?xf32>
    %1 = onnx.MatMul %0, %x : (tensor<4x?xf32>, tensor<?x4xf32>) -> tensor<4x4xf32>
    return %1 : tensor<4x4xf32>
  }
}

// -----

module {
  // expected-error@below {{computes with their number}}
  func.func @main(%x: tensor<?x4xf32> {onnx.dims = ["batch", ""]}) -> tensor<?x4xf32> {
    %c0 = arith.constant 0 : index
    %b = tensor.dim %x, %c0 : tensor<?x4xf32>
    %bi = arith.index_cast %b : index to i64
    %n = tensor.from_elements %bi : tensor<1xi64>
    %f = onnx.Cast %n to f32 : (tensor<1xi64>) -> tensor<1xf32>
    %1 = onnx.Div %x, %f : (tensor<?x4xf32>, tensor<1xf32>) -> tensor<?x4xf32>
    return %1 : tensor<?x4xf32>
  }
}

// -----

module {
  // expected-error@below {{the first dimension of result 0 is not that of the samples}}
  func.func @main(%x: tensor<?x4xf32> {onnx.dims = ["batch", ""]}) -> tensor<4x?xf32> {
    %0 = onnx.Transpose %x {perm = array<i64: 1, 0>} : (tensor<?x4xf32>) -> tensor<4x?xf32>
    return %0 : tensor<4x?xf32>
  }
}

// -----

module {
  // expected-error@below {{the first dimension of every input has a fixed size: export the model with a dynamic batch}}
  func.func @main(%x: tensor<2x4xf32> {onnx.dims = ["", ""]}) -> tensor<2x4xf32> {
    return %x : tensor<2x4xf32>
  }
}

// -----

module {
  // expected-error@below {{dimension 1 of argument 0 has that size too}}
  func.func @main(%x: tensor<?x?xf32> {onnx.dims = ["batch", "batch"]}) -> tensor<?x?xf32> {
    return %x : tensor<?x?xf32>
  }
}
