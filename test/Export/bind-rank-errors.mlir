// RUN: caat-opt %s -split-input-file -verify-diagnostics -onnx-bind-rank

tp.mesh @mesh <["dp" = 2, "tp" = 2]>
func.func @group(%x: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error@below {{cannot be written to ONNX: tp.all_reduce spans 2 of 4 ranks; ONNX Runtime's collectives span all of them}}
  %0 = tp.all_reduce %x on @mesh ["tp"] : tensor<4xf32>
  return %0 : tensor<4xf32>
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @ring(%x: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error@below {{cannot be written to ONNX: tp.permute has no counterpart among ONNX Runtime's collectives}}
  %0 = tp.permute %x shift 1 on @mesh ["tp"] : tensor<4xf32> -> tensor<4xf32>
  return %0 : tensor<4xf32>
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @integers(%x: tensor<4xi64>) -> tensor<4xi64> {
  // expected-error@below {{cannot be written to ONNX: tp.all_reduce sums elements that AllReduce does not take}}
  %0 = tp.all_reduce %x on @mesh ["tp"] : tensor<4xi64>
  return %0 : tensor<4xi64>
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @unsigned(%x: tensor<4xui64>) -> tensor<8xui64> {
  // expected-error@below {{cannot be written to ONNX: tp.all_gather moves elements that AllGather does not take}}
  %0 = tp.all_gather %x dim 0 on @mesh ["tp"] : tensor<4xui64> -> tensor<8xui64>
  return %0 : tensor<8xui64>
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @rounded(%x: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error@below {{cannot be written to ONNX: tp.quantized_all_reduce rounds what it sends, which no collective of ONNX Runtime does; export a plan without 'bits'}}
  %0:2 = tp.quantized_all_reduce %x bits 4 block 32 exact [] on @mesh ["tp"] : tensor<4xf32>
  return %0#0 : tensor<4xf32>
}
