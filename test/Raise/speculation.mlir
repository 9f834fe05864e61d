// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Both branches of an If run only where neither can fail the run.
// RUN: caat-opt %s --onnx-fold-control-flow=final --split-input-file -verify-diagnostics -o %t
// RUN: FileCheck %s < %t

// As many elements for every n and m; sizes that fit; a part that is cut to what is there; an end that is known.
// CHECK-LABEL: func.func @possible
// CHECK-NOT: onnx.If
// CHECK: onnx.Where
func.func @possible(%x: tensor<?x4x?xf32> {onnx.dims = ["n", "", "m"], onnx.name = "x"}, %w: tensor<4x4xf32>, %ids: tensor<?xi64> {onnx.dims = ["n"], onnx.name = "ids"}, %c: tensor<i1>) -> tensor<*xf32> {
  %rows = onnx.Constant dense<[0, -1, 4]> : tensor<3xi64>
  %zero = onnx.Constant dense<0> : tensor<1xi64>
  %three = onnx.Constant dense<3> : tensor<1xi64>
  %nine = onnx.Constant dense<9> : tensor<1xi64>
  %one = onnx.Constant dense<1> : tensor<1xi64>
  %z = onnx.If %c {
    %flat = onnx.Reshape %x, %rows : (tensor<?x4x?xf32>, tensor<3xi64>) -> tensor<?x?x4xf32>
    %p = onnx.MatMul %flat, %w : (tensor<?x?x4xf32>, tensor<4x4xf32>) -> tensor<?x?x4xf32>
    %part = onnx.Slice %w, %zero, %three : (tensor<4x4xf32>, tensor<1xi64>, tensor<1xi64>) -> tensor<3x4xf32>
    %looked = onnx.Gather %part, %ids {axis = 0 : i64} : (tensor<3x4xf32>, tensor<?xi64>) -> tensor<?x4xf32>
    %column = onnx.Unsqueeze %looked axes %one : (tensor<?x4xf32>, tensor<1xi64>) -> tensor<?x1x4xf32>
    %sum = onnx.Add %p, %column : (tensor<?x?x4xf32>, tensor<?x1x4xf32>) -> tensor<?x?x4xf32>
    %few = onnx.Slice %sum, %zero, %nine axes %one : (tensor<?x?x4xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x?x4xf32>
    %s = onnx.ReduceSum %few axes %one {keepdims = 0 : i64, noop_with_empty_axes = 0 : i64} : (tensor<?x?x4xf32>, tensor<1xi64>) -> tensor<?x4xf32>
    onnx.Yield %s : tensor<?x4xf32>
  } else {
    %flat = onnx.Reshape %x, %rows : (tensor<?x4x?xf32>, tensor<3xi64>) -> tensor<?x?x4xf32>
    %most = onnx.ReduceMax %flat axes %one {keepdims = 0 : i64, noop_with_empty_axes = 0 : i64} : (tensor<?x?x4xf32>, tensor<1xi64>) -> tensor<?x4xf32>
    onnx.Yield %most : tensor<?x4xf32>
  } : (tensor<i1>) -> tensor<*xf32>
  return %z : tensor<*xf32>
}

// -----

// Pairs of a length that may be odd.
func.func @pairs(%x: tensor<?xf32> {onnx.dims = ["n"], onnx.name = "x"}, %y: tensor<f32>, %c: tensor<i1> {onnx.dims = [], onnx.name = "c"}) -> tensor<*xf32> {
  %shape = onnx.Constant dense<[-1, 2]> : tensor<2xi64>
  %axes = onnx.Constant dense<[0, 1]> : tensor<2xi64>
  // expected-error @+1 {{node (If): which branch runs is only known at run time, and node 'pairs' (Reshape) may fail the run where its branch is not taken; it follows from input 'c': give its value}}
  %z = onnx.If %c {
    %p = onnx.Reshape %x, %shape : (tensor<?xf32>, tensor<2xi64>) -> tensor<?x2xf32> loc("pairs")
    %s = onnx.ReduceSum %p axes %axes {keepdims = 0 : i64, noop_with_empty_axes = 0 : i64} : (tensor<?x2xf32>, tensor<2xi64>) -> tensor<f32>
    onnx.Yield %s : tensor<f32>
  } else {
    onnx.Yield %y : tensor<f32>
  } : (tensor<i1>) -> tensor<*xf32>
  return %z : tensor<*xf32>
}

// -----

// The same, but nothing reads them.
// CHECK-LABEL: func.func @unused
// CHECK-NOT: onnx.Reshape
// CHECK: onnx.Where
func.func @unused(%x: tensor<?xf32> {onnx.dims = ["n"], onnx.name = "x"}, %y: tensor<f32>, %c: tensor<i1>) -> tensor<*xf32> {
  %shape = onnx.Constant dense<[-1, 2]> : tensor<2xi64>
  %z = onnx.If %c {
    %p = onnx.Reshape %x, %shape : (tensor<?xf32>, tensor<2xi64>) -> tensor<?x2xf32>
    %n = onnx.Neg %p : (tensor<?x2xf32>) -> tensor<?x2xf32>
    %m = onnx.Neg %y : (tensor<f32>) -> tensor<f32>
    onnx.Yield %m : tensor<f32>
  } else {
    onnx.Yield %y : tensor<f32>
  } : (tensor<i1>) -> tensor<*xf32>
  return %z : tensor<*xf32>
}

// -----

// Sizes that a product needs to be equal; the If inside is known.
func.func @product(%x: tensor<4x?xf32> {onnx.dims = ["", "n"], onnx.name = "x"}, %v: tensor<?xf32> {onnx.dims = ["k"], onnx.name = "v"}, %y: tensor<4xf32>, %c: tensor<i1> {onnx.dims = [], onnx.name = "c"}) -> tensor<*xf32> {
  %true = onnx.Constant dense<true> : tensor<i1>
  // expected-error @+1 {{node 'product' (MatMul) may fail the run}}
  %z = onnx.If %c {
    %i = onnx.If %true {
      %p = onnx.MatMul %x, %v : (tensor<4x?xf32>, tensor<?xf32>) -> tensor<4xf32> loc("product")
      onnx.Yield %p : tensor<4xf32>
    } else {
      onnx.Yield %y : tensor<4xf32>
    } : (tensor<i1>) -> tensor<4xf32>
    onnx.Yield %i : tensor<4xf32>
  } else {
    onnx.Yield %y : tensor<4xf32>
  } : (tensor<i1>) -> tensor<*xf32>
  return %z : tensor<*xf32>
}

// -----

// Sizes that are broadcast if one is 1.
func.func @broadcast(%x: tensor<?xf32> {onnx.dims = ["n"], onnx.name = "x"}, %v: tensor<?xf32> {onnx.dims = ["k"], onnx.name = "v"}, %y: tensor<f32>, %c: tensor<i1> {onnx.dims = [], onnx.name = "c"}) -> tensor<*xf32> {
  %axes = onnx.Constant dense<0> : tensor<1xi64>
  // expected-error @+1 {{node 'sum' (Add) may fail the run}}
  %z = onnx.If %c {
    onnx.Yield %y : tensor<f32>
  } else {
    %a = onnx.Add %x, %v : (tensor<?xf32>, tensor<?xf32>) -> tensor<?xf32> loc("sum")
    %s = onnx.ReduceSum %a axes %axes {keepdims = 0 : i64, noop_with_empty_axes = 0 : i64} : (tensor<?xf32>, tensor<1xi64>) -> tensor<f32>
    onnx.Yield %s : tensor<f32>
  } : (tensor<i1>) -> tensor<*xf32>
  return %z : tensor<*xf32>
}

// -----

// A table of eight positions, cut to a length that may be larger.
func.func @table(%x: tensor<?xf32> {onnx.dims = ["n"], onnx.name = "x"}, %c: tensor<i1> {onnx.dims = [], onnx.name = "c"}) -> tensor<*xf32> {
  %table = onnx.Constant dense<[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]> : tensor<8xf32>
  %start = onnx.Constant dense<0> : tensor<1xi64>
  %n = onnx.Shape %x {start = 0 : i64} : (tensor<?xf32>) -> tensor<1xi64>
  // expected-error @+1 {{node 'angles' (Slice) may fail the run}}
  %z = onnx.If %c {
    %p = onnx.Slice %table, %start, %n : (tensor<8xf32>, tensor<1xi64>, tensor<1xi64>) -> tensor<?xf32> loc("angles")
    onnx.Yield %p : tensor<?xf32>
  } else {
    onnx.Yield %x : tensor<?xf32>
  } : (tensor<i1>) -> tensor<*xf32>
  return %z : tensor<*xf32>
}

// -----

// The sixth of maybe five.
func.func @index(%x: tensor<?xf32> {onnx.dims = ["n"], onnx.name = "x"}, %y: tensor<f32>, %c: tensor<i1> {onnx.dims = [], onnx.name = "c"}) -> tensor<*xf32> {
  %five = onnx.Constant dense<5> : tensor<i64>
  // expected-error @+1 {{node 'sixth' (Gather) may fail the run}}
  %z = onnx.If %c {
    %p = onnx.Gather %x, %five {axis = 0 : i64} : (tensor<?xf32>, tensor<i64>) -> tensor<f32> loc("sixth")
    onnx.Yield %p : tensor<f32>
  } else {
    onnx.Yield %y : tensor<f32>
  } : (tensor<i1>) -> tensor<*xf32>
  return %z : tensor<*xf32>
}

// -----

// A size that may be negative, and one that only the inputs' elements say.
func.func @negative(%x: tensor<?xf32> {onnx.dims = ["n"], onnx.name = "x"}, %y: tensor<f32>, %c: tensor<i1> {onnx.dims = [], onnx.name = "c"}) -> tensor<*xf32> {
  %five = onnx.Constant dense<5> : tensor<1xi64>
  %axes = onnx.Constant dense<0> : tensor<1xi64>
  %n = onnx.Shape %x {start = 0 : i64} : (tensor<?xf32>) -> tensor<1xi64>
  // expected-error @+1 {{node 'rest' (ConstantOfShape) may fail the run}}
  %z = onnx.If %c {
    %less = onnx.Sub %n, %five : (tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
    %p = onnx.ConstantOfShape %less : (tensor<1xi64>) -> tensor<?xf32> loc("rest")
    %s = onnx.ReduceSum %p axes %axes {keepdims = 0 : i64, noop_with_empty_axes = 0 : i64} : (tensor<?xf32>, tensor<1xi64>) -> tensor<f32>
    onnx.Yield %s : tensor<f32>
  } else {
    onnx.Yield %y : tensor<f32>
  } : (tensor<i1>) -> tensor<*xf32>
  return %z : tensor<*xf32>
}

// -----

func.func @range(%limit: tensor<i64>, %y: tensor<i64>, %c: tensor<i1> {onnx.dims = [], onnx.name = "c"}) -> tensor<*xi64> {
  %zero = onnx.Constant dense<0> : tensor<i64>
  %one = onnx.Constant dense<1> : tensor<i64>
  %axes = onnx.Constant dense<0> : tensor<1xi64>
  // expected-error @+1 {{node 'places' (Range) may fail the run}}
  %z = onnx.If %c {
    %p = onnx.Range %zero, %limit, %one : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64> loc("places")
    %s = onnx.ReduceSum %p axes %axes {keepdims = 0 : i64, noop_with_empty_axes = 0 : i64} : (tensor<?xi64>, tensor<1xi64>) -> tensor<i64>
    onnx.Yield %s : tensor<i64>
  } else {
    onnx.Yield %y : tensor<i64>
  } : (tensor<i1>) -> tensor<*xi64>
  return %z : tensor<*xi64>
}
