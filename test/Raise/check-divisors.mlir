// RUN: caat-opt %s --onnx-check-divisors --split-input-file --verify-diagnostics | FileCheck %s

// What only the run knows is checked once for each divisor, and names the node.

// CHECK-LABEL: func @inputs(
// CHECK-SAME: %[[A:[a-z0-9]+]]: tensor<?xi64> {{.*}}, %[[B:[a-z0-9]+]]: tensor<?xi64>
// CHECK: %[[ZERO:.*]] = onnx.Constant dense<0> : tensor<i64>
// CHECK: %[[IS:.*]] = onnx.Equal %[[B]], %[[ZERO]]
// CHECK: %[[COUNTED:.*]] = onnx.Cast %[[IS]] to i32
// CHECK: %[[MOST:.*]] = onnx.ReduceMax %[[COUNTED]]
// CHECK: %[[HOLDS:.*]] = onnx.LessOrEqual %[[MOST]]
// CHECK: onnx.check %[[HOLDS]], "node 'halve' (Div) divides by an integer that is 0" : tensor<i1>
// CHECK-NEXT: onnx.Div %[[A]], %[[B]]
// CHECK-NOT: onnx.check
// CHECK: onnx.Mod
func.func @inputs(%a: tensor<?xi64> {onnx.name = "a", onnx.dims = ["n"]},
                  %b: tensor<?xi64> {onnx.name = "b", onnx.dims = ["n"]}) -> (tensor<?xi64>, tensor<?xi64>) {
  %q = onnx.Div %a, %b : (tensor<?xi64>, tensor<?xi64>) -> tensor<?xi64> loc("halve")
  %r = onnx.Mod %a, %b : (tensor<?xi64>, tensor<?xi64>) -> tensor<?xi64> loc("rest")
  return %q, %r : tensor<?xi64>, tensor<?xi64>
}

// -----

// What cannot be zero costs nothing; neither do floats, and what nobody reads.

// CHECK-LABEL: func @known(
// CHECK-NOT: onnx.check
func.func @known(%a: tensor<?xi64> {onnx.name = "a", onnx.dims = ["n"]},
                 %b: tensor<?xi64> {onnx.name = "b", onnx.dims = ["n"]},
                 %f: tensor<?xf32> {onnx.name = "f", onnx.dims = ["n"]})
    -> (tensor<?xi64>, tensor<?xi64>, tensor<?xi64>, tensor<?xf32>) {
  %two = onnx.Constant dense<[-2]> : tensor<1xi64>
  %one = onnx.Constant dense<1> : tensor<i64>
  %0 = onnx.Div %a, %two : (tensor<?xi64>, tensor<1xi64>) -> tensor<?xi64>
  %positive = onnx.Max %b, %one : (tensor<?xi64>, tensor<i64>) -> tensor<?xi64>
  %1 = onnx.Div %a, %positive : (tensor<?xi64>, tensor<?xi64>) -> tensor<?xi64>
  %s = onnx.Shape %a : (tensor<?xi64>) -> tensor<1xi64>
  %next = onnx.Add %s, %one : (tensor<1xi64>, tensor<i64>) -> tensor<1xi64>
  %2 = onnx.Mod %a, %next : (tensor<?xi64>, tensor<1xi64>) -> tensor<?xi64>
  %3 = onnx.Div %f, %f : (tensor<?xf32>, tensor<?xf32>) -> tensor<?xf32>
  %dead = onnx.Div %a, %b : (tensor<?xi64>, tensor<?xi64>) -> tensor<?xi64>
  return %0, %1, %2, %3 : tensor<?xi64>, tensor<?xi64>, tensor<?xi64>, tensor<?xf32>
}

// -----

// A size is checked by itself.

// CHECK-LABEL: func @size(
// CHECK-SAME: %[[A:[a-z0-9]+]]: tensor<?xi64>
// CHECK: %[[N:.*]] = tensor.dim %[[A]]
// CHECK: %[[GOOD:.*]] = arith.cmpi ne, %[[N]]
// CHECK: %[[HOLDS:.*]] = tensor.from_elements %[[GOOD]] : tensor<i1>
// CHECK: onnx.check %[[HOLDS]], "node 'share' (Div) divides by n, which is 0"
func.func @size(%a: tensor<?xi64> {onnx.name = "a", onnx.dims = ["n"]},
                %b: tensor<?xi64> {onnx.name = "b", onnx.dims = ["m"]}) -> tensor<?xi64> {
  %s = onnx.Shape %a : (tensor<?xi64>) -> tensor<1xi64>
  %0 = onnx.Div %b, %s : (tensor<?xi64>, tensor<1xi64>) -> tensor<?xi64> loc("share")
  return %0 : tensor<?xi64>
}

// -----

func.func @constant(%a: tensor<3xi32>) -> tensor<3xi32> {
  %c = onnx.Constant dense<[1, 0, 2]> : tensor<3xi32>
  // expected-error @+1 {{(Mod) divides by a constant whose element 1 is 0}}
  %0 = onnx.Mod %a, %c : (tensor<3xi32>, tensor<3xi32>) -> tensor<3xi32>
  return %0 : tensor<3xi32>
}
