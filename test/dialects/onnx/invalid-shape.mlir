// RUN: caat-opt %s -split-input-file -verify-diagnostics

func.func @count(%x: tensor<4x8xf32>, %s: tensor<2xi64>) {
  // expected-error @+1 {{turns 32 elements of shape [4, 8] into 30 of shape [3, 10]}}
  %0 = onnx.Reshape %x, %s : (tensor<4x8xf32>, tensor<2xi64>) -> tensor<3x10xf32>
  return
}

// -----

func.func @open(%x: tensor<4x8xf32>) {
  %s = onnx.Constant dense<-1> : tensor<2xi64>
  // expected-error @+1 {{shape [-1, -1] leaves more than one dimension open}}
  %0 = onnx.Reshape %x, %s : (tensor<4x8xf32>, tensor<2xi64>) -> tensor<?x?xf32>
  return
}

// -----

func.func @reshaped_rank(%x: tensor<4x8xf32>, %s: tensor<2xi64>) {
  // expected-error @+1 {{'reshaped' has rank 3, not 2}}
  %0 = onnx.Reshape %x, %s : (tensor<4x8xf32>, tensor<2xi64>) -> tensor<4x4x2xf32>
  return
}

// -----

func.func @flat(%x: tensor<4x8xf32>) {
  // expected-error @+1 {{axis 3 is outside [-2, 2]}}
  %0 = onnx.Flatten %x {axis = 3 : i64} : (tensor<4x8xf32>) -> tensor<?x?xf32>
  return
}

// -----

func.func @permutation(%x: tensor<4x8xf32>) {
  // expected-error @+1 {{perm [0, 0] is no permutation of 0 to 1}}
  %0 = onnx.Transpose %x {perm = array<i64: 0, 0>} : (tensor<4x8xf32>) -> tensor<4x4xf32>
  return
}

// -----

func.func @transposed(%x: tensor<4x8xf32>) {
  // expected-error @+1 {{'transposed' has shape [4, 8], not [8, 4]}}
  %0 = onnx.Transpose %x : (tensor<4x8xf32>) -> tensor<4x8xf32>
  return
}

// -----

func.func @squeezed(%x: tensor<4x8xf32>) {
  %axes = onnx.Constant dense<1> : tensor<1xi64>
  // expected-error @+1 {{dimension 1 has size 8, not 1}}
  %0 = onnx.Squeeze %x axes %axes : (tensor<4x8xf32>, tensor<1xi64>) -> tensor<*xf32>
  return
}

// -----

func.func @unsqueezed(%x: tensor<4x8xf32>) {
  %axes = onnx.Constant dense<3> : tensor<1xi64>
  // expected-error @+1 {{axis 3 is outside [-3, 3)}}
  %0 = onnx.Unsqueeze %x axes %axes : (tensor<4x8xf32>, tensor<1xi64>) -> tensor<*xf32>
  return
}

// -----

func.func @joined(%x: tensor<4x8xf32>, %y: tensor<5x7xf32>) {
  // expected-error @+1 {{inputs have sizes 8 and 7 in dimension 1}}
  %0 = onnx.Concat %x, %y {axis = 0 : i64} : (tensor<4x8xf32>, tensor<5x7xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @joined_rank(%x: tensor<4x8xf32>, %y: tensor<4xf32>) {
  // expected-error @+1 {{inputs have ranks 2 and 1}}
  %0 = onnx.Concat %x, %y {axis = 0 : i64} : (tensor<4x8xf32>, tensor<4xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @nothing() {
  // expected-error @+1 {{expected 1 or more operands, but found 0}}
  %0 = onnx.Concat {axis = 0 : i64} : () -> tensor<*xf32>
  return
}

// -----

func.func @neither(%x: tensor<4x8xf32>) {
  // expected-error @+1 {{needs exactly one of split and num_outputs}}
  %0:2 = onnx.Split %x : (tensor<4x8xf32>) -> (tensor<2x8xf32>, tensor<2x8xf32>)
  return
}

// -----

func.func @number(%x: tensor<4x8xf32>) {
  // expected-error @+1 {{has 2 results but num_outputs 3}}
  %0:2 = onnx.Split %x {num_outputs = 3 : i64} : (tensor<4x8xf32>) -> (tensor<2x8xf32>, tensor<2x8xf32>)
  return
}

// -----

func.func @sizes(%x: tensor<4x8xf32>) {
  %sizes = onnx.Constant dense<[1, 2]> : tensor<2xi64>
  // expected-error @+1 {{sizes add up to 3, not 4}}
  %0:2 = onnx.Split %x sizes %sizes : (tensor<4x8xf32>, tensor<2xi64>) -> (tensor<1x8xf32>, tensor<2x8xf32>)
  return
}

// -----

func.func @bounds(%x: tensor<4x8xf32>, %a: tensor<2xi64>, %b: tensor<1xi64>) {
  // expected-error @+1 {{'ends' has 1 elements, 'starts' has 2}}
  %0 = onnx.Slice %x, %a, %b : (tensor<4x8xf32>, tensor<2xi64>, tensor<1xi64>) -> tensor<?x?xf32>
  return
}

// -----

func.func @step(%x: tensor<4x8xf32>, %a: tensor<1xi64>) {
  %zero = onnx.Constant dense<0> : tensor<1xi64>
  // expected-error @+1 {{step 0}}
  %0 = onnx.Slice %x, %a, %a axes %a steps %zero : (tensor<4x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x?xf32>
  return
}

// -----

func.func @expanded(%x: tensor<4x8xf32>) {
  %shape = onnx.Constant dense<[2, 3, 8]> : tensor<3xi64>
  // expected-error @+1 {{'input' of shape [4, 8] and shape [2, 3, 8] cannot be broadcast}}
  %0 = onnx.Expand %x, %shape : (tensor<4x8xf32>, tensor<3xi64>) -> tensor<*xf32>
  return
}

// -----

func.func @tiled(%x: tensor<4x8xf32>, %r: tensor<3xi64>) {
  // expected-error @+1 {{'repeats' has 3 elements for rank 2}}
  %0 = onnx.Tile %x, %r : (tensor<4x8xf32>, tensor<3xi64>) -> tensor<*xf32>
  return
}

// -----

func.func @mode(%x: tensor<4x8xf32>, %p: tensor<4xi64>) {
  // expected-error @+1 {{mode 'zero' is none of constant, reflect, edge, wrap}}
  %0 = onnx.Pad %x, %p {mode = "zero"} : (tensor<4x8xf32>, tensor<4xi64>) -> tensor<?x?xf32>
  return
}

// -----

func.func @pads(%x: tensor<4x8xf32>, %p: tensor<3xi64>) {
  // expected-error @+1 {{'pads' has 3 elements, not 2 * 2}}
  %0 = onnx.Pad %x, %p : (tensor<4x8xf32>, tensor<3xi64>) -> tensor<?x?xf32>
  return
}

// -----

func.func @range(%x: tensor<f32>) {
  // expected-error @+1 {{'output' has rank 2, not 1}}
  %0 = onnx.Range %x, %x, %x : (tensor<f32>, tensor<f32>, tensor<f32>) -> tensor<1x4xf32>
  return
}

// -----

func.func @filled(%s: tensor<2xi64>) {
  // expected-error @+1 {{'value' has 2 elements, not 1}}
  %0 = onnx.ConstantOfShape %s {value = dense<1> : tensor<2xi64>} : (tensor<2xi64>) -> tensor<?x?xi64>
  return
}

// -----

func.func @filled_type(%s: tensor<2xi64>) {
  // expected-error @+1 {{without 'value' makes elements of type f32, not 'i64'}}
  %0 = onnx.ConstantOfShape %s : (tensor<2xi64>) -> tensor<?x?xi64>
  return
}

// -----

func.func @dims(%x: tensor<4x8xf32>) {
  // expected-error @+1 {{'shape' has shape [2], not [1]}}
  %0 = onnx.Shape %x {start = 1 : i64} : (tensor<4x8xf32>) -> tensor<2xi64>
  return
}

// -----

func.func @gathered(%x: tensor<4x8xf32>, %i: tensor<5xi64>) {
  // expected-error @+1 {{'output' has shape [5, 4], not [4, 5]}}
  %0 = onnx.Gather %x, %i {axis = 1 : i64} : (tensor<4x8xf32>, tensor<5xi64>) -> tensor<5x4xf32>
  return
}

// -----

func.func @indices(%x: tensor<4x8xf32>, %i: tensor<5xf32> {onnx.name = "input_ids"}) {
  // expected-error @+1 {{indices are the input 'input_ids' and have type 'f32'; expected i32 or i64}}
  %0 = onnx.Gather %x, %i : (tensor<4x8xf32>, tensor<5xf32>) -> tensor<5x8xf32>
  return
}

// -----

func.func @element_indices(%x: tensor<4x8xf32>, %i: tensor<4x8xui8>) {
  // expected-error @+1 {{indices have type 'ui8'; expected i32 or i64}}
  %0 = onnx.GatherElements %x, %i : (tensor<4x8xf32>, tensor<4x8xui8>) -> tensor<4x8xf32>
  return
}

// -----

func.func @tuple_indices(%x: tensor<4x8xf32>, %i: tensor<5x2xf32>) {
  // expected-error @+1 {{indices have type 'f32'; expected i32 or i64}}
  %0 = onnx.GatherND %x, %i : (tensor<4x8xf32>, tensor<5x2xf32>) -> tensor<5xf32>
  return
}

// -----

func.func @scatter_indices(%x: tensor<4xf32>, %i: tensor<5x1xf32>, %u: tensor<5xf32>) {
  // expected-error @+1 {{indices have type 'f32'; expected i32 or i64}}
  %0 = onnx.ScatterND %x, %i, %u : (tensor<4xf32>, tensor<5x1xf32>, tensor<5xf32>) -> tensor<4xf32>
  return
}

// -----

func.func @elements(%x: tensor<4x8xf32>, %i: tensor<5xi64>) {
  // expected-error @+1 {{'indices' has rank 1, not 2}}
  %0 = onnx.GatherElements %x, %i : (tensor<4x8xf32>, tensor<5xi64>) -> tensor<5xf32>
  return
}

// -----

func.func @batch_dims(%x: tensor<4x8xf32>, %i: tensor<4x2xi64>) {
  // expected-error @+1 {{batch_dims 2 is outside [0, 2)}}
  %0 = onnx.GatherND %x, %i {batch_dims = 2 : i64} : (tensor<4x8xf32>, tensor<4x2xi64>) -> tensor<*xf32>
  return
}

// -----

func.func @tuples(%x: tensor<4x8xf32>, %i: tensor<4x3xi64>) {
  // expected-error @+1 {{index tuples of 3 into 2 dimensions}}
  %0 = onnx.GatherND %x, %i : (tensor<4x8xf32>, tensor<4x3xi64>) -> tensor<*xf32>
  return
}

// -----

func.func @reduction(%x: tensor<4x8xf32>, %i: tensor<4x1xi64>) {
  // expected-error @+1 {{reduction 'mean' is none of none, add, mul, max, min}}
  %0 = onnx.ScatterND %x, %i, %x {reduction = "mean"} : (tensor<4x8xf32>, tensor<4x1xi64>, tensor<4x8xf32>) -> tensor<4x8xf32>
  return
}

// -----

func.func @scattered(%x: tensor<4x8xf32>, %i: tensor<1x8xi64>, %u: tensor<1x8xf32>) {
  // expected-error @+1 {{'output' has shape [1, 8], not [4, 8]}}
  %0 = onnx.ScatterElements %x, %i, %u : (tensor<4x8xf32>, tensor<1x8xi64>, tensor<1x8xf32>) -> tensor<1x8xf32>
  return
}

// -----

func.func @cache_mode(%x: tensor<4x8xf32>) {
  // expected-error @+1 {{mode 'ring' is none of linear, circular}}
  %0 = onnx.TensorScatter %x, %x {mode = "ring"} : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
  return
}

// -----

func.func @cache_axis(%x: tensor<4x8xf32>) {
  // expected-error @+1 {{axis -2 is the batch}}
  %0 = onnx.TensorScatter %x, %x : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
  return
}

// -----

func.func @one_hot(%i: tensor<4xi64>, %v: tensor<2xf32>) {
  %depth = onnx.Constant dense<7> : tensor<i64>
  // expected-error @+1 {{'output' has shape [4, 8], not [4, 7]}}
  %0 = onnx.OneHot %i, %depth, %v : (tensor<4xi64>, tensor<i64>, tensor<2xf32>) -> tensor<4x8xf32>
  return
}

// -----

func.func @reverse_axes(%x: tensor<6x2xf32>, %lengths: tensor<2xi64>) {
  // expected-error @+1 {{batch_axis and time_axis are both 1}}
  %0 = onnx.ReverseSequence %x, %lengths {time_axis = -1 : i64} : (tensor<6x2xf32>, tensor<2xi64>) -> tensor<6x2xf32>
  return
}

// -----

func.func @reverse_lengths(%x: tensor<6x2xf32>, %lengths: tensor<3xi64>) {
  // expected-error @+1 {{'sequence_lens' has shape [3], not [2]}}
  %0 = onnx.ReverseSequence %x, %lengths : (tensor<6x2xf32>, tensor<3xi64>) -> tensor<6x2xf32>
  return
}
