// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: caat-opt %s --onnx-fold-control-flow --split-input-file | FileCheck %s
// RUN: caat-opt %s --onnx-fold-control-flow=final --split-input-file -verify-diagnostics -o %t.final
// RUN: FileCheck %s --check-prefix=FINAL < %t.final

// The condition follows from a shape; the branch that is not taken goes, the nested one too.
// CHECK-LABEL: func.func @known
// CHECK-NOT: onnx.If
// CHECK: %[[N:.*]] = onnx.Neg %arg0
// CHECK-NOT: onnx.Exp
// CHECK: return %[[N]]
func.func @known(%x: tensor<2x?xf32>) -> tensor<*xf32> {
  %shape = onnx.Shape %x {start = 0 : i64, end = 1 : i64} : (tensor<2x?xf32>) -> tensor<1xi64>
  %two = onnx.Constant dense<2> : tensor<1xi64>
  %c = onnx.Equal %shape, %two : (tensor<1xi64>, tensor<1xi64>) -> tensor<1xi1>
  %y = onnx.If %c {
    %same = onnx.Equal %two, %two : (tensor<1xi64>, tensor<1xi64>) -> tensor<1xi1>
    %z = onnx.If %same {
      %n = onnx.Neg %x : (tensor<2x?xf32>) -> tensor<2x?xf32>
      onnx.Yield %n : tensor<2x?xf32>
    } else {
      onnx.Yield %x : tensor<2x?xf32>
    } : (tensor<1xi1>) -> tensor<2x?xf32>
    onnx.Yield %z : tensor<2x?xf32>
  } else {
    %e = onnx.Exp %x : (tensor<2x?xf32>) -> tensor<2x?xf32>
    onnx.Yield %e : tensor<2x?xf32>
  } : (tensor<1xi1>) -> tensor<*xf32>
  return %y : tensor<*xf32>
}

// -----

// What is not known stays, or at the end both branches run.
// CHECK-LABEL: func.func @unknown
// CHECK: onnx.If
// FINAL-LABEL: func.func @unknown
// FINAL: %[[N:.*]] = onnx.Neg %arg0
// FINAL: %[[E:.*]] = onnx.Exp %arg0
// FINAL: %[[C:.*]] = onnx.Reshape %arg1, {{.*}} -> tensor<i1>
// FINAL: onnx.Where %[[C]], %[[N]], %[[E]]
func.func @unknown(%x: tensor<?x4xf32> {onnx.dims = ["n", ""], onnx.name = "x"}, %c: tensor<1xi1> {onnx.dims = [""], onnx.name = "c"}) -> tensor<*xf32> {
  %y = onnx.If %c {
    %n = onnx.Neg %x : (tensor<?x4xf32>) -> tensor<?x4xf32>
    onnx.Yield %n : tensor<?x4xf32>
  } else {
    %e = onnx.Exp %x : (tensor<?x4xf32>) -> tensor<?x4xf32>
    onnx.Yield %e : tensor<?x4xf32>
  } : (tensor<1xi1>) -> tensor<*xf32>
  return %y : tensor<*xf32>
}

// -----

// An effect must not happen where its branch is not taken.
// CHECK-LABEL: func.func @effect
func.func @effect(%x: tensor<4xf32>, %c: tensor<i1> {onnx.dims = [], onnx.name = "c"}) -> tensor<4xf32> {
  // expected-error @+1 {{(If): which branch runs is only known at run time; it follows from input 'c'}}
  %y = onnx.If %c {
    onnx.check %c, "never" : tensor<i1>
    onnx.Yield %x : tensor<4xf32>
  } else {
    onnx.Yield %x : tensor<4xf32>
  } : (tensor<i1>) -> tensor<4xf32>
  return %y : tensor<4xf32>
}

// -----

// Two tables that rows are looked up in are made as long as the longer one; other values are not.
// FINAL-LABEL: func.func @tables
// FINAL: %[[PAD:.*]] = onnx.Pad %arg1, {{.*}} -> tensor<8x4xf32>
// FINAL: %[[T:.*]] = onnx.Where %arg3, %arg0, %[[PAD]]
// FINAL: onnx.Gather %[[T]], %arg2
func.func @tables(%long: tensor<8x4xf32>, %short: tensor<6x4xf32>, %ids: tensor<?xi64>, %c: tensor<i1>) -> tensor<?x4xf32> {
  %t = onnx.If %c {
    onnx.Yield %long : tensor<8x4xf32>
  } else {
    onnx.Yield %short : tensor<6x4xf32>
  } : (tensor<i1>) -> tensor<?x4xf32>
  %y = onnx.Gather %t, %ids : (tensor<?x4xf32>, tensor<?xi64>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

func.func @no_table(%long: tensor<8x4xf32>, %short: tensor<6x4xf32>, %c: tensor<i1>) -> tensor<?x4xf32> {
  // expected-error @+1 {{the branches give results of different shapes}}
  %t = onnx.If %c {
    onnx.Yield %long : tensor<8x4xf32>
  } else {
    onnx.Yield %short : tensor<6x4xf32>
  } : (tensor<i1>) -> tensor<?x4xf32>
  return %t : tensor<?x4xf32>
}

// -----

// Two turns; the second sees what the first carried.
// CHECK-LABEL: func.func @loop
// CHECK: %[[A:.*]] = onnx.Neg %arg0
// CHECK: %[[B:.*]] = onnx.Neg %[[A]]
// CHECK-DAG: %[[ROW0:.*]] = onnx.Unsqueeze %[[A]]
// CHECK-DAG: %[[ROW1:.*]] = onnx.Unsqueeze %[[B]]
// CHECK: %[[ALL:.*]] = onnx.Concat %[[ROW0]], %[[ROW1]] {axis = 0 : i64} {{.*}} -> tensor<2x4xf32>
// CHECK: return %[[B]], %[[ALL]]
func.func @loop(%x: tensor<4xf32>) -> (tensor<*xf32>, tensor<*xf32>) {
  %two = onnx.Constant dense<2> : tensor<i64>
  %y:2 = onnx.Loop times %two carry %x {
  ^bb0(%i: tensor<i64>, %go: tensor<i1>, %v: tensor<*xf32>):
    %n = onnx.Neg %v : (tensor<*xf32>) -> tensor<*xf32>
    onnx.Yield %go, %n, %n : tensor<i1>, tensor<*xf32>, tensor<*xf32>
  } : (tensor<i64>, tensor<4xf32>) -> (tensor<*xf32>, tensor<*xf32>)
  return %y#0, %y#1 : tensor<*xf32>, tensor<*xf32>
}

// -----

// The condition ends it: i < 1 holds at the end of turn 0 only.
// CHECK-LABEL: func.func @while
// CHECK-COUNT-2: onnx.Neg
// CHECK-NOT: onnx.Neg
func.func @while(%x: tensor<4xf32>) -> tensor<*xf32> {
  %one = onnx.Constant dense<1> : tensor<i64>
  %true = onnx.Constant dense<true> : tensor<i1>
  %y = onnx.Loop while %true carry %x {
  ^bb0(%i: tensor<i64>, %go: tensor<i1>, %v: tensor<*xf32>):
    %n = onnx.Neg %v : (tensor<*xf32>) -> tensor<*xf32>
    %on = onnx.Less %i, %one : (tensor<i64>, tensor<i64>) -> tensor<i1>
    onnx.Yield %on, %n : tensor<i1>, tensor<*xf32>
  } : (tensor<i1>, tensor<4xf32>) -> tensor<*xf32>
  return %y : tensor<*xf32>
}

// -----

// CHECK-LABEL: func.func @scan
// CHECK: onnx.Gather %arg1, %{{.*}} {axis = 1 : i64} {{.*}} -> tensor<4xf32>
// CHECK: %[[A:.*]] = onnx.Add %arg0
// CHECK: %[[B:.*]] = onnx.Add %[[A]]
// CHECK: onnx.Concat {{.*}} {axis = 1 : i64} {{.*}} -> tensor<4x2xf32>
func.func @scan(%s: tensor<4xf32>, %x: tensor<4x2xf32>) -> (tensor<*xf32>, tensor<*xf32>) {
  %y:2 = onnx.Scan %s, %x {
  ^bb0(%sum: tensor<*xf32>, %v: tensor<*xf32>):
    %n = onnx.Add %sum, %v : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
    onnx.Yield %n, %n : tensor<*xf32>, tensor<*xf32>
  } {num_scan_inputs = 1 : i64, scan_input_axes = array<i64: 1>, scan_output_axes = array<i64: 1>} : (tensor<4xf32>, tensor<4x2xf32>) -> (tensor<*xf32>, tensor<*xf32>)
  return %y#0, %y#1 : tensor<*xf32>, tensor<*xf32>
}

// -----

// What a branch yields is folded itself: of an If inside, and in a loop.
// FINAL-LABEL: func.func @nested
// FINAL: %[[N:.*]] = onnx.Neg %arg0
// FINAL: onnx.Where %arg2, %[[N]], %arg1
func.func @nested(%x: tensor<4xf32>, %y: tensor<4xf32>, %c: tensor<i1>) -> tensor<*xf32> {
  %true = onnx.Constant dense<true> : tensor<i1>
  %z = onnx.If %c {
    %i = onnx.If %true {
      %p = onnx.Neg %x : (tensor<4xf32>) -> tensor<4xf32>
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

// CHECK-LABEL: func.func @branch_in_loop
// CHECK: %[[A:.*]] = onnx.Neg %arg0
// CHECK: %[[B:.*]] = onnx.Exp %[[A]]
// CHECK-DAG: %[[ROW0:.*]] = onnx.Unsqueeze %[[A]]
// CHECK-DAG: %[[ROW1:.*]] = onnx.Unsqueeze %[[B]]
// CHECK: %[[ALL:.*]] = onnx.Concat %[[ROW0]], %[[ROW1]]
// CHECK: return %[[B]], %[[ALL]]
func.func @branch_in_loop(%x: tensor<4xf32>) -> (tensor<*xf32>, tensor<*xf32>) {
  %two = onnx.Constant dense<2> : tensor<i64>
  %zero = onnx.Constant dense<0> : tensor<i64>
  %y:2 = onnx.Loop times %two carry %x {
  ^bb0(%i: tensor<i64>, %go: tensor<i1>, %v: tensor<*xf32>):
    %first = onnx.Equal %i, %zero : (tensor<i64>, tensor<i64>) -> tensor<i1>
    %n = onnx.If %first {
      %m = onnx.Neg %v : (tensor<*xf32>) -> tensor<*xf32>
      onnx.Yield %m : tensor<*xf32>
    } else {
      %m = onnx.Exp %v : (tensor<*xf32>) -> tensor<*xf32>
      onnx.Yield %m : tensor<*xf32>
    } : (tensor<i1>) -> tensor<*xf32>
    onnx.Yield %go, %n, %n : tensor<i1>, tensor<*xf32>, tensor<*xf32>
  } : (tensor<i64>, tensor<4xf32>) -> (tensor<*xf32>, tensor<*xf32>)
  return %y#0, %y#1 : tensor<*xf32>, tensor<*xf32>
}
