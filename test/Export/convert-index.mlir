// RUN: caat-opt %s -split-input-file -verify-diagnostics -onnx-convert-index | FileCheck %s

// CHECK-LABEL: func @sizes
// CHECK-SAME: (%[[X:.*]]: tensor<?x?x8xf32>)
func.func @sizes(%x: tensor<?x?x8xf32>) -> (tensor<3xi64>, tensor<i32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c8 = arith.constant 8 : i64
  // CHECK-DAG: %[[EIGHT:.*]] = onnx.Constant dense<8> : tensor<1xi64>
  // CHECK-DAG: %[[A:.*]] = onnx.Shape %[[X]] {end = 1 : i64} : (tensor<?x?x8xf32>) -> tensor<1xi64>
  %a = tensor.dim %x, %c0 : tensor<?x?x8xf32>
  // CHECK-DAG: %[[B:.*]] = onnx.Shape %[[X]] {end = 2 : i64, start = 1 : i64} : (tensor<?x?x8xf32>) -> tensor<1xi64>
  %b = tensor.dim %x, %c1 : tensor<?x?x8xf32>
  // CHECK: %[[SUM:.*]] = onnx.Add %[[A]], %[[B]]
  %sum = arith.addi %a, %b : index
  %i = arith.index_cast %a : index to i64
  %j = arith.index_cast %sum : index to i64
  // CHECK: %[[LIST:.*]] = onnx.Concat %[[A]], %[[SUM]], %[[EIGHT]] {axis = 0 : i64}
  %list = tensor.from_elements %i, %j, %c8 : tensor<3xi64>
  // CHECK: %[[HALF:.*]] = onnx.Cast %[[SUM]] to i32
  // CHECK: %[[SCALAR:.*]] = onnx.Reshape %[[HALF]], %{{.*}} -> tensor<i32>
  %k = arith.index_cast %sum : index to i32
  %scalar = tensor.from_elements %k : tensor<i32>
  // CHECK: return %[[LIST]], %[[SCALAR]]
  return %list, %scalar : tensor<3xi64>, tensor<i32>
}

// -----

// Rounding down and up, where ONNX rounds towards zero.
// CHECK-LABEL: func @division
// CHECK-SAME: (%[[X:.*]]: tensor<?x?xf32>)
func.func @division(%x: tensor<?x?xf32>) -> tensor<2xi64> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  // CHECK: %[[A:.*]] = onnx.Shape
  // CHECK: %[[B:.*]] = onnx.Shape
  %a = tensor.dim %x, %c0 : tensor<?x?xf32>
  %b = tensor.dim %x, %c1 : tensor<?x?xf32>
  // CHECK: %[[MOD:.*]] = onnx.Mod %[[A]], %[[B]] :
  // CHECK: %[[EVEN:.*]] = onnx.Sub %[[A]], %[[MOD]]
  // CHECK: %[[DOWN:.*]] = onnx.Div %[[EVEN]], %[[B]]
  %down = arith.floordivsi %a, %b : index
  // CHECK: %[[NEG:.*]] = onnx.Neg %[[A]]
  // CHECK: onnx.Mod %[[NEG]], %[[B]]
  // CHECK: %[[LOW:.*]] = onnx.Div
  // CHECK: %[[UP:.*]] = onnx.Neg %[[LOW]]
  %up = arith.ceildivsi %a, %b : index
  %i = arith.index_cast %down : index to i64
  %j = arith.index_cast %up : index to i64
  // CHECK: onnx.Concat %[[DOWN]], %[[UP]]
  %list = tensor.from_elements %i, %j : tensor<2xi64>
  return %list : tensor<2xi64>
}

// -----

// CHECK-LABEL: func @condition
func.func @condition(%x: tensor<?xf32>) -> (tensor<i1>, tensor<2xi1>) {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %a = tensor.dim %x, %c0 : tensor<?xf32>
  // CHECK: %[[LE:.*]] = onnx.LessOrEqual %{{.*}}, %{{.*}} : (tensor<1xi64>, tensor<1xi64>) -> tensor<1xi1>
  %le = arith.cmpi ule, %a, %c64 : index
  // CHECK: %[[EQ:.*]] = onnx.Equal
  // CHECK: %[[NE:.*]] = onnx.Not %[[EQ]]
  %ne = arith.cmpi ne, %a, %c64 : index
  // CHECK: %[[FLAG:.*]] = onnx.Reshape %[[LE]], %{{.*}} -> tensor<i1>
  %flag = tensor.from_elements %le : tensor<i1>
  // CHECK: %[[BOTH:.*]] = onnx.Concat %[[LE]], %[[NE]] {axis = 0 : i64} : (tensor<1xi1>, tensor<1xi1>) -> tensor<2xi1>
  %both = tensor.from_elements %le, %ne : tensor<2xi1>
  return %flag, %both : tensor<i1>, tensor<2xi1>
}

// -----

func.func @unknown(%x: tensor<?xf32>) -> index {
  %c0 = arith.constant 0 : index
  %a = tensor.dim %x, %c0 : tensor<?xf32>
  // expected-error@below {{cannot be written to ONNX: arith.xori has no ONNX form}}
  %b = arith.xori %a, %a : index
  return %b : index
}
