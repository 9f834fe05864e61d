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

// Samples stay apart where they are merged with heads, and beside copies made for each of them.
// CHECK: module attributes {caat.batch = "batch"}
module {
  func.func @main(%x: tensor<?x3x?x4xf32> {onnx.dims = ["batch", "", "seq", ""]}, %keys: tensor<3x16x4xf32>,
                  %row: tensor<1x1x?x16xf32> {onnx.dims = ["", "", "seq", ""]}) -> tensor<?x3x?x16xf32> {
    %c0 = arith.constant 0 : index
    %c2 = arith.constant 2 : index
    %one = arith.constant 1 : i64
    %three = arith.constant 3 : i64
    %four = arith.constant 4 : i64
    %width = arith.constant 16 : i64
    %all = arith.constant -1 : i64
    %b = tensor.dim %x, %c0 : tensor<?x3x?x4xf32>
    %s = tensor.dim %x, %c2 : tensor<?x3x?x4xf32>
    %bi = arith.index_cast %b : index to i64
    %si = arith.index_cast %s : index to i64
    %merged = tensor.from_elements %all, %si, %four : tensor<3xi64>
    %0 = onnx.Reshape %x, %merged : (tensor<?x3x?x4xf32>, tensor<3xi64>) -> tensor<?x?x4xf32>
    %often = tensor.from_elements %bi, %one, %one : tensor<3xi64>
    %1 = onnx.Tile %keys, %often : (tensor<3x16x4xf32>, tensor<3xi64>) -> tensor<?x16x4xf32>
    %2 = onnx.Transpose %1 {perm = array<i64: 0, 2, 1>} : (tensor<?x16x4xf32>) -> tensor<?x4x16xf32>
    %3 = onnx.MatMul %0, %2 : (tensor<?x?x4xf32>, tensor<?x4x16xf32>) -> tensor<?x?x16xf32>
    %parts = tensor.from_elements %bi, %three, %si, %width : tensor<4xi64>
    %4 = onnx.Reshape %3, %parts : (tensor<?x?x16xf32>, tensor<4xi64>) -> tensor<?x3x?x16xf32>
    %rows = tensor.from_elements %bi, %three, %one, %one : tensor<4xi64>
    %5 = onnx.Tile %row, %rows : (tensor<1x1x?x16xf32>, tensor<4xi64>) -> tensor<?x3x?x16xf32>
    %6 = onnx.Add %4, %5 : (tensor<?x3x?x16xf32>, tensor<?x3x?x16xf32>) -> tensor<?x3x?x16xf32>
    return %6 : tensor<?x3x?x16xf32>
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

// -----

// Copies of the samples themselves.
module {
  // expected-error@below {{the first dimension of result 0 is not that of the samples}}
  func.func @main(%x: tensor<?x4xf32> {onnx.dims = ["batch", ""]}) -> tensor<?x4xf32> {
    %twice = onnx.Constant dense<[2, 1]> : tensor<2xi64>
    %0 = onnx.Tile %x, %twice : (tensor<?x4xf32>, tensor<2xi64>) -> tensor<?x4xf32>
    return %0 : tensor<?x4xf32>
  }
}

// -----

module {
  // expected-error@below {{(RMSNormalization) sums over them}}
  func.func @main(%x: tensor<?x4xf32> {onnx.dims = ["batch", ""]}) -> tensor<?x4xf32> {
    %scale = onnx.Constant dense<1.0> : tensor<1xf32>
    %0 = onnx.Transpose %x {perm = array<i64: 1, 0>} : (tensor<?x4xf32>) -> tensor<4x?xf32>
    %1 = onnx.RMSNormalization %0, %scale : (tensor<4x?xf32>, tensor<1xf32>) -> tensor<4x?xf32>
    %2 = onnx.Transpose %1 {perm = array<i64: 1, 0>} : (tensor<4x?xf32>) -> tensor<?x4xf32>
    return %2 : tensor<?x4xf32>
  }
}

// -----

// A part whose size is the batch's is not the part of each sample.
module {
  // expected-error@below {{(Split) needs them all: a dimension is cut at places that are not known}}
  func.func @main(%x: tensor<?x4xf32> {onnx.dims = ["batch", ""]}, %t: tensor<64xf32> {onnx.dims = [""]}) -> tensor<?x4xf32> {
    %c0 = arith.constant 0 : index
    %one = onnx.Constant dense<1> : tensor<1xi64>
    %b = tensor.dim %x, %c0 : tensor<?x4xf32>
    %c64 = arith.constant 64 : index
    %r = arith.subi %c64, %b : index
    %bi = arith.index_cast %b : index to i64
    %ri = arith.index_cast %r : index to i64
    %sizes = tensor.from_elements %bi, %ri : tensor<2xi64>
    %0:2 = onnx.Split %t sizes %sizes {axis = 0 : i64} : (tensor<64xf32>, tensor<2xi64>) -> (tensor<?xf32>, tensor<?xf32>)
    %1 = onnx.Unsqueeze %0#0 axes %one : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
    %2 = onnx.Add %x, %1 : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
    return %2 : tensor<?x4xf32>
  }
}
