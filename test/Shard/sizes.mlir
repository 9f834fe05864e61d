// Sizes that do not divide: padded with a warning, or refused with the sizes that work.
// RUN: split-file %s %t
// RUN: caat-opt %t/warn.mlir --tp-auto-shard=size=4 -verify-diagnostics -o %t.out
// RUN: caat-opt %t/exact.mlir --tp-auto-shard="size=4 pad=0" -verify-diagnostics
// RUN: caat-opt %t/large.mlir --tp-auto-shard=size=40 -verify-diagnostics
// RUN: caat-opt %t/zero.mlir --tp-auto-shard=size=0 -verify-diagnostics
// RUN: caat-opt %t/nothing.mlir --tp-auto-shard=size=2 -verify-diagnostics -o %t.out
// RUN: caat-opt %t/mesh.mlir --tp-auto-shard=size=2 -verify-diagnostics
// RUN: caat-opt %t/no-mesh.mlir --tp-partition -verify-diagnostics
// RUN: caat-opt %t/twice.mlir --tp-partition -verify-diagnostics
// RUN: caat-opt %t/unknown.mlir --tp-partition -verify-diagnostics
// RUN: caat-opt %t/unpaddable.mlir --tp-shard-pipeline=size=4 --remarks-filter=caat 2>&1 | FileCheck %s

//--- warn.mlir
onnx.initializer @w1 : tensor<12x30xf32> {file = "w", offset = 0 : i64, length = 1440 : i64}
// expected-warning @below {{30 parts on 4 ranks: padded with zeros to 32 (1 place)}}
func.func @main(%x: tensor<?x12xf32>) -> tensor<?x30xf32> {
  %w1 = onnx.get_initializer @w1 : tensor<12x30xf32>
  %0 = onnx.MatMul %x, %w1 : (tensor<?x12xf32>, tensor<12x30xf32>) -> tensor<?x30xf32>
  return %0 : tensor<?x30xf32>
}

//--- exact.mlir
onnx.initializer @w1 : tensor<12x30xf32> {file = "w", offset = 0 : i64, length = 1440 : i64}
// expected-error @below {{needs padding on 4 ranks; sizes that need none: 1, 2, 3, 5, 6, 10, 15, 30}}
func.func @main(%x: tensor<?x12xf32>) -> tensor<?x30xf32> {
  %w1 = onnx.get_initializer @w1 : tensor<12x30xf32>
  %0 = onnx.MatMul %x, %w1 : (tensor<?x12xf32>, tensor<12x30xf32>) -> tensor<?x30xf32>
  return %0 : tensor<?x30xf32>
}

//--- large.mlir
onnx.initializer @w1 : tensor<12x30xf32> {file = "w", offset = 0 : i64, length = 1440 : i64}
// expected-error @below {{cannot be split over 40 ranks: the widest dimension has 30 parts; sizes that can: 1 to 30}}
func.func @main(%x: tensor<?x12xf32>) -> tensor<?x30xf32> {
  %w1 = onnx.get_initializer @w1 : tensor<12x30xf32>
  %0 = onnx.MatMul %x, %w1 : (tensor<?x12xf32>, tensor<12x30xf32>) -> tensor<?x30xf32>
  return %0 : tensor<?x30xf32>
}

//--- zero.mlir
// expected-error @below {{the number of ranks must be at least 1, not 0}}
module {
}

//--- nothing.mlir
// expected-warning @below {{nothing can be split: every rank computes everything}}
func.func @main(%x: tensor<?x12xf32>) -> tensor<?x12xf32> {
  return %x : tensor<?x12xf32>
}

//--- mesh.mlir
// expected-error @below {{is not a mesh of 2 ranks along "tp"}}
tp.mesh @mesh <["tp" = 4]>

//--- no-mesh.mlir
// expected-error @below {{has no tp.mesh @mesh with an axis "tp"; run tp-auto-shard first}}
module {
}

//--- twice.mlir
tp.mesh @mesh <["tp" = 2]>
func.func @main(%x: tensor<4x12xf32>) -> tensor<4x12xf32> {
  // expected-error @below {{a value of this op would be split in two dimensions over the same ranks}}
  %0 = onnx.Relu %x {caat.operand_shardings = [#tp.sharding<[[], ["tp"]]>], caat.result_shardings = [#tp.sharding<[["tp"], []]>]} : (tensor<4x12xf32>) -> tensor<4x12xf32>
  return %0 : tensor<4x12xf32>
}

//--- unknown.mlir
tp.mesh @mesh <["tp" = 2]>
func.func @main(%x: tensor<?x12xf32>) -> tensor<?x12xf32> {
  // expected-error @below {{dimension 0 cannot be split: its size is 1 or not known, or the op has no rule}}
  %0 = onnx.Softmax %x {caat.result_shardings = [#tp.sharding<[["tp"], []]>]} : (tensor<?x12xf32>) -> tensor<?x12xf32>
  return %0 : tensor<?x12xf32>
}

//--- unpaddable.mlir
// Padded elements would be 1 / 0, and 0 times that is no number: this class must divide.
// CHECK: [Missed] split {{.*}}is not finite at zero, so its 30 parts cannot be padded for 4 ranks
// CHECK-NOT: size 8
onnx.initializer @w1 : tensor<12x30xf32> {file = "w", offset = 0 : i64, length = 1440 : i64}
func.func @main(%x: tensor<?x12xf32>) -> tensor<?x30xf32> {
  %w1 = onnx.get_initializer @w1 : tensor<12x30xf32>
  %0 = onnx.MatMul %x, %w1 : (tensor<?x12xf32>, tensor<12x30xf32>) -> tensor<?x30xf32>
  %1 = onnx.Reciprocal %0 : (tensor<?x30xf32>) -> tensor<?x30xf32>
  return %1 : tensor<?x30xf32>
}
