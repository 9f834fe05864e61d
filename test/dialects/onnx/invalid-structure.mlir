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

// -----

func.func @yield_count(%c: tensor<i1>, %x: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error @+1 {{'else_branch' yields 0 values, not 1}}
  %a = onnx.If %c {
    onnx.Yield %x : tensor<4xf32>
  } else {
    onnx.Yield
  } : (tensor<i1>) -> tensor<4xf32>
  return %a : tensor<4xf32>
}

// -----

func.func @yield_type(%c: tensor<i1>, %x: tensor<4xi64>) -> tensor<4xf32> {
  // expected-error @+1 {{'then_branch' yields elements of type 'i64' for result 0, which has 'f32'}}
  %a = onnx.If %c {
    onnx.Yield %x : tensor<4xi64>
  } else {
    onnx.Yield %x : tensor<4xi64>
  } : (tensor<i1>) -> tensor<4xf32>
  return %a : tensor<4xf32>
}

// -----

func.func @loop_arguments(%x: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error @+1 {{'body' has 1 arguments, not 3}}
  %a = onnx.Loop carry %x {
  ^bb0(%v: tensor<4xf32>):
    onnx.Yield %v : tensor<4xf32>
  } : (tensor<4xf32>) -> tensor<4xf32>
  return %a : tensor<4xf32>
}

// -----

func.func @loop_results(%x: tensor<4xf32>) {
  // expected-error @+1 {{has 0 results, fewer than its 1 carried values}}
  onnx.Loop carry %x {
  ^bb0(%i: tensor<i64>, %go: tensor<i1>, %v: tensor<4xf32>):
    onnx.Yield %go : tensor<i1>
  } : (tensor<4xf32>) -> ()
  return
}

// -----

func.func @loop_condition(%x: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error @+1 {{'body' yields 'tensor<i64>' as its condition}}
  %a = onnx.Loop carry %x {
  ^bb0(%i: tensor<i64>, %go: tensor<i1>, %v: tensor<4xf32>):
    onnx.Yield %i, %v : tensor<i64>, tensor<4xf32>
  } : (tensor<4xf32>) -> tensor<4xf32>
  return %a : tensor<4xf32>
}

// -----

func.func @scan_inputs(%x: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error @+1 {{num_scan_inputs is 2, not in 1 to 1}}
  %a = onnx.Scan %x {
  ^bb0(%v: tensor<f32>):
    onnx.Yield %v : tensor<f32>
  } {num_scan_inputs = 2 : i64} : (tensor<4xf32>) -> tensor<4xf32>
  return %a : tensor<4xf32>
}

// -----

func.func @no_yield(%x: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error @+1 {{'body' does not end in onnx.Yield}}
  %a = "onnx.Scan"(%x) ({
  ^bb0(%v: tensor<f32>):
    return %v : tensor<f32>
  }) {num_scan_inputs = 1 : i64} : (tensor<4xf32>) -> tensor<4xf32>
  return %a : tensor<4xf32>
}

// -----

func.func @unpack_bits(%b: tensor<8x16xui8>) -> tensor<8x16xui8> {
  // expected-error @+1 {{bits is 8, not 2 or 4}}
  %q = onnx.unpack %b {bits = 8 : i64} : (tensor<8x16xui8>) -> tensor<8x16xui8>
  return %q : tensor<8x16xui8>
}

// -----

func.func @unpack_shape(%b: tensor<8x16xui8>) -> tensor<8x16xui8> {
  // expected-error @+1 {{'unpacked' has shape [8, 16], not [8, 64]}}
  %q = onnx.unpack %b {bits = 2 : i64} : (tensor<8x16xui8>) -> tensor<8x16xui8>
  return %q : tensor<8x16xui8>
}
