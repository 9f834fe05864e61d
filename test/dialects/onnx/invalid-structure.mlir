// RUN: caat-opt %s -split-input-file -verify-diagnostics

// expected-error @+1 {{has 500 bytes, 'tensor<16x8xf32>' needs 512}}
onnx.initializer @w : tensor<16x8xf32> {file = "w.bin", offset = 0 : i64, length = 500 : i64}

// -----

// expected-error @+1 {{has the offset -1}}
onnx.initializer @w : tensor<16x8xf32> {file = "w.bin", offset = -1 : i64, length = 512 : i64}

// -----

// expected-error @+1 {{whose size in bytes is not known or too large}}
onnx.initializer @w : tensor<?x8xf32> {file = "w.bin", offset = 0 : i64, length = 512 : i64}

// -----

// expected-error @+1 {{whose size in bytes is not known or too large}}
onnx.initializer @w : tensor<4611686018427387904x8xf32> {file = "w.bin", offset = 0 : i64, length = 512 : i64}

// -----

// expected-error @+1 {{has the file '../w.bin', which contains '..'}}
onnx.initializer @w : tensor<16x8xf32> {file = "../w.bin", offset = 0 : i64, length = 512 : i64}

// -----

// expected-error @+1 {{has the file '/etc/passwd', which is absolute}}
onnx.initializer @w : tensor<16x8xf32> {file = "/etc/passwd", offset = 0 : i64, length = 512 : i64}

// -----

// expected-error @+1 {{has the file '', which is empty}}
onnx.initializer @w : tensor<16x8xf32> {file = "", offset = 0 : i64, length = 512 : i64}

// -----

// expected-error @+1 {{has the file 'https://host/w', which is a URL or names a drive}}
onnx.initializer @w : tensor<16x8xf32> {file = "https://host/w", offset = 0 : i64, length = 512 : i64}

// -----

func.func @unknown() {
  // expected-error @+1 {{'w' is no onnx.initializer}}
  %w = onnx.get_initializer @w : tensor<16x8xf32>
  return
}

// -----

onnx.initializer @w : tensor<16x8xf32> {file = "w.bin", offset = 0 : i64, length = 512 : i64}

func.func @type() {
  // expected-error @+1 {{has type 'tensor<8x16xf32>' but the initializer has 'tensor<16x8xf32>'}}
  %w = onnx.get_initializer @w : tensor<8x16xf32>
  return
}

// -----

// expected-error@+1 {{'func.func' op has 'onnx.dims' that are no list of strings: ["batch", 4]}}
func.func private @dims(tensor<?x4xf32> {onnx.dims = ["batch", 4]})

// -----

// expected-error@+1 {{'func.func' op has an 'onnx.name' that is no string: 1}}
func.func private @name(tensor<4xf32>) -> (tensor<4xf32> {onnx.name = 1})
