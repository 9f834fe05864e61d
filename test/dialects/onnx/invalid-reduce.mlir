// RUN: caat-opt %s -split-input-file -verify-diagnostics

func.func @outside(%x: tensor<4x8xf32>) {
  %axes = onnx.Constant dense<2> : tensor<1xi64>
  // expected-error @+1 {{axis 2 is outside [-2, 2)}}
  %0 = onnx.ReduceSum %x axes %axes : (tensor<4x8xf32>, tensor<1xi64>) -> tensor<*xf32>
  return
}

// -----

func.func @twice(%x: tensor<4x8xf32>) {
  %axes = onnx.Constant dense<[1, -1]> : tensor<2xi64>
  // expected-error @+1 {{axis -1 stands twice}}
  %0 = onnx.ReduceProd %x axes %axes : (tensor<4x8xf32>, tensor<2xi64>) -> tensor<*xf32>
  return
}

// -----

func.func @kept(%x: tensor<4x8xf32>) {
  %axes = onnx.Constant dense<1> : tensor<1xi64>
  // expected-error @+1 {{'reduced' has shape [4], not [4, 1]}}
  %0 = onnx.ReduceMin %x axes %axes : (tensor<4x8xf32>, tensor<1xi64>) -> tensor<4xf32>
  return
}

// -----

func.func @computed_axes(%x: tensor<4x8xf32>, %axes: tensor<1xi64>) {
  // expected-error @+1 {{'reduced' has rank 1, not 2}}
  %0 = onnx.ReduceL1 %x axes %axes : (tensor<4x8xf32>, tensor<1xi64>) -> tensor<4xf32>
  return
}

// -----

func.func @arg(%x: tensor<4x8xf32>) {
  // expected-error @+1 {{axis -3 is outside [-2, 2)}}
  %0 = onnx.ArgMin %x {axis = -3 : i64} : (tensor<4x8xf32>) -> tensor<1x8xi64>
  return
}

// -----

func.func @top(%x: tensor<4x8xf32>) {
  %k = onnx.Constant dense<3> : tensor<1xi64>
  // expected-error @+1 {{'Values' has shape [4, 2], not [4, 3]}}
  %0:2 = onnx.TopK %x, %k : (tensor<4x8xf32>, tensor<1xi64>) -> (tensor<4x2xf32>, tensor<4x2xi64>)
  return
}

// -----

func.func @too_many(%x: tensor<4x8xf32>) {
  %k = onnx.Constant dense<9> : tensor<1xi64>
  // expected-error @+1 {{K is 9, with 8 elements along axis 1}}
  %0:2 = onnx.TopK %x, %k : (tensor<4x8xf32>, tensor<1xi64>) -> (tensor<4x9xf32>, tensor<4x9xi64>)
  return
}

// -----

func.func @softmax(%x: tensor<4x8xf32>) {
  // expected-error @+1 {{'output' has shape [8, 4], not [4, 8]}}
  %0 = onnx.Softmax %x : (tensor<4x8xf32>) -> tensor<8x4xf32>
  return
}

// -----

func.func @log_softmax(%x: tensor<4x8xf32>) {
  // expected-error @+1 {{axis 5 is outside [-2, 2)}}
  %0 = onnx.LogSoftmax %x {axis = 5 : i64} : (tensor<4x8xf32>) -> tensor<4x8xf32>
  return
}
