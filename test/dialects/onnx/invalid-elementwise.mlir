// RUN: caat-opt %s -split-input-file -verify-diagnostics

func.func @shapes(%x: tensor<3x8xf32>, %y: tensor<4x1xf32>) {
  // expected-error @+1 {{operands of shapes [3, 8] and [4, 1] cannot be broadcast against each other}}
  %0 = onnx.Add %x, %y : (tensor<3x8xf32>, tensor<4x1xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @result(%x: tensor<4x8xf32>, %y: tensor<4x1xf32>) {
  // expected-error @+1 {{'result' has shape [4, 4], not [4, 8]}}
  %0 = onnx.Mul %x, %y : (tensor<4x8xf32>, tensor<4x1xf32>) -> tensor<4x4xf32>
  return
}

// -----

func.func @elements(%x: tensor<4xf32>, %y: tensor<4xi64>) {
  // expected-error @+1 {{requires the same element type for all operands and results}}
  %0 = onnx.Sub %x, %y : (tensor<4xf32>, tensor<4xi64>) -> tensor<4xf32>
  return
}

// -----

func.func @compared(%x: tensor<4xf32>) {
  // expected-error @+1 {{result #0 must be tensor of 1-bit signless integer values}}
  %0 = onnx.Equal %x, %x : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  return
}

// -----

func.func @no_operand() {
  // expected-error @+1 {{needs an operand}}
  %0 = onnx.Sum : () -> tensor<4xf32>
  return
}

// -----

func.func @approximation(%x: tensor<4xf32>) {
  // expected-error @+1 {{approximate 'erf' is none of none, tanh}}
  %0 = onnx.Gelu %x {approximate = "erf"} : (tensor<4xf32>) -> tensor<4xf32>
  return
}

// -----

func.func @cast(%x: tensor<4xf32>) {
  // expected-error @+1 {{converts to 'i64' but its result has elements of type 'i32'}}
  %0 = onnx.Cast %x to i64 : (tensor<4xf32>) -> tensor<4xi32>
  return
}

// -----

func.func @shift_direction(%x: tensor<4xui8>) {
  // expected-error @+1 {{direction}}
  %0 = onnx.BitShift %x, %x {direction = "UP"} : (tensor<4xui8>, tensor<4xui8>) -> tensor<4xui8>
  return
}

// -----

func.func @bit_cast_width(%x: tensor<4xf32>) {
  // expected-error @+1 {{elements of 'f32' and 'i16' have not as many bits}}
  %0 = onnx.BitCast %x to i16 : (tensor<4xf32>) -> tensor<4xi16>
  return
}

// -----

func.func @bit_cast_type(%x: tensor<4xf32>) {
  // expected-error @+1 {{converts to 'i32' but its result has elements of type 'ui32'}}
  %0 = onnx.BitCast %x to i32 : (tensor<4xf32>) -> tensor<4xui32>
  return
}
