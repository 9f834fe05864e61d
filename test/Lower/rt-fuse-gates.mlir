// RUN: caat-opt %s --split-input-file --pass-pipeline="builtin.module(func.func(rt-fuse-epilogues{gates=true}))" | FileCheck %s
// RUN: caat-opt %s --split-input-file --pass-pipeline="builtin.module(func.func(rt-fuse-epilogues{gates=true}))" --remarks-filter=caat 2>&1 | FileCheck %s --check-prefix=REMARK
// RUN: caat-opt %s --split-input-file --rt-fuse-epilogues | FileCheck %s --check-prefix=WITHOUT

// Either half, by Split or Slices, also from behind; on either side of the Mul; with a bias, casts and an alpha.
// REMARK: product with 'w' takes in: bias, gate, swish
// REMARK: product with 'w' takes in: gate, gelu_tanh
// REMARK: product with 'w' takes in: gate, relu
// CHECK-LABEL: func.func @takes
// CHECK:   %[[B:.*]] = rt.parameter @b : tensor<8xf32>
// CHECK:   %[[E:.*]] = tensor.empty(%{{.*}}) : tensor<?x4xf32>
// CHECK:   %[[Y:.*]] = rt.linear @w ins(%{{.*}} : tensor<?x4xf32>) bias(%[[B]] : tensor<8xf32>) then swish gate first outs(%[[E]] : tensor<?x4xf32>) {alpha = 1.702{{.*}} : f32} -> tensor<?x4xf32>
// CHECK-NOT: onnx.{{Split|Slice|Mul|Swish|Gelu|Relu}}
// CHECK:   %[[Z:.*]] = rt.linear @w ins(%[[Y]] : tensor<?x4xf32>) then gelu_tanh gate second outs(%{{.*}} : tensor<?x4xf32>) -> tensor<?x4xf32>
// CHECK:   %[[CAST:.*]] = tensor.cast %[[Z]] : tensor<?x4xf32> to tensor<2x4xf32>
// CHECK-NOT: onnx.{{Split|Slice|Mul|Swish|Gelu|Relu}}
// CHECK:   %[[S:.*]] = rt.linear @w ins(%{{.*}}) then relu gate second outs
// CHECK-NOT: onnx.{{Split|Slice|Mul|Swish|Gelu|Relu}}
// CHECK:   return %[[CAST]], %[[S]]
// WITHOUT-LABEL: func.func @takes
// WITHOUT-NOT: gate
// WITHOUT: onnx.Slice
// WITHOUT-NOT: gate
// WITHOUT: return
rt.weight @w linear : tensor<4x8xf32> {
  %0 = arith.constant dense<1.0> : tensor<4x8xf32>
  rt.yield %0 : tensor<4x8xf32>
}
rt.weight @b : tensor<8xf32> {
  %0 = arith.constant dense<2.0> : tensor<8xf32>
  rt.yield %0 : tensor<8xf32>
}
func.func @takes(%x: tensor<?x4xf32>, %n: index) -> (tensor<2x4xf32>, tensor<?x4xf32>) {
  %e = tensor.empty(%n) : tensor<?x8xf32>
  %0 = rt.linear @w ins(%x : tensor<?x4xf32>) outs(%e : tensor<?x8xf32>) -> tensor<?x8xf32>
  %b = rt.parameter @b : tensor<8xf32>
  %1 = onnx.Add %b, %0 : (tensor<8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %2:2 = onnx.Split %1 {axis = -1 : i64, num_outputs = 2 : i64} : (tensor<?x8xf32>) -> (tensor<?x4xf32>, tensor<?x4xf32>)
  %3 = onnx.Swish %2#0 {alpha = 1.702 : f32} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %y = onnx.Mul %3, %2#1 : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>

  %4 = rt.linear @w ins(%y : tensor<?x4xf32>) outs(%e : tensor<?x8xf32>) -> tensor<?x8xf32>
  %5 = tensor.cast %4 : tensor<?x8xf32> to tensor<2x8xf32>
  %zero = onnx.Constant dense<0> : tensor<1xi64>
  %middle = onnx.Constant dense<4> : tensor<1xi64>
  %axis = onnx.Constant dense<1> : tensor<1xi64>
  %end = onnx.Constant dense<9223372036854775807> : tensor<1xi64>
  %6 = onnx.Slice %5, %zero, %middle axes %axis : (tensor<2x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<2x4xf32>
  %7 = onnx.Slice %5, %middle, %end axes %axis : (tensor<2x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<2x4xf32>
  %8 = onnx.Gelu %7 {approximate = "tanh"} : (tensor<2x4xf32>) -> tensor<2x4xf32>
  %z = onnx.Mul %6, %8 : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>

  %9 = rt.linear @w ins(%x : tensor<?x4xf32>) outs(%e : tensor<?x8xf32>) -> tensor<?x8xf32>
  %behind = onnx.Constant dense<-4> : tensor<1xi64>
  %last = onnx.Constant dense<-1> : tensor<1xi64>
  %one = onnx.Constant dense<1> : tensor<1xi64>
  %10 = onnx.Slice %9, %behind, %end axes %last steps %one : (tensor<?x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x4xf32>
  %11 = onnx.Relu %10 : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %12 = onnx.Slice %9, %zero, %behind axes %last steps %one : (tensor<?x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x4xf32>
  %s = onnx.Mul %11, %12 : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %z, %s : tensor<2x4xf32>, tensor<?x4xf32>
}

// -----

// Nothing is taken in where the product, a half or the activation has other readers, where the parts are no halves, of other
// rows or one and the same, where there is no activation that products have or it is of both halves, where a kernel reads the
// result, or where the product adds to what is there.
// CHECK-LABEL: func.func @refuses
// CHECK-NOT: gate
// CHECK: return
rt.weight @w linear : tensor<4x8xf32> {
  %0 = arith.constant dense<1.0> : tensor<4x8xf32>
  rt.yield %0 : tensor<4x8xf32>
}
func.func @refuses(%x: tensor<8x4xf32>, %old: tensor<8x8xf32>)
    -> (tensor<8x8xf32>, tensor<8x4xf32>, tensor<8x4xf32>, tensor<8x4xf32>, tensor<8x4xf32>, tensor<8x1xf32>, tensor<8x4xf32>,
        tensor<4x8xf32>, tensor<8x4xf32>, tensor<8x4xf32>, tensor<8x4xf32>, tensor<8x4xf32>, tensor<8x4xf32>) {
  %e = tensor.empty() : tensor<8x8xf32>
  // The product is a result.
  %0 = rt.linear @w ins(%x : tensor<8x4xf32>) outs(%e : tensor<8x8xf32>) -> tensor<8x8xf32>
  %1:2 = onnx.Split %0 {axis = 1 : i64, num_outputs = 2 : i64} : (tensor<8x8xf32>) -> (tensor<8x4xf32>, tensor<8x4xf32>)
  %2 = onnx.Swish %1#0 : (tensor<8x4xf32>) -> tensor<8x4xf32>
  %read = onnx.Mul %2, %1#1 : (tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<8x4xf32>
  // A half is.
  %3 = rt.linear @w ins(%x : tensor<8x4xf32>) outs(%e : tensor<8x8xf32>) -> tensor<8x8xf32>
  %4:2 = onnx.Split %3 {axis = 1 : i64, num_outputs = 2 : i64} : (tensor<8x8xf32>) -> (tensor<8x4xf32>, tensor<8x4xf32>)
  %5 = onnx.Swish %4#0 : (tensor<8x4xf32>) -> tensor<8x4xf32>
  %half = onnx.Mul %5, %4#1 : (tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<8x4xf32>
  // The activation is.
  %6 = rt.linear @w ins(%x : tensor<8x4xf32>) outs(%e : tensor<8x8xf32>) -> tensor<8x8xf32>
  %7:2 = onnx.Split %6 {axis = 1 : i64, num_outputs = 2 : i64} : (tensor<8x8xf32>) -> (tensor<8x4xf32>, tensor<8x4xf32>)
  %8 = onnx.Swish %7#0 : (tensor<8x4xf32>) -> tensor<8x4xf32>
  %activated = onnx.Mul %8, %7#1 : (tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<8x4xf32>
  // One column and seven.
  %9 = rt.linear @w ins(%x : tensor<8x4xf32>) outs(%e : tensor<8x8xf32>) -> tensor<8x8xf32>
  %sizes = onnx.Constant dense<[1, 7]> : tensor<2xi64>
  %10:2 = onnx.Split %9 sizes %sizes {axis = 1 : i64} : (tensor<8x8xf32>, tensor<2xi64>) -> (tensor<8x1xf32>, tensor<8x7xf32>)
  %11 = onnx.Swish %10#0 : (tensor<8x1xf32>) -> tensor<8x1xf32>
  %uneven = onnx.Mul %11, %10#1 : (tensor<8x1xf32>, tensor<8x7xf32>) -> tensor<8x7xf32>
  // Rows.
  %12 = rt.linear @w ins(%x : tensor<8x4xf32>) outs(%e : tensor<8x8xf32>) -> tensor<8x8xf32>
  %13:2 = onnx.Split %12 {axis = 0 : i64, num_outputs = 2 : i64} : (tensor<8x8xf32>) -> (tensor<4x8xf32>, tensor<4x8xf32>)
  %14 = onnx.Swish %13#0 : (tensor<4x8xf32>) -> tensor<4x8xf32>
  %rows = onnx.Mul %14, %13#1 : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
  // Columns 0 to 3, and 2 to 5.
  %15 = rt.linear @w ins(%x : tensor<8x4xf32>) outs(%e : tensor<8x8xf32>) -> tensor<8x8xf32>
  %n0 = onnx.Constant dense<0> : tensor<1xi64>
  %n1 = onnx.Constant dense<1> : tensor<1xi64>
  %n2 = onnx.Constant dense<2> : tensor<1xi64>
  %n4 = onnx.Constant dense<4> : tensor<1xi64>
  %n6 = onnx.Constant dense<6> : tensor<1xi64>
  %n8 = onnx.Constant dense<8> : tensor<1xi64>
  %16 = onnx.Slice %15, %n0, %n4 axes %n1 : (tensor<8x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<8x4xf32>
  %17 = onnx.Slice %15, %n2, %n6 axes %n1 : (tensor<8x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<8x4xf32>
  %18 = onnx.Swish %16 : (tensor<8x4xf32>) -> tensor<8x4xf32>
  %overlap = onnx.Mul %18, %17 : (tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<8x4xf32>
  // Every other column.
  %19 = rt.linear @w ins(%x : tensor<8x4xf32>) outs(%e : tensor<8x8xf32>) -> tensor<8x8xf32>
  %20 = onnx.Slice %19, %n0, %n8 axes %n1 steps %n2 : (tensor<8x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<8x4xf32>
  %21 = onnx.Slice %19, %n4, %n8 axes %n1 : (tensor<8x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<8x4xf32>
  %22 = onnx.Swish %20 : (tensor<8x4xf32>) -> tensor<8x4xf32>
  %strided = onnx.Mul %22, %21 : (tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<8x4xf32>
  // A sigmoid, and no activation at all.
  %23 = rt.linear @w ins(%x : tensor<8x4xf32>) outs(%e : tensor<8x8xf32>) -> tensor<8x8xf32>
  %24:2 = onnx.Split %23 {axis = 1 : i64, num_outputs = 2 : i64} : (tensor<8x8xf32>) -> (tensor<8x4xf32>, tensor<8x4xf32>)
  %25 = onnx.Sigmoid %24#0 : (tensor<8x4xf32>) -> tensor<8x4xf32>
  %sigmoid = onnx.Mul %25, %24#1 : (tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<8x4xf32>
  %26 = rt.linear @w ins(%x : tensor<8x4xf32>) outs(%e : tensor<8x8xf32>) -> tensor<8x8xf32>
  %27:2 = onnx.Split %26 {axis = 1 : i64, num_outputs = 2 : i64} : (tensor<8x8xf32>) -> (tensor<8x4xf32>, tensor<8x4xf32>)
  %plain = onnx.Mul %27#0, %27#1 : (tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<8x4xf32>
  // Both halves have one.
  %28 = rt.linear @w ins(%x : tensor<8x4xf32>) outs(%e : tensor<8x8xf32>) -> tensor<8x8xf32>
  %29:2 = onnx.Split %28 {axis = 1 : i64, num_outputs = 2 : i64} : (tensor<8x8xf32>) -> (tensor<8x4xf32>, tensor<8x4xf32>)
  %30 = onnx.Swish %29#0 : (tensor<8x4xf32>) -> tensor<8x4xf32>
  %31 = onnx.Relu %29#1 : (tensor<8x4xf32>) -> tensor<8x4xf32>
  %both = onnx.Mul %30, %31 : (tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<8x4xf32>
  // A kernel reads the result.
  %32 = rt.linear @w ins(%x : tensor<8x4xf32>) outs(%e : tensor<8x8xf32>) -> tensor<8x8xf32>
  %33:2 = onnx.Split %32 {axis = 1 : i64, num_outputs = 2 : i64} : (tensor<8x8xf32>) -> (tensor<8x4xf32>, tensor<8x4xf32>)
  %34 = onnx.Swish %33#0 : (tensor<8x4xf32>) -> tensor<8x4xf32>
  %35 = onnx.Mul %34, %33#1 : (tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<8x4xf32>
  %kernel = onnx.Exp %35 : (tensor<8x4xf32>) -> tensor<8x4xf32>
  // It accumulates.
  %36 = rt.linear @w accumulate ins(%x : tensor<8x4xf32>) outs(%old : tensor<8x8xf32>) -> tensor<8x8xf32>
  %37:2 = onnx.Split %36 {axis = 1 : i64, num_outputs = 2 : i64} : (tensor<8x8xf32>) -> (tensor<8x4xf32>, tensor<8x4xf32>)
  %38 = onnx.Swish %37#0 : (tensor<8x4xf32>) -> tensor<8x4xf32>
  %sum = onnx.Mul %38, %37#1 : (tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<8x4xf32>
  return %0, %read, %4#1, %half, %8, %11, %activated, %rows, %overlap, %strided, %plain, %kernel, %sum
      : tensor<8x8xf32>, tensor<8x4xf32>, tensor<8x4xf32>, tensor<8x4xf32>, tensor<8x4xf32>, tensor<8x1xf32>, tensor<8x4xf32>,
        tensor<4x8xf32>, tensor<8x4xf32>, tensor<8x4xf32>, tensor<8x4xf32>, tensor<8x4xf32>, tensor<8x4xf32>
}
