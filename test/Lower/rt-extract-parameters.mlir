// RUN: caat-opt %s --rt-extract-parameters | FileCheck %s
// RUN: caat-opt %s --rt-extract-parameters=constants=true | FileCheck %s --check-prefix=CONST
// RUN: caat-opt %s --rt-extract-parameters --remarks-filter=caat -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK

onnx.initializer @w : tensor<4x8xf32> {file = "w", offset = 0 : i64, length = 128 : i64}
onnx.initializer @b : tensor<8xf32> {file = "w", offset = 128 : i64, length = 32 : i64}
onnx.initializer @w3 : tensor<2x4x8xf32> {file = "w", offset = 160 : i64, length = 256 : i64}
tp.mesh @mesh <["tp" = 2]>

// Equal expressions are one weight; the same initializer in another form is another.
// CHECK-DAG: rt.weight @[[$W:.*]] linear : tensor<4x8xf32> {
// CHECK-DAG: rt.weight @[[$T:.*]] linear transposed : tensor<2x8xf32> {
// CHECK-DAG: onnx.Gather %{{.*}}, %{{.*}} : (tensor<4x8xf32>, tensor<2xi64>) -> tensor<2x8xf32>
// CHECK-DAG: rt.weight @[[$B:b_[0-9]*]] : tensor<8xf32> {
// CHECK-DAG: rt.weight @[[$W3:w3[_0-9]*]] : tensor<2x4x8xf32> {
// CONST-DAG: arith.constant dense<[1.000000e+00, 2.000000e+00
// CHECK-NOT: rt.weight

// CHECK-LABEL: func.func @products(
// CHECK-SAME:    %[[X:[a-z0-9]*]]: tensor<?x?x4xf32>, %[[Y:[a-z0-9]*]]: tensor<?x8xf32>
func.func @products(%x: tensor<?x?x4xf32>, %y: tensor<?x8xf32>) -> (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x2xf32>, tensor<?x?x8xf32>, tensor<?x2xf32>) {
  %w = onnx.get_initializer @w : tensor<4x8xf32>
  // CHECK: rt.linear @[[$W]] ins(%[[X]] : tensor<?x?x4xf32>) outs(%{{.*}} : tensor<?x?x8xf32>)
  %0 = onnx.MatMul %x, %w : (tensor<?x?x4xf32>, tensor<4x8xf32>) -> tensor<?x?x8xf32>
  %w2 = onnx.get_initializer @w : tensor<4x8xf32>
  // CHECK: rt.linear @[[$W]] ins(%[[X]]
  %1 = onnx.MatMul %x, %w2 : (tensor<?x?x4xf32>, tensor<4x8xf32>) -> tensor<?x?x8xf32>

  // A shard of a transposed weight is stored as the shard, transposed.
  %t = onnx.Transpose %w {perm = array<i64: 1, 0>} : (tensor<4x8xf32>) -> tensor<8x4xf32>
  %s = tp.shard %t dim 1 pieces [[[0, 2]], [[2, 2]]] size 2 : tensor<8x4xf32> -> tensor<8x2xf32>
  // CHECK: rt.linear @[[$T]] ins(%[[Y]] : tensor<?x8xf32>) outs(%{{.*}} : tensor<?x2xf32>)
  %2 = onnx.MatMul %y, %s : (tensor<?x8xf32>, tensor<8x2xf32>) -> tensor<?x2xf32>

  // So is a choice of its columns.
  // CHECK: rt.linear @[[$S:.*]] ins(%[[Y]] : tensor<?x8xf32>) outs(%{{.*}} : tensor<?x2xf32>)
  %i = onnx.Constant dense<[3, 0]> : tensor<2xi64>
  %g = onnx.Gather %t, %i {axis = 1 : i64} : (tensor<8x4xf32>, tensor<2xi64>) -> tensor<8x2xf32>
  %5 = onnx.MatMul %y, %g : (tensor<?x8xf32>, tensor<8x2xf32>) -> tensor<?x2xf32>

  // Any other use reads a buffer.
  // CHECK: %[[P:.*]] = rt.parameter @[[$B]] : tensor<8xf32>
  // CHECK: onnx.Add %{{.*}}, %[[P]]
  %b = onnx.get_initializer @b : tensor<8xf32>
  %3 = onnx.Add %0, %b : (tensor<?x?x8xf32>, tensor<8xf32>) -> tensor<?x?x8xf32>

  // CHECK: arith.addf %{{.*}}, %cst
  // CONST: %[[C:.*]] = rt.parameter @constant : tensor<8xf32>
  // CONST: arith.addf %{{.*}}, %[[C]]
  %c = arith.constant dense<[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]> : tensor<8xf32>
  %4 = arith.addf %b, %c : tensor<8xf32>
  %6 = onnx.Add %1, %4 : (tensor<?x?x8xf32>, tensor<8xf32>) -> tensor<?x?x8xf32>
  return %3, %1, %2, %6, %5 : tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x2xf32>, tensor<?x?x8xf32>, tensor<?x2xf32>
}

// What becomes a linear product, and what stays a loop and why.
// REMARK-DAG: [Passed] extract-parameters {{.*}}product by weight 'w{{[_0-9]*}}'"
// REMARK-DAG: [Passed] extract-parameters {{.*}}, stored transposed"
// REMARK-DAG: [Missed] extract-parameters {{.*}}product stays a loop: its second operand is no weight"
// REMARK-DAG: [Missed] extract-parameters {{.*}}product stays a loop: its second operand is a weight of another rank than 2"
// CHECK-LABEL: func.func @loops(
func.func @loops(%x: tensor<2x3x4xf32>, %y: tensor<2x4x5xf32>) -> (tensor<2x3x5xf32>, tensor<2x3x8xf32>) {
  // CHECK-COUNT-2: onnx.MatMul
  %w = onnx.get_initializer @w3 : tensor<2x4x8xf32>
  %0 = onnx.MatMul %x, %y : (tensor<2x3x4xf32>, tensor<2x4x5xf32>) -> tensor<2x3x5xf32>
  %1 = onnx.MatMul %x, %w : (tensor<2x3x4xf32>, tensor<2x4x8xf32>) -> tensor<2x3x8xf32>
  return %0, %1 : tensor<2x3x5xf32>, tensor<2x3x8xf32>
}

// What a region reads stands in front of it: the region may become a kernel, which is handed its parameters.
// CONST-LABEL: func.func @region(
// CONST: %[[P:.*]] = rt.parameter @constant{{[_0-9]*}} : tensor<8xf32>
// CONST: linalg.generic
// CONST: tensor.extract %[[P]]
func.func @region(%x: tensor<8xindex>, %out: tensor<8xf32>) -> tensor<8xf32> {
  %table = arith.constant dense<[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.5]> : tensor<8xf32>
  %0 = linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>], iterator_types = ["parallel"]}
      ins(%x : tensor<8xindex>) outs(%out : tensor<8xf32>) {
  ^bb0(%i: index, %o: f32):
    %v = tensor.extract %table[%i] : tensor<8xf32>
    linalg.yield %v : f32
  } -> tensor<8xf32>
  return %0 : tensor<8xf32>
}
