// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: caat-opt %s --onnx-fold-shapes | FileCheck %s

// A head split as torch writes it: the target shape is computed from another value's shape.
// CHECK-LABEL: func.func @head_split
// CHECK-SAME: (%[[X:.*]]: tensor<?x?x48xf32> {onnx.dims = ["batch", "seq", ""]})
// CHECK-SAME: -> (tensor<?x3x?x16xf32> {onnx.dims = ["batch", "", "seq", ""]})
func.func @head_split(%x: tensor<?x?x48xf32> {onnx.dims = ["batch", "seq", ""]})
    -> (tensor<?x?x?x?xf32> {onnx.dims = ["b", "h", "s", "d"]}) {
  // CHECK-NOT: onnx.Shape
  // CHECK: %[[SHAPE:.*]] = onnx.Constant dense<[0, 0, 3, 16]> : tensor<4xi64>
  // CHECK: %[[R:.*]] = onnx.Reshape %[[X]], %[[SHAPE]] : (tensor<?x?x48xf32>, tensor<4xi64>) -> tensor<?x?x3x16xf32>
  // CHECK: onnx.Transpose %[[R]] {{.*}} -> tensor<?x3x?x16xf32>
  %s = onnx.Shape %x {end = 1 : i64} : (tensor<?x?x48xf32>) -> tensor<1xi64>
  %t = onnx.Shape %x {start = 1 : i64, end = 2 : i64} : (tensor<?x?x48xf32>) -> tensor<1xi64>
  %minus = onnx.Constant dense<-1> : tensor<1xi64>
  %d = onnx.Constant dense<16> : tensor<1xi64>
  %shape = onnx.Concat %s, %t, %minus, %d {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<4xi64>
  %r = onnx.Reshape %x, %shape {allowzero = 1 : i64} : (tensor<?x?x48xf32>, tensor<4xi64>) -> tensor<?x?x?x?xf32>
  %y = onnx.Transpose %r {perm = array<i64: 0, 2, 1, 3>} : (tensor<?x?x?x?xf32>) -> tensor<?x?x?x?xf32>
  return %y : tensor<?x?x?x?xf32>
}

// The sum of two sizes is no size of an argument: index arithmetic.
// CHECK-LABEL: func.func @range
// CHECK-SAME: (%[[X:.*]]: tensor<?x?xi64> {{.*}}, %[[PAST:.*]]: tensor<?x12x?x8xf32>
// CHECK-SAME: -> (tensor<?xi64> {onnx.dims = ["sequence"]})
func.func @range(%x: tensor<?x?xi64> {onnx.dims = ["batch", "sequence"]}, %past: tensor<?x12x?x8xf32> {onnx.dims = ["batch", "", "past", ""]})
    -> (tensor<?xi64> {onnx.dims = ["n"]}) {
  // CHECK-DAG: %[[P:.*]] = tensor.dim %[[PAST]], %{{.*}} : tensor<?x12x?x8xf32>
  // CHECK-DAG: %[[S:.*]] = tensor.dim %[[X]], %{{.*}} : tensor<?x?xi64>
  // CHECK: arith.addi
  // CHECK: %[[LIMIT:.*]] = tensor.from_elements %{{.*}} : tensor<i64>
  // CHECK: onnx.Range %{{.*}}, %[[LIMIT]], %{{.*}} -> tensor<?xi64>
  %two = onnx.Constant dense<2> : tensor<i64>
  %one = onnx.Constant dense<1> : tensor<i64>
  %ps = onnx.Shape %past : (tensor<?x12x?x8xf32>) -> tensor<4xi64>
  %p = onnx.Gather %ps, %two : (tensor<4xi64>, tensor<i64>) -> tensor<i64>
  %xs = onnx.Shape %x : (tensor<?x?xi64>) -> tensor<2xi64>
  %s = onnx.Gather %xs, %one : (tensor<2xi64>, tensor<i64>) -> tensor<i64>
  %limit = onnx.Add %p, %s : (tensor<i64>, tensor<i64>) -> tensor<i64>
  %r = onnx.Range %p, %limit, %one : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  return %r : tensor<?xi64>
}

// Optimum guards an Expand's shape: where it is -1, take 1. A size is never -1.
// CHECK-LABEL: func.func @guarded_expand
func.func @guarded_expand(%x: tensor<1x4x1xf32>, %ids: tensor<?x?xi64> {onnx.dims = ["batch", "seq"]}) -> tensor<?x4x1xf32> {
  // CHECK-NOT: onnx.Equal
  // CHECK-NOT: onnx.Where
  // CHECK: tensor.from_elements
  // CHECK: onnx.Expand %{{.*}}, %{{.*}} : (tensor<1x4x1xf32>, tensor<3xi64>) -> tensor<?x4x1xf32>
  %zero = onnx.Constant dense<[0]> : tensor<1xi64>
  %three = onnx.Constant dense<[3]> : tensor<1xi64>
  %minus = onnx.Constant dense<-1> : tensor<i64>
  %rest = onnx.Constant dense<[-1, 1]> : tensor<2xi64>
  %s = onnx.Shape %ids : (tensor<?x?xi64>) -> tensor<2xi64>
  %b = onnx.Gather %s, %zero : (tensor<2xi64>, tensor<1xi64>) -> tensor<1xi64>
  %shape = onnx.Concat %b, %rest {axis = 0 : i64} : (tensor<1xi64>, tensor<2xi64>) -> tensor<3xi64>
  %ones = onnx.ConstantOfShape %three {value = dense<1> : tensor<1xi64>} : (tensor<1xi64>) -> tensor<3xi64>
  %bad = onnx.Mul %ones, %minus : (tensor<3xi64>, tensor<i64>) -> tensor<3xi64>
  %is = onnx.Equal %shape, %bad : (tensor<3xi64>, tensor<3xi64>) -> tensor<3xi1>
  %safe = onnx.Where %is, %ones, %shape : (tensor<3xi1>, tensor<3xi64>, tensor<3xi64>) -> tensor<3xi64>
  %y = onnx.Expand %x, %safe : (tensor<1x4x1xf32>, tensor<3xi64>) -> tensor<?x4x1xf32>
  return %y : tensor<?x4x1xf32>
}

// The scale of attention, computed at run time from a static size.
// CHECK-LABEL: func.func @scale
func.func @scale(%q: tensor<?x4x?x16xf32>) -> tensor<1xf32> {
  // CHECK: %[[C:.*]] = onnx.Constant dense<2.500000e-01> : tensor<1xf32>
  // CHECK-NEXT: return %[[C]]
  %start = onnx.Constant dense<-1> : tensor<1xi64>
  %end = onnx.Constant dense<9223372036854775807> : tensor<1xi64>
  %one = onnx.Constant dense<1.0> : tensor<1xf32>
  %s = onnx.Shape %q : (tensor<?x4x?x16xf32>) -> tensor<4xi64>
  %d = onnx.Slice %s, %start, %end : (tensor<4xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
  %f = onnx.Cast %d to f32 : (tensor<1xi64>) -> tensor<1xf32>
  %root = onnx.Sqrt %f : (tensor<1xf32>) -> tensor<1xf32>
  %y = onnx.Div %one, %root : (tensor<1xf32>, tensor<1xf32>) -> tensor<1xf32>
  return %y : tensor<1xf32>
}

// Two names for what need not be equal stay apart; joining proves that the head sizes are.
// CHECK-LABEL: func.func @joined
// CHECK-SAME: tensor<?x2x?x8xf32> {onnx.dims = ["batch", "", "past", ""]}
// CHECK-SAME: -> (tensor<?x2x?x8xf32> {onnx.dims = ["batch", "", "past + seq", ""]})
func.func @joined(%past: tensor<?x2x?x?xf32> {onnx.dims = ["batch", "", "past", "size"]}, %k: tensor<?x2x?x8xf32> {onnx.dims = ["batch", "", "seq", ""]})
    -> (tensor<?x2x?x?xf32> {onnx.dims = ["batch", "", "total", "size"]}) {
  %y = onnx.Concat %past, %k {axis = -2 : i64} : (tensor<?x2x?x?xf32>, tensor<?x2x?x8xf32>) -> tensor<?x2x?x?xf32>
  return %y : tensor<?x2x?x?xf32>
}

// Ops that do nothing go; the others stay.
// CHECK-LABEL: func.func @identities
// CHECK-SAME: (%[[X:.*]]: tensor<?x8xf32> {{.*}}, %[[W:.*]]: tensor<8x8xf32>)
func.func @identities(%x: tensor<?x8xf32> {onnx.dims = ["n", ""]}, %w: tensor<8x8xf32>) -> (tensor<?x8xf32>, tensor<8x?xf32>) {
  %shape = onnx.Constant dense<[-1, 8]> : tensor<2xi64>
  %flat = onnx.Constant dense<[2, -1, 4]> : tensor<3xi64>
  %zero = onnx.Constant dense<0> : tensor<1xi64>
  %end = onnx.Constant dense<100> : tensor<1xi64>
  %one = onnx.Constant dense<1.0> : tensor<f32>
  %ones = onnx.Constant dense<1.0> : tensor<8xf32>
  // CHECK: %[[ONES:.*]] = onnx.Constant dense<1.000000e+00> : tensor<8xf32>
  // CHECK-NEXT: %[[M:.*]] = onnx.MatMul %[[X]], %[[W]]
  // CHECK-NEXT: %[[S:.*]] = onnx.Mul %[[M]], %[[ONES]]
  // CHECK-NEXT: %[[T:.*]] = onnx.Transpose %[[X]]
  // CHECK-NEXT: return %[[S]], %[[T]]
  %0 = onnx.Identity %x : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %1 = onnx.Cast %0 to f32 : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %2 = onnx.Reshape %1, %flat : (tensor<?x8xf32>, tensor<3xi64>) -> tensor<2x?x4xf32>
  %3 = onnx.Reshape %2, %shape : (tensor<2x?x4xf32>, tensor<2xi64>) -> tensor<?x8xf32>
  %4 = onnx.Slice %3, %zero, %end axes %zero : (tensor<?x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x8xf32>
  %5 = onnx.Mul %3, %one : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %6 = onnx.MatMul %5, %w : (tensor<?x8xf32>, tensor<8x8xf32>) -> tensor<?x8xf32>
  %7 = onnx.Mul %6, %ones : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  %8 = onnx.Transpose %5 {perm = array<i64: 1, 0>} : (tensor<?x8xf32>) -> tensor<8x?xf32>
  return %7, %8 : tensor<?x8xf32>, tensor<8x?xf32>
}

// A bound that may be smaller than the dimension is no bound at all.
// CHECK-LABEL: func.func @cut(
func.func @cut(%x: tensor<?x8xf32> {onnx.dims = ["n", ""]}) -> tensor<?x8xf32> {
  // CHECK: onnx.Slice
  %zero = onnx.Constant dense<0> : tensor<1xi64>
  %end = onnx.Constant dense<100> : tensor<1xi64>
  %y = onnx.Slice %x, %zero, %end axes %zero : (tensor<?x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// A table that is cut to a symbolic length is taken to be long enough, which a check makes sure of, once.
// CHECK-LABEL: func.func @cut_table(
// CHECK: %[[FITS:.*]] = arith.cmpi ule, %{{.*}}, %c8
// CHECK: %[[CONDITION:.*]] = tensor.from_elements %[[FITS]] : tensor<i1>
// CHECK: onnx.check %[[CONDITION]], "seq is larger than 8, the number of positions that the model has"
// CHECK-NOT: onnx.check
func.func @cut_table(%x: tensor<?xf32> {onnx.dims = ["seq"]}) -> (tensor<?xf32>, tensor<?xf32>) {
  %length = onnx.Shape %x : (tensor<?xf32>) -> tensor<1xi64>
  %zero = onnx.Constant dense<0> : tensor<1xi64>
  %table = onnx.Constant dense<[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]> : tensor<8xf32>
  %a = onnx.Slice %table, %zero, %length axes %zero : (tensor<8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?xf32>
  %b = onnx.Slice %table, %zero, %length : (tensor<8xf32>, tensor<1xi64>, tensor<1xi64>) -> tensor<?xf32>
  return %a, %b : tensor<?xf32>, tensor<?xf32>
}

// A size that is squared again and again is not written out: its terms would double each time.
// CHECK-LABEL: func.func @squares
func.func @squares(%x: tensor<?x?xf32> {onnx.dims = ["a", "b"]}) -> tensor<2xi64> {
  %one = onnx.Constant dense<1> : tensor<2xi64>
  %0 = onnx.Shape %x : (tensor<?x?xf32>) -> tensor<2xi64>
  %s0 = onnx.Add %0, %one : (tensor<2xi64>, tensor<2xi64>) -> tensor<2xi64>
  %m0 = onnx.Mul %s0, %s0 : (tensor<2xi64>, tensor<2xi64>) -> tensor<2xi64>
  %s1 = onnx.Add %m0, %one : (tensor<2xi64>, tensor<2xi64>) -> tensor<2xi64>
  %m1 = onnx.Mul %s1, %s1 : (tensor<2xi64>, tensor<2xi64>) -> tensor<2xi64>
  %s2 = onnx.Add %m1, %one : (tensor<2xi64>, tensor<2xi64>) -> tensor<2xi64>
  %m2 = onnx.Mul %s2, %s2 : (tensor<2xi64>, tensor<2xi64>) -> tensor<2xi64>
  %s3 = onnx.Add %m2, %one : (tensor<2xi64>, tensor<2xi64>) -> tensor<2xi64>
  %m3 = onnx.Mul %s3, %s3 : (tensor<2xi64>, tensor<2xi64>) -> tensor<2xi64>
  %s4 = onnx.Add %m3, %one : (tensor<2xi64>, tensor<2xi64>) -> tensor<2xi64>
  %m4 = onnx.Mul %s4, %s4 : (tensor<2xi64>, tensor<2xi64>) -> tensor<2xi64>
  %s5 = onnx.Add %m4, %one : (tensor<2xi64>, tensor<2xi64>) -> tensor<2xi64>
  %m5 = onnx.Mul %s5, %s5 : (tensor<2xi64>, tensor<2xi64>) -> tensor<2xi64>
  %s6 = onnx.Add %m5, %one : (tensor<2xi64>, tensor<2xi64>) -> tensor<2xi64>
  %m6 = onnx.Mul %s6, %s6 : (tensor<2xi64>, tensor<2xi64>) -> tensor<2xi64>
  %s7 = onnx.Add %m6, %one : (tensor<2xi64>, tensor<2xi64>) -> tensor<2xi64>
  %m7 = onnx.Mul %s7, %s7 : (tensor<2xi64>, tensor<2xi64>) -> tensor<2xi64>
  // CHECK-COUNT-5: onnx.Mul
  // CHECK-NEXT: return
  return %m7 : tensor<2xi64>
}

// Names nested without end are no name at all.
// CHECK-LABEL: func.func @nested
// CHECK: onnx.Neg
func.func @nested(%x: tensor<?xf32> {onnx.dims = ["((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((a))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))"]}) -> tensor<?xf32> {
  %0 = onnx.Neg %x : (tensor<?xf32>) -> tensor<?xf32>
  return %0 : tensor<?xf32>
}

// What is cut off at the front and padded at the back again is as long as before. Its length in between, which is not known
// when it is met (the sequence may be empty), is then said by the sequence's, not the other way round.
// CHECK-LABEL: func.func @shift(
// CHECK: %[[SEQ:.*]] = tensor.dim %arg0, %c0
// CHECK: onnx.Slice
func.func @shift(%x: tensor<?x4xf32> {onnx.dims = ["seq", ""]}) -> (tensor<?x8xf32>, tensor<?x4xf32>) {
  %one = onnx.Constant dense<1> : tensor<1xi64>
  %zero = onnx.Constant dense<0> : tensor<1xi64>
  %all = onnx.Constant dense<9223372036854775807> : tensor<1xi64>
  %pads = onnx.Constant dense<[0, 0, 1, 0]> : tensor<4xi64>
  %shape = onnx.Shape %x : (tensor<?x4xf32>) -> tensor<2xi64>
  %f = onnx.Constant dense<1.0> : tensor<f32>
  %ones = onnx.Expand %f, %shape : (tensor<f32>, tensor<2xi64>) -> tensor<?x4xf32>
  %cut = onnx.Slice %x, %one, %all axes %zero : (tensor<?x4xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x4xf32>
  %padded = onnx.Pad %cut, %pads {mode = "constant"} : (tensor<?x4xf32>, tensor<4xi64>) -> tensor<?x4xf32>
  %both = onnx.Concat %padded, %x {axis = 1 : i64} : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x8xf32>
  return %both, %ones : tensor<?x8xf32>, tensor<?x4xf32>
}

// CHECK-LABEL: func.func @non_zero
func.func @non_zero() -> tensor<2x?xi64> {
  // CHECK: onnx.Constant dense<{{\[}}[0, 0, 1], [0, 2, 1]]> : tensor<2x3xi64>
  %x = onnx.Constant dense<[[1, 0, 2], [0, 3, 0]]> : tensor<2x3xi32>
  %y = onnx.NonZero %x : (tensor<2x3xi32>) -> tensor<2x?xi64>
  return %y : tensor<2x?xi64>
}

// torch's exporter, not asked to optimise, writes the ends of a Range by CastLike of floats.
// CHECK-LABEL: func.func @cast_like
// CHECK-SAME: -> (tensor<?xi64> {{.*}}, tensor<?x?xf16>
func.func @cast_like(%x: tensor<?x?xi64> {onnx.dims = ["batch", "seq"]}, %h: tensor<2xf16>) -> (tensor<?xi64> {onnx.dims = ["n"]}, tensor<?x?xf16>) {
  // CHECK-NOT: onnx.CastLike
  // CHECK-DAG: %[[ZERO:.*]] = onnx.Constant dense<0> : tensor<i64>
  // CHECK-DAG: %[[ONE:.*]] = onnx.Constant dense<1> : tensor<i64>
  // CHECK: onnx.Range %[[ZERO]], %{{.*}}, %[[ONE]]
  // CHECK: onnx.Cast %{{.*}} to f16 {round_mode = "down", saturate = 0 : i64} : (tensor<?x?xi64>) -> tensor<?x?xf16>
  %zero = onnx.Constant dense<0.0> : tensor<f32>
  %one = onnx.Constant dense<1.0> : tensor<f32>
  %axis = onnx.Constant dense<1> : tensor<i64>
  %xs = onnx.Shape %x : (tensor<?x?xi64>) -> tensor<2xi64>
  %end = onnx.Gather %xs, %axis : (tensor<2xi64>, tensor<i64>) -> tensor<i64>
  %start = onnx.CastLike %zero, %end : (tensor<f32>, tensor<i64>) -> tensor<i64>
  %step = onnx.CastLike %one, %end : (tensor<f32>, tensor<i64>) -> tensor<i64>
  %r = onnx.Range %start, %end, %step : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  %y = onnx.CastLike %x, %h {saturate = 0 : i64, round_mode = "down"} : (tensor<?x?xi64>, tensor<2xf16>) -> tensor<?x?xf16>
  return %r, %y : tensor<?xi64>, tensor<?x?xf16>
}

// A window has to fit into its input, so what is left behind it is not negative: then Div, which truncates, rounds down.
// CHECK-LABEL: func.func @windows
// CHECK: arith.floordivsi
// CHECK-NOT: onnx.Div
func.func @windows(%x: tensor<?x1x?xf32> {onnx.dims = ["batch", "", "samples"]}, %w: tensor<4x1x8xf32>) -> (tensor<?x4x?xf32>, tensor<i64>) {
  %axis = onnx.Constant dense<2> : tensor<i64>
  %eight = onnx.Constant dense<8> : tensor<i64>
  %four = onnx.Constant dense<4> : tensor<i64>
  %xs = onnx.Shape %x : (tensor<?x1x?xf32>) -> tensor<3xi64>
  %n = onnx.Gather %xs, %axis : (tensor<3xi64>, tensor<i64>) -> tensor<i64>
  %room = onnx.Sub %n, %eight : (tensor<i64>, tensor<i64>) -> tensor<i64>
  %count = onnx.Div %room, %four : (tensor<i64>, tensor<i64>) -> tensor<i64>
  %y = onnx.Conv %x, %w {kernel_shape = array<i64: 8>, strides = array<i64: 4>} : (tensor<?x1x?xf32>, tensor<4x1x8xf32>) -> tensor<?x4x?xf32>
  return %y, %count : tensor<?x4x?xf32>, tensor<i64>
}

// Without the window nobody knows.
// CHECK-LABEL: func.func @no_windows
// CHECK: onnx.Div
func.func @no_windows(%x: tensor<?x1x?xf32> {onnx.dims = ["batch", "", "samples"]}) -> tensor<i64> {
  %axis = onnx.Constant dense<2> : tensor<i64>
  %eight = onnx.Constant dense<8> : tensor<i64>
  %four = onnx.Constant dense<4> : tensor<i64>
  %xs = onnx.Shape %x : (tensor<?x1x?xf32>) -> tensor<3xi64>
  %n = onnx.Gather %xs, %axis : (tensor<3xi64>, tensor<i64>) -> tensor<i64>
  %room = onnx.Sub %n, %eight : (tensor<i64>, tensor<i64>) -> tensor<i64>
  %count = onnx.Div %room, %four : (tensor<i64>, tensor<i64>) -> tensor<i64>
  return %count : tensor<i64>
}

// The last n of n, counted from the end, and steps downwards: what XLM and XLNet write.
// CHECK-LABEL: func.func @from_the_end
// CHECK-SAME: -> (tensor<?x?xf32> {onnx.dims = ["batch", "seq"]}, tensor<?xi64> {onnx.dims = ["2 * seq"]}, tensor<?xi64> {onnx.dims = ["((seq + 2) floordiv (3))"]})
func.func @from_the_end(%x: tensor<?x?xf32> {onnx.dims = ["batch", "seq"]})
    -> (tensor<?x?xf32> {onnx.dims = ["a", "b"]}, tensor<?xi64> {onnx.dims = ["c"]}, tensor<?xi64> {onnx.dims = ["d"]}) {
  %one = onnx.Constant dense<1> : tensor<1xi64>
  %last = onnx.Constant dense<9223372036854775807> : tensor<1xi64>
  %scalar = onnx.Constant dense<1> : tensor<i64>
  %minus = onnx.Constant dense<-1> : tensor<i64>
  %three = onnx.Constant dense<3> : tensor<i64>
  %zero = onnx.Constant dense<0> : tensor<i64>
  %xs = onnx.Shape %x : (tensor<?x?xf32>) -> tensor<2xi64>
  %n = onnx.Gather %xs, %scalar : (tensor<2xi64>, tensor<i64>) -> tensor<i64>
  %m = onnx.Neg %n : (tensor<i64>) -> tensor<i64>
  %front = onnx.Constant dense<0> : tensor<1xi64>
  %start = onnx.Unsqueeze %m axes %front : (tensor<i64>, tensor<1xi64>) -> tensor<1xi64>
  %y = onnx.Slice %x, %start, %last axes %one : (tensor<?x?xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x?xf32>
  %down = onnx.Range %n, %m, %minus : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  %up = onnx.Range %zero, %n, %three : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  return %y, %down, %up : tensor<?x?xf32>, tensor<?xi64>, tensor<?xi64>
}

// repeat_interleave of torch's older exporter: repeats are a one-hot vector of one and how often.
// CHECK-LABEL: func.func @repeat_interleave
// CHECK: onnx.Tile {{.*}} -> tensor<?x6x8xf32>
func.func @repeat_interleave(%x: tensor<?x3x8xf32> {onnx.dims = ["tokens", "", ""]}) -> tensor<?x?x?xf32> {
  %axis = onnx.Constant dense<[-2]> : tensor<1xi64>
  %depth = onnx.Constant dense<3> : tensor<i64>
  %values = onnx.Constant dense<[1, 2]> : tensor<2xi64>
  %flat = onnx.Constant dense<[-1]> : tensor<1xi64>
  %hot = onnx.OneHot %axis, %depth, %values : (tensor<1xi64>, tensor<i64>, tensor<2xi64>) -> tensor<1x3xi64>
  %repeats = onnx.Reshape %hot, %flat : (tensor<1x3xi64>, tensor<1xi64>) -> tensor<3xi64>
  %y = onnx.Tile %x, %repeats : (tensor<?x3x8xf32>, tensor<3xi64>) -> tensor<?x?x?xf32>
  return %y : tensor<?x?x?xf32>
}

// Numbers that wrap in their type are not followed as if they did not: 300 is 44 in ui8, 300 + 32767 is -32469 in i16, and
// a size that is not known may be anything.
// CHECK-LABEL: func.func @narrow
func.func @narrow(%x: tensor<?x300xf32> {onnx.dims = ["batch", ""]}) -> (tensor<2xi64>, tensor<1xi64>, tensor<1xi64>) {
  // CHECK: %[[NARROW:.*]] = onnx.Cast %{{.*}} to ui8
  // CHECK: %[[WIDE:.*]] = onnx.Cast %[[NARROW]] to i64
  // CHECK-DAG: %[[WRAPPED:.*]] = onnx.Constant dense<-32469> : tensor<1xi64>
  // CHECK-DAG: %[[KEPT:.*]] = onnx.Constant dense<300> : tensor<1xi64>
  // CHECK: return %[[WIDE]], %[[WRAPPED]], %[[KEPT]]
  %shape = onnx.Shape %x : (tensor<?x300xf32>) -> tensor<2xi64>
  %narrow = onnx.Cast %shape to ui8 : (tensor<2xi64>) -> tensor<2xui8>
  %wide = onnx.Cast %narrow to i64 : (tensor<2xui8>) -> tensor<2xi64>
  %columns = onnx.Shape %x {start = 1 : i64} : (tensor<?x300xf32>) -> tensor<1xi64>
  %short = onnx.Cast %columns to i16 : (tensor<1xi64>) -> tensor<1xi16>
  %large = onnx.Constant dense<32767> : tensor<1xi16>
  %sum = onnx.Add %short, %large : (tensor<1xi16>, tensor<1xi16>) -> tensor<1xi16>
  %wrapped = onnx.Cast %sum to i64 : (tensor<1xi16>) -> tensor<1xi64>
  %kept = onnx.Cast %short to i64 : (tensor<1xi16>) -> tensor<1xi64>
  return %wide, %wrapped, %kept : tensor<2xi64>, tensor<1xi64>, tensor<1xi64>
}
