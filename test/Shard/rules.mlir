// One function for each rule: what it splits, and that the ranks together give what the whole program gives.
// RUN: caat-opt %s --tp-shard-pipeline=size=2 | FileCheck %s
// RUN: caat-opt %s --mlir-print-op-generic -o %t.whole
// RUN: caat-opt %s --tp-shard-pipeline=size=2 --mlir-print-op-generic -o %t.2 && %python %S/Inputs/lockstep.py %t.whole %t.2 --dim rows=5
// RUN: caat-opt %s --tp-shard-pipeline=size=3 --mlir-print-op-generic -o %t.3 && %python %S/Inputs/lockstep.py %t.whole %t.3 --dim rows=5
// RUN: caat-opt %s --tp-shard-pipeline=size=4 --mlir-print-op-generic -o %t.4 && %python %S/Inputs/lockstep.py %t.whole %t.4 --dim rows=5
// RUN: caat-opt %s --tp-shard-pipeline=size=5 --mlir-print-op-generic -o %t.5 && %python %S/Inputs/lockstep.py %t.whole %t.5 --dim rows=5

onnx.initializer @up : tensor<12x24xf32> {file = "w", offset = 0 : i64, length = 1152 : i64}
onnx.initializer @down : tensor<24x12xf32> {file = "w", offset = 0 : i64, length = 1152 : i64}
onnx.initializer @scale : tensor<24xf32> {file = "w", offset = 0 : i64, length = 96 : i64}
onnx.initializer @shift : tensor<24xf32> {file = "w", offset = 0 : i64, length = 96 : i64}
onnx.initializer @patch : tensor<24x3x3xf32> {file = "w", offset = 0 : i64, length = 864 : i64}
onnx.initializer @patch_bias : tensor<24xf32> {file = "w", offset = 0 : i64, length = 96 : i64}
onnx.initializer @depthwise : tensor<24x3x3xf32> {file = "w", offset = 0 : i64, length = 864 : i64}
onnx.initializer @pixel : tensor<8x24x1xf32> {file = "w", offset = 0 : i64, length = 768 : i64}
onnx.initializer @heads_up : tensor<12x6x4xf32> {file = "w", offset = 0 : i64, length = 1152 : i64}
onnx.initializer @heads_down : tensor<6x4x12xf32> {file = "w", offset = 0 : i64, length = 1152 : i64}
onnx.initializer @q : tensor<12x24xf32> {file = "w", offset = 0 : i64, length = 1152 : i64}
onnx.initializer @k : tensor<12x4xf32> {file = "w", offset = 0 : i64, length = 192 : i64}
onnx.initializer @v : tensor<12x4xf32> {file = "w", offset = 0 : i64, length = 192 : i64}
onnx.initializer @o : tensor<24x12xf32> {file = "w", offset = 0 : i64, length = 1152 : i64}
onnx.initializer @experts_up : tensor<6x12x24xf32> {file = "w", offset = 0 : i64, length = 6912 : i64}
onnx.initializer @experts_down : tensor<6x24x12xf32> {file = "w", offset = 0 : i64, length = 6912 : i64}
onnx.initializer @gate_up : tensor<4x12x48xf32> {file = "w", offset = 0 : i64, length = 9216 : i64}
onnx.initializer @chosen_down : tensor<4x24x12xf32> {file = "w", offset = 0 : i64, length = 4608 : i64}

// A sum over a split dimension is a partial sum of one number a row.
// CHECK-LABEL: func.func @reduce_sum(
// CHECK: %[[S:.*]] = onnx.ReduceSum %{{.*}} -> tensor<2x3x1xf32>
// CHECK: tp.all_reduce %[[S]] on @mesh ["tp"] {site = "sum"}
func.func @reduce_sum(%x: tensor<2x3x12xf32>) -> tensor<2x3x12xf32> {
  %up = onnx.get_initializer @up : tensor<12x24xf32>
  %down = onnx.get_initializer @down : tensor<24x12xf32>
  %h = onnx.MatMul %x, %up : (tensor<2x3x12xf32>, tensor<12x24xf32>) -> tensor<2x3x24xf32>
  %axes = onnx.Constant dense<2> : tensor<1xi64>
  %s = onnx.ReduceSum %h axes %axes : (tensor<2x3x24xf32>, tensor<1xi64>) -> tensor<2x3x1xf32>
  %y = onnx.Mul %h, %s : (tensor<2x3x24xf32>, tensor<2x3x1xf32>) -> tensor<2x3x24xf32>
  %z = onnx.MatMul %y, %down : (tensor<2x3x24xf32>, tensor<24x12xf32>) -> tensor<2x3x12xf32>
  %sum = onnx.Add %x, %z : (tensor<2x3x12xf32>, tensor<2x3x12xf32>) -> tensor<2x3x12xf32>
  return %sum : tensor<2x3x12xf32>
}

// A mean is a partial sum of the rank's share.
// CHECK-LABEL: func.func @reduce_mean(
// CHECK: %[[S:.*]] = onnx.ReduceMean %{{.*}} -> tensor<2x3x1xf32>
// CHECK: %[[S2:.*]] = onnx.Mul %[[S]]
// CHECK: tp.all_reduce %[[S2]] on @mesh ["tp"] {site = "sum"}
func.func @reduce_mean(%x: tensor<2x3x12xf32>) -> tensor<2x3x12xf32> {
  %up = onnx.get_initializer @up : tensor<12x24xf32>
  %down = onnx.get_initializer @down : tensor<24x12xf32>
  %h = onnx.MatMul %x, %up : (tensor<2x3x12xf32>, tensor<12x24xf32>) -> tensor<2x3x24xf32>
  %axes = onnx.Constant dense<2> : tensor<1xi64>
  %s = onnx.ReduceMean %h axes %axes : (tensor<2x3x24xf32>, tensor<1xi64>) -> tensor<2x3x1xf32>
  %y = onnx.Mul %h, %s : (tensor<2x3x24xf32>, tensor<2x3x1xf32>) -> tensor<2x3x24xf32>
  %z = onnx.MatMul %y, %down : (tensor<2x3x24xf32>, tensor<24x12xf32>) -> tensor<2x3x12xf32>
  %sum = onnx.Add %x, %z : (tensor<2x3x12xf32>, tensor<2x3x12xf32>) -> tensor<2x3x12xf32>
  return %sum : tensor<2x3x12xf32>
}

// So is a sum of squares.
// CHECK-LABEL: func.func @reduce_sum_square(
// CHECK: %[[S:.*]] = onnx.ReduceSumSquare %{{.*}} -> tensor<2x3x1xf32>
// CHECK: tp.all_reduce %[[S]] on @mesh ["tp"] {site = "sum"}
func.func @reduce_sum_square(%x: tensor<2x3x12xf32>) -> tensor<2x3x12xf32> {
  %up = onnx.get_initializer @up : tensor<12x24xf32>
  %down = onnx.get_initializer @down : tensor<24x12xf32>
  %h = onnx.MatMul %x, %up : (tensor<2x3x12xf32>, tensor<12x24xf32>) -> tensor<2x3x24xf32>
  %axes = onnx.Constant dense<2> : tensor<1xi64>
  %s = onnx.ReduceSumSquare %h axes %axes : (tensor<2x3x24xf32>, tensor<1xi64>) -> tensor<2x3x1xf32>
  %y = onnx.Mul %h, %s : (tensor<2x3x24xf32>, tensor<2x3x1xf32>) -> tensor<2x3x24xf32>
  %z = onnx.MatMul %y, %down : (tensor<2x3x24xf32>, tensor<24x12xf32>) -> tensor<2x3x12xf32>
  %sum = onnx.Add %x, %z : (tensor<2x3x12xf32>, tensor<2x3x12xf32>) -> tensor<2x3x12xf32>
  return %sum : tensor<2x3x12xf32>
}

// And a sum of absolute values.
// CHECK-LABEL: func.func @reduce_l1(
// CHECK: %[[S:.*]] = onnx.ReduceL1 %{{.*}} -> tensor<2x3x1xf32>
// CHECK: tp.all_reduce %[[S]] on @mesh ["tp"] {site = "sum"}
func.func @reduce_l1(%x: tensor<2x3x12xf32>) -> tensor<2x3x12xf32> {
  %up = onnx.get_initializer @up : tensor<12x24xf32>
  %down = onnx.get_initializer @down : tensor<24x12xf32>
  %h = onnx.MatMul %x, %up : (tensor<2x3x12xf32>, tensor<12x24xf32>) -> tensor<2x3x24xf32>
  %axes = onnx.Constant dense<2> : tensor<1xi64>
  %s = onnx.ReduceL1 %h axes %axes : (tensor<2x3x24xf32>, tensor<1xi64>) -> tensor<2x3x1xf32>
  %y = onnx.Mul %h, %s : (tensor<2x3x24xf32>, tensor<2x3x1xf32>) -> tensor<2x3x24xf32>
  %z = onnx.MatMul %y, %down : (tensor<2x3x24xf32>, tensor<24x12xf32>) -> tensor<2x3x12xf32>
  %sum = onnx.Add %x, %z : (tensor<2x3x12xf32>, tensor<2x3x12xf32>) -> tensor<2x3x12xf32>
  return %sum : tensor<2x3x12xf32>
}

// A softmax needs its axis whole: gathered where the weights are worth it, and sliced behind.
// CHECK-LABEL: func.func @softmax(
// CHECK: %[[A:.*]] = tp.all_gather
// CHECK: onnx.Softmax %{{.*}} : (tensor<2x3x24xf32>)
// CHECK: onnx.MatMul %{{.*}} -> tensor<2x3x12xf32>
func.func @softmax(%x: tensor<2x3x12xf32>) -> tensor<2x3x12xf32> {
  %up = onnx.get_initializer @up : tensor<12x24xf32>
  %down = onnx.get_initializer @down : tensor<24x12xf32>
  %h = onnx.MatMul %x, %up : (tensor<2x3x12xf32>, tensor<12x24xf32>) -> tensor<2x3x24xf32>
  %y = onnx.Softmax %h : (tensor<2x3x24xf32>) -> tensor<2x3x24xf32>
  %z = onnx.MatMul %y, %down : (tensor<2x3x24xf32>, tensor<24x12xf32>) -> tensor<2x3x12xf32>
  %sum = onnx.Add %x, %z : (tensor<2x3x12xf32>, tensor<2x3x12xf32>) -> tensor<2x3x12xf32>
  return %sum : tensor<2x3x12xf32>
}

// A norm over a split dimension sums its statistic over the ranks.
// CHECK-LABEL: func.func @rms_norm(
// CHECK: %[[T:.*]] = tp.all_reduce %{{.*}} on @mesh ["tp"] {site = "norm"} : tensor<2x3x1xf32>
func.func @rms_norm(%x: tensor<2x3x12xf32>) -> tensor<2x3x12xf32> {
  %up = onnx.get_initializer @up : tensor<12x24xf32>
  %down = onnx.get_initializer @down : tensor<24x12xf32>
  %scale = onnx.get_initializer @scale : tensor<24xf32>
  %h = onnx.MatMul %x, %up : (tensor<2x3x12xf32>, tensor<12x24xf32>) -> tensor<2x3x24xf32>
  %y = onnx.RMSNormalization %h, %scale : (tensor<2x3x24xf32>, tensor<24xf32>) -> tensor<2x3x24xf32>
  %z = onnx.MatMul %y, %down : (tensor<2x3x24xf32>, tensor<24x12xf32>) -> tensor<2x3x12xf32>
  %sum = onnx.Add %x, %z : (tensor<2x3x12xf32>, tensor<2x3x12xf32>) -> tensor<2x3x12xf32>
  return %sum : tensor<2x3x12xf32>
}

// Two statistics: the mean, then the variance.
// CHECK-LABEL: func.func @layer_norm(
// CHECK: tp.all_reduce %{{.*}} on @mesh ["tp"] {site = "norm"} : tensor<2x3x1xf32>
// CHECK: tp.all_reduce %{{.*}} on @mesh ["tp"] {site = "norm.1"} : tensor<2x3x1xf32>
func.func @layer_norm(%x: tensor<2x3x12xf32>) -> tensor<2x3x12xf32> {
  %up = onnx.get_initializer @up : tensor<12x24xf32>
  %down = onnx.get_initializer @down : tensor<24x12xf32>
  %scale = onnx.get_initializer @scale : tensor<24xf32>
  %shift = onnx.get_initializer @shift : tensor<24xf32>
  %h = onnx.MatMul %x, %up : (tensor<2x3x12xf32>, tensor<12x24xf32>) -> tensor<2x3x24xf32>
  %y = onnx.LayerNormalization %h, %scale bias %shift {resultSegmentSizes = array<i32: 1, 0, 0>} : (tensor<2x3x24xf32>, tensor<24xf32>, tensor<24xf32>) -> tensor<2x3x24xf32>
  %z = onnx.MatMul %y, %down : (tensor<2x3x24xf32>, tensor<24x12xf32>) -> tensor<2x3x12xf32>
  %sum = onnx.Add %x, %z : (tensor<2x3x12xf32>, tensor<2x3x12xf32>) -> tensor<2x3x12xf32>
  return %sum : tensor<2x3x12xf32>
}

// Along other axes than the split one, all of these pass it through.
// CHECK-LABEL: func.func @other_axes(
// CHECK: onnx.CumSum
// CHECK: onnx.TopK
// CHECK: onnx.Pad
// CHECK: onnx.GatherElements
// CHECK: onnx.ScatterElements
// CHECK: onnx.GatherND
// CHECK: onnx.ScatterND
func.func @other_axes(%x: tensor<2x3x12xf32>) -> tensor<2x3x12xf32> {
  %up = onnx.get_initializer @up : tensor<12x24xf32>
  %down = onnx.get_initializer @down : tensor<24x12xf32>
  %h = onnx.MatMul %x, %up : (tensor<2x3x12xf32>, tensor<12x24xf32>) -> tensor<2x3x24xf32>
  %one = onnx.Constant dense<1> : tensor<i64>
  %three = onnx.Constant dense<3> : tensor<1xi64>
  %a = onnx.CumSum %h, %one : (tensor<2x3x24xf32>, tensor<i64>) -> tensor<2x3x24xf32>
  %b, %bi = onnx.TopK %a, %three {axis = 1 : i64} : (tensor<2x3x24xf32>, tensor<1xi64>) -> (tensor<2x3x24xf32>, tensor<2x3x24xi64>)
  %pads = onnx.Constant dense<[0, 1, 0, 0, 0, 0]> : tensor<6xi64>
  %c = onnx.Pad %b, %pads : (tensor<2x3x24xf32>, tensor<6xi64>) -> tensor<2x4x24xf32>
  %d = onnx.GatherElements %c, %bi {axis = 1 : i64} : (tensor<2x4x24xf32>, tensor<2x3x24xi64>) -> tensor<2x3x24xf32>
  %e = onnx.ScatterElements %c, %bi, %d {axis = 1 : i64} : (tensor<2x4x24xf32>, tensor<2x3x24xi64>, tensor<2x3x24xf32>) -> tensor<2x4x24xf32>
  %places = onnx.Constant dense<[[0, 1], [1, 2]]> : tensor<2x2xi64>
  %rows = onnx.GatherND %e, %places : (tensor<2x4x24xf32>, tensor<2x2xi64>) -> tensor<2x24xf32>
  %f = onnx.ScatterND %h, %places, %rows : (tensor<2x3x24xf32>, tensor<2x2xi64>, tensor<2x24xf32>) -> tensor<2x3x24xf32>
  %y = onnx.Add %f, %d : (tensor<2x3x24xf32>, tensor<2x3x24xf32>) -> tensor<2x3x24xf32>
  %z = onnx.MatMul %y, %down : (tensor<2x3x24xf32>, tensor<24x12xf32>) -> tensor<2x3x12xf32>
  %sum = onnx.Add %x, %z : (tensor<2x3x12xf32>, tensor<2x3x12xf32>) -> tensor<2x3x12xf32>
  return %sum : tensor<2x3x12xf32>
}

// What is chosen from or indexed is gathered; what comes of it is sliced.
// CHECK-LABEL: func.func @indexed(
// CHECK: tp.all_gather
// CHECK: onnx.TopK
// CHECK: onnx.ArgMax
// CHECK: onnx.OneHot
func.func @indexed(%x: tensor<2x3x12xf32>) -> tensor<2x3x12xf32> {
  %up = onnx.get_initializer @up : tensor<12x24xf32>
  %down = onnx.get_initializer @down : tensor<24x12xf32>
  %h = onnx.MatMul %x, %up : (tensor<2x3x12xf32>, tensor<12x24xf32>) -> tensor<2x3x24xf32>
  %k = onnx.Constant dense<24> : tensor<1xi64>
  %v, %vi = onnx.TopK %h, %k : (tensor<2x3x24xf32>, tensor<1xi64>) -> (tensor<2x3x24xf32>, tensor<2x3x24xi64>)
  %m = onnx.ArgMax %h {axis = 2 : i64, keepdims = 0 : i64} : (tensor<2x3x24xf32>) -> tensor<2x3xi64>
  %depth = onnx.Constant dense<24> : tensor<i64>
  %values = onnx.Constant dense<[0.0, 1.0]> : tensor<2xf32>
  %hot = onnx.OneHot %m, %depth, %values : (tensor<2x3xi64>, tensor<i64>, tensor<2xf32>) -> tensor<2x3x24xf32>
  %s = onnx.Add %v, %hot : (tensor<2x3x24xf32>, tensor<2x3x24xf32>) -> tensor<2x3x24xf32>
  %y = onnx.Add %s, %h : (tensor<2x3x24xf32>, tensor<2x3x24xf32>) -> tensor<2x3x24xf32>
  %z = onnx.MatMul %y, %down : (tensor<2x3x24xf32>, tensor<24x12xf32>) -> tensor<2x3x12xf32>
  %sum = onnx.Add %x, %z : (tensor<2x3x12xf32>, tensor<2x3x12xf32>) -> tensor<2x3x12xf32>
  return %sum : tensor<2x3x12xf32>
}

// Copies are segments that are split alike.
// CHECK-LABEL: func.func @tile(
// CHECK: onnx.Tile %{{.*}} -> tensor<2x3x12xf32>
// CHECK: onnx.Trilu
func.func @tile(%x: tensor<2x3x12xf32>) -> tensor<2x3x12xf32> {
  %up = onnx.get_initializer @up : tensor<12x24xf32>
  %down = onnx.get_initializer @down : tensor<24x12xf32>
  %h = onnx.MatMul %x, %up : (tensor<2x3x12xf32>, tensor<12x24xf32>) -> tensor<2x3x24xf32>
  %three = onnx.Constant dense<3> : tensor<1xi64>
  %sizes = onnx.Constant dense<[12, 12]> : tensor<2xi64>
  %p:2 = onnx.Split %h sizes %sizes {axis = 2 : i64} : (tensor<2x3x24xf32>, tensor<2xi64>) -> (tensor<2x3x12xf32>, tensor<2x3x12xf32>)
  %twice = onnx.Constant dense<[1, 1, 2]> : tensor<3xi64>
  %b = onnx.Tile %p#0, %twice : (tensor<2x3x12xf32>, tensor<3xi64>) -> tensor<2x3x24xf32>
  %r = onnx.Transpose %b {perm = array<i64: 2, 0, 1>} : (tensor<2x3x24xf32>) -> tensor<24x2x3xf32>
  %c = onnx.Trilu %r : (tensor<24x2x3xf32>) -> tensor<24x2x3xf32>
  %y = onnx.Transpose %c {perm = array<i64: 1, 2, 0>} : (tensor<24x2x3xf32>) -> tensor<2x3x24xf32>
  %z = onnx.MatMul %y, %down : (tensor<2x3x24xf32>, tensor<24x12xf32>) -> tensor<2x3x12xf32>
  %sum = onnx.Add %x, %z : (tensor<2x3x12xf32>, tensor<2x3x12xf32>) -> tensor<2x3x12xf32>
  return %sum : tensor<2x3x12xf32>
}

// A single element is repeated as often as the rank has columns.
// CHECK-LABEL: func.func @tile_one(
// CHECK: onnx.Tile %{{.*}} -> tensor<2x3x12xf32>
func.func @tile_one(%x: tensor<2x3x12xf32>, %t: tensor<2x3x1xf32>) -> tensor<2x3x12xf32> {
  %up = onnx.get_initializer @up : tensor<12x24xf32>
  %down = onnx.get_initializer @down : tensor<24x12xf32>
  %h = onnx.MatMul %x, %up : (tensor<2x3x12xf32>, tensor<12x24xf32>) -> tensor<2x3x24xf32>
  %often = onnx.Constant dense<[1, 1, 24]> : tensor<3xi64>
  %c = onnx.Tile %t, %often : (tensor<2x3x1xf32>, tensor<3xi64>) -> tensor<2x3x24xf32>
  %y = onnx.Mul %h, %c : (tensor<2x3x24xf32>, tensor<2x3x24xf32>) -> tensor<2x3x24xf32>
  %z = onnx.MatMul %y, %down : (tensor<2x3x24xf32>, tensor<24x12xf32>) -> tensor<2x3x12xf32>
  %sum = onnx.Add %x, %z : (tensor<2x3x12xf32>, tensor<2x3x12xf32>) -> tensor<2x3x12xf32>
  return %sum : tensor<2x3x12xf32>
}

// Scales go with the axis that they are for.
// CHECK-LABEL: func.func @quantize(
// CHECK: onnx.QuantizeLinear
// CHECK: onnx.DequantizeLinear
func.func @quantize(%x: tensor<2x3x12xf32>) -> tensor<2x3x12xf32> {
  %up = onnx.get_initializer @up : tensor<12x24xf32>
  %down = onnx.get_initializer @down : tensor<24x12xf32>
  %scale = onnx.get_initializer @scale : tensor<24xf32>
  %h = onnx.MatMul %x, %up : (tensor<2x3x12xf32>, tensor<12x24xf32>) -> tensor<2x3x24xf32>
  %point = onnx.Constant dense<7> : tensor<24xi8>
  %positive = onnx.Abs %scale : (tensor<24xf32>) -> tensor<24xf32>
  %half = onnx.Constant dense<0.5> : tensor<f32>
  %step = onnx.Add %positive, %half : (tensor<24xf32>, tensor<f32>) -> tensor<24xf32>
  %q = onnx.QuantizeLinear %h, %step zero_point %point {axis = 2 : i64} : (tensor<2x3x24xf32>, tensor<24xf32>, tensor<24xi8>) -> tensor<2x3x24xi8>
  %y = onnx.DequantizeLinear %q, %step zero_point %point {axis = 2 : i64} : (tensor<2x3x24xi8>, tensor<24xf32>, tensor<24xi8>) -> tensor<2x3x24xf32>
  %z = onnx.MatMul %y, %down : (tensor<2x3x24xf32>, tensor<24x12xf32>) -> tensor<2x3x12xf32>
  %sum = onnx.Add %x, %z : (tensor<2x3x12xf32>, tensor<2x3x12xf32>) -> tensor<2x3x12xf32>
  return %sum : tensor<2x3x12xf32>
}

// Channels are dealt out by whole groups.
// CHECK-LABEL: func.func @group_norm(
// CHECK: onnx.GroupNormalization %{{.*}}num_groups = 4
func.func @group_norm(%x: tensor<2x3x12xf32>) -> tensor<2x3x12xf32> {
  %up = onnx.get_initializer @up : tensor<12x24xf32>
  %down = onnx.get_initializer @down : tensor<24x12xf32>
  %scale = onnx.get_initializer @scale : tensor<24xf32>
  %shift = onnx.get_initializer @shift : tensor<24xf32>
  %h = onnx.MatMul %x, %up : (tensor<2x3x12xf32>, tensor<12x24xf32>) -> tensor<2x3x24xf32>
  %t = onnx.Transpose %h {perm = array<i64: 0, 2, 1>} : (tensor<2x3x24xf32>) -> tensor<2x24x3xf32>
  %g = onnx.GroupNormalization %t, %scale, %shift {num_groups = 8 : i64} : (tensor<2x24x3xf32>, tensor<24xf32>, tensor<24xf32>) -> tensor<2x24x3xf32>
  %y = onnx.Transpose %g {perm = array<i64: 0, 2, 1>} : (tensor<2x24x3xf32>) -> tensor<2x3x24xf32>
  %z = onnx.MatMul %y, %down : (tensor<2x3x24xf32>, tensor<24x12xf32>) -> tensor<2x3x12xf32>
  %sum = onnx.Add %x, %z : (tensor<2x3x12xf32>, tensor<2x3x12xf32>) -> tensor<2x3x12xf32>
  return %sum : tensor<2x3x12xf32>
}

// Output channels are columns, a product of one pixel sums them up; groups are dealt out.
// CHECK-LABEL: func.func @convolution(
// CHECK: onnx.Conv %arg0
// CHECK: onnx.Conv %{{.*}}group = 4
// CHECK: %[[P:.*]] = onnx.Conv
// CHECK: tp.all_reduce %[[P]]
func.func @convolution(%x: tensor<2x3x6xf32>) -> tensor<2x8x6xf32> {
  %patch = onnx.get_initializer @patch : tensor<24x3x3xf32>
  %patch_bias = onnx.get_initializer @patch_bias : tensor<24xf32>
  %depthwise = onnx.get_initializer @depthwise : tensor<24x3x3xf32>
  %pixel = onnx.get_initializer @pixel : tensor<8x24x1xf32>

  %a = onnx.Conv %x, %patch bias %patch_bias {pads = array<i64: 1, 1>} : (tensor<2x3x6xf32>, tensor<24x3x3xf32>, tensor<24xf32>) -> tensor<2x24x6xf32>
  %b = onnx.Conv %a, %depthwise {group = 8 : i64, pads = array<i64: 1, 1>} : (tensor<2x24x6xf32>, tensor<24x3x3xf32>) -> tensor<2x24x6xf32>
  %c = onnx.Conv %b, %pixel : (tensor<2x24x6xf32>, tensor<8x24x1xf32>) -> tensor<2x8x6xf32>
  return %c : tensor<2x8x6xf32>
}

// Letters are factors.
// CHECK-LABEL: func.func @einsum(
// CHECK: %[[E:.*]] = onnx.Einsum
// CHECK: %[[P:.*]] = onnx.Einsum
// CHECK: tp.all_reduce %[[P]]
func.func @einsum(%x: tensor<2x3x12xf32>) -> tensor<2x3x12xf32> {
  %heads_up = onnx.get_initializer @heads_up : tensor<12x6x4xf32>
  %heads_down = onnx.get_initializer @heads_down : tensor<6x4x12xf32>

  %a = onnx.Einsum "bsh,hnd->bnsd" %x, %heads_up : (tensor<2x3x12xf32>, tensor<12x6x4xf32>) -> tensor<2x6x3x4xf32>
  %b = onnx.Einsum "bnsd,ndh->bsh" %a, %heads_down : (tensor<2x6x3x4xf32>, tensor<6x4x12xf32>) -> tensor<2x3x12xf32>
  return %b : tensor<2x3x12xf32>
}

// A single KV head is on every rank; its query heads are dealt out.
// CHECK-LABEL: func.func @one_key_head(
// CHECK: onnx.Attention
// CHECK: tp.all_reduce
func.func @one_key_head(%x: tensor<2x3x12xf32>) -> tensor<2x3x12xf32> {
  %q = onnx.get_initializer @q : tensor<12x24xf32>
  %k = onnx.get_initializer @k : tensor<12x4xf32>
  %v = onnx.get_initializer @v : tensor<12x4xf32>
  %o = onnx.get_initializer @o : tensor<24x12xf32>

  %a = onnx.MatMul %x, %q : (tensor<2x3x12xf32>, tensor<12x24xf32>) -> tensor<2x3x24xf32>
  %b = onnx.MatMul %x, %k : (tensor<2x3x12xf32>, tensor<12x4xf32>) -> tensor<2x3x4xf32>
  %c = onnx.MatMul %x, %v : (tensor<2x3x12xf32>, tensor<12x4xf32>) -> tensor<2x3x4xf32>
  %d = onnx.Attention %a, %b, %c {kv_num_heads = 1 : i64, q_num_heads = 6 : i64, resultSegmentSizes = array<i32: 1, 0, 0, 0>} : (tensor<2x3x24xf32>, tensor<2x3x4xf32>, tensor<2x3x4xf32>) -> tensor<2x3x24xf32>
  %e = onnx.MatMul %d, %o : (tensor<2x3x24xf32>, tensor<24x12xf32>) -> tensor<2x3x12xf32>
  return %e : tensor<2x3x12xf32>
}

// All experts, weighted: they are dealt out whole, since their columns would need a sum for each expert.
// CHECK-LABEL: func.func @dense_experts(
// CHECK: onnx.MatMul %{{.*}} -> tensor<{{[0-9]}}x6x24xf32>
// CHECK: %[[P:.*]] = onnx.ReduceSum
// CHECK: tp.all_reduce %[[P]] on @mesh ["tp"] {site = "layers.0.mlp"}
func.func @dense_experts(%x: tensor<6x12xf32>, %route: tensor<6x6xf32>) -> tensor<6x12xf32> {
  %experts_up = onnx.get_initializer @experts_up : tensor<6x12x24xf32>
  %experts_down = onnx.get_initializer @experts_down : tensor<6x24x12xf32>

  %a = onnx.MatMul %x, %experts_up : (tensor<6x12xf32>, tensor<6x12x24xf32>) -> tensor<6x6x24xf32>
  %b = onnx.Relu %a : (tensor<6x6x24xf32>) -> tensor<6x6x24xf32>
  %c = onnx.MatMul %b, %experts_down : (tensor<6x6x24xf32>, tensor<6x24x12xf32>) -> tensor<6x6x12xf32>
  %axes = onnx.Constant dense<2> : tensor<1xi64>
  %first = onnx.Constant dense<0> : tensor<1xi64>
  %t = onnx.Transpose %route {perm = array<i64: 1, 0>} : (tensor<6x6xf32>) -> tensor<6x6xf32>
  %u = onnx.Unsqueeze %t axes %axes : (tensor<6x6xf32>, tensor<1xi64>) -> tensor<6x6x1xf32>
  %d = onnx.Mul %c, %u : (tensor<6x6x12xf32>, tensor<6x6x1xf32>) -> tensor<6x6x12xf32>
  %e = onnx.ReduceSum %d axes %first {keepdims = 0 : i64} : (tensor<6x6x12xf32>, tensor<1xi64>) -> tensor<6x12xf32>
  return %e : tensor<6x12xf32>
}

// Experts looked up by row: their columns are split, gate and up as two segments.
// CHECK-LABEL: func.func @chosen_experts(
// CHECK: onnx.GatherND %{{.*}} -> tensor<?x12x24xf32>
// CHECK: onnx.Split
// CHECK: %[[P:.*]] = onnx.MatMul
// CHECK: tp.all_reduce %[[P]]
func.func @chosen_experts(%x: tensor<?x12xf32> {onnx.dims = ["rows", ""]}, %which: tensor<?x1xi64> {onnx.dims = ["rows", ""], test.below = 4 : i64}) -> tensor<?x1x12xf32> {
  %gate_up = onnx.get_initializer @gate_up : tensor<4x12x48xf32>
  %chosen_down = onnx.get_initializer @chosen_down : tensor<4x24x12xf32>

  %a = onnx.GatherND %gate_up, %which : (tensor<4x12x48xf32>, tensor<?x1xi64>) -> tensor<?x12x48xf32>
  %b = onnx.GatherND %chosen_down, %which : (tensor<4x24x12xf32>, tensor<?x1xi64>) -> tensor<?x24x12xf32>
  %axes = onnx.Constant dense<1> : tensor<1xi64>
  %u = onnx.Unsqueeze %x axes %axes : (tensor<?x12xf32>, tensor<1xi64>) -> tensor<?x1x12xf32>
  %c = onnx.MatMul %u, %a : (tensor<?x1x12xf32>, tensor<?x12x48xf32>) -> tensor<?x1x48xf32>
  %sizes = onnx.Constant dense<24> : tensor<2xi64>
  %p:2 = onnx.Split %c sizes %sizes {axis = 2 : i64} : (tensor<?x1x48xf32>, tensor<2xi64>) -> (tensor<?x1x24xf32>, tensor<?x1x24xf32>)
  %g = onnx.Sigmoid %p#0 : (tensor<?x1x24xf32>) -> tensor<?x1x24xf32>
  %m = onnx.Mul %g, %p#1 : (tensor<?x1x24xf32>, tensor<?x1x24xf32>) -> tensor<?x1x24xf32>
  %z = onnx.MatMul %m, %b : (tensor<?x1x24xf32>, tensor<?x24x12xf32>) -> tensor<?x1x12xf32>
  return %z : tensor<?x1x12xf32>
}
