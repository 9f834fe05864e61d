// An op without a rule between two products that are split.
onnx.initializer @w1 : tensor<12x38xf32> {file = "w", offset = 0 : i64, length = 1824 : i64}
onnx.initializer @w2 : tensor<38x12xf32> {file = "w", offset = 0 : i64, length = 1824 : i64}

func.func @main(%x: tensor<2x12xf32>) -> tensor<2x12xf32> {
  %w1 = onnx.get_initializer @w1 : tensor<12x38xf32>
  %w2 = onnx.get_initializer @w2 : tensor<38x12xf32>
  %0 = onnx.MatMul %x, %w1 : (tensor<2x12xf32>, tensor<12x38xf32>) -> tensor<2x38xf32>
  %1 = onnx.Custom "test" "Mix" (%0) {node_attributes = {}} : (tensor<2x38xf32>) -> tensor<2x38xf32> loc("mixer")
  %2 = onnx.MatMul %1, %w2 : (tensor<2x38xf32>, tensor<38x12xf32>) -> tensor<2x12xf32>
  %3 = onnx.Softmax %2 : (tensor<2x12xf32>) -> tensor<2x12xf32>
  return %3 : tensor<2x12xf32>
}
