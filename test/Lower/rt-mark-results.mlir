// RUN: caat-opt %s --pass-pipeline="builtin.module(func.func(rt-mark-results))" | FileCheck %s

rt.weight @head linear : tensor<4x8xf32> {
  %0 = arith.constant dense<1.0> : tensor<4x8xf32>
  rt.yield %0 : tensor<4x8xf32>
}

// Results themselves, and behind a soft-cap.
// CHECK-LABEL: func.func @results
// CHECK:         rt.linear @head {{.*}} {only_results}
// CHECK:         rt.linear @head {{.*}} {only_results}
func.func @results(%x: tensor<?x?x4xf32>, %e: tensor<?x?x8xf32>) -> (tensor<?x?x8xf32>, tensor<?x?x8xf32>) {
  %0 = rt.linear @head ins(%x : tensor<?x?x4xf32>) outs(%e : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %1 = rt.linear @head ins(%x : tensor<?x?x4xf32>) outs(%e : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %cap = onnx.Constant dense<3.0> : tensor<f32>
  %2 = onnx.Div %1, %cap : (tensor<?x?x8xf32>, tensor<f32>) -> tensor<?x?x8xf32>
  %3 = onnx.Tanh %2 : (tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %4 = onnx.Mul %3, %cap : (tensor<?x?x8xf32>, tensor<f32>) -> tensor<?x?x8xf32>
  return %0, %4 : tensor<?x?x8xf32>, tensor<?x?x8xf32>
}

// What another product reads too, what becomes a cache, what mixes tokens on the way, what has no tokens, and what
// nobody reads.
// CHECK-LABEL: func.func @others
// CHECK-NOT:     only_results
func.func @others(%x: tensor<?x?x4xf32>, %flat: tensor<?x4xf32>, %e: tensor<?x?x8xf32>, %f: tensor<?x8xf32>, %g: tensor<8x8xf32>)
    -> (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32> {rt.cache = 0 : i64}, tensor<?x?x8xf32>, tensor<?x8xf32>) {
  %axis = onnx.Constant dense<1> : tensor<i64>
  %0 = rt.linear @head ins(%x : tensor<?x?x4xf32>) outs(%e : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %1 = onnx.MatMul %0, %g : (tensor<?x?x8xf32>, tensor<8x8xf32>) -> tensor<?x?x8xf32>
  %2 = rt.linear @head ins(%x : tensor<?x?x4xf32>) outs(%e : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %3 = rt.linear @head ins(%x : tensor<?x?x4xf32>) outs(%e : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %4 = onnx.CumSum %3, %axis : (tensor<?x?x8xf32>, tensor<i64>) -> tensor<?x?x8xf32>
  %5 = rt.linear @head ins(%flat : tensor<?x4xf32>) outs(%f : tensor<?x8xf32>) -> tensor<?x8xf32>
  %6 = rt.linear @head ins(%x : tensor<?x?x4xf32>) outs(%e : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return %0, %1, %2, %4, %5 : tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x8xf32>
}

// Each value is looked at once, however many ways lead to it.
// CHECK-LABEL: func.func @ways
// CHECK:         rt.linear @head {{.*}} {only_results}
func.func @ways(%x: tensor<?x?x4xf32>, %e: tensor<?x?x8xf32>) -> tensor<?x?x8xf32> {
  %0 = rt.linear @head ins(%x : tensor<?x?x4xf32>) outs(%e : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %1 = onnx.Add %0, %0 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %2 = onnx.Add %1, %1 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %3 = onnx.Add %2, %2 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %4 = onnx.Add %3, %3 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %5 = onnx.Add %4, %4 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %6 = onnx.Add %5, %5 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %7 = onnx.Add %6, %6 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %8 = onnx.Add %7, %7 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %9 = onnx.Add %8, %8 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %10 = onnx.Add %9, %9 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %11 = onnx.Add %10, %10 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %12 = onnx.Add %11, %11 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %13 = onnx.Add %12, %12 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %14 = onnx.Add %13, %13 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %15 = onnx.Add %14, %14 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %16 = onnx.Add %15, %15 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %17 = onnx.Add %16, %16 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %18 = onnx.Add %17, %17 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %19 = onnx.Add %18, %18 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %20 = onnx.Add %19, %19 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %21 = onnx.Add %20, %20 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %22 = onnx.Add %21, %21 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %23 = onnx.Add %22, %22 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %24 = onnx.Add %23, %23 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %25 = onnx.Add %24, %24 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %26 = onnx.Add %25, %25 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %27 = onnx.Add %26, %26 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %28 = onnx.Add %27, %27 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %29 = onnx.Add %28, %28 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %30 = onnx.Add %29, %29 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %31 = onnx.Add %30, %30 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %32 = onnx.Add %31, %31 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %33 = onnx.Add %32, %32 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %34 = onnx.Add %33, %33 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %35 = onnx.Add %34, %34 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %36 = onnx.Add %35, %35 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %37 = onnx.Add %36, %36 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %38 = onnx.Add %37, %37 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %39 = onnx.Add %38, %38 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %40 = onnx.Add %39, %39 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %41 = onnx.Add %40, %40 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %42 = onnx.Add %41, %41 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %43 = onnx.Add %42, %42 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %44 = onnx.Add %43, %43 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %45 = onnx.Add %44, %44 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %46 = onnx.Add %45, %45 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %47 = onnx.Add %46, %46 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %48 = onnx.Add %47, %47 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %49 = onnx.Add %48, %48 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %50 = onnx.Add %49, %49 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %51 = onnx.Add %50, %50 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %52 = onnx.Add %51, %51 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %53 = onnx.Add %52, %52 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %54 = onnx.Add %53, %53 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %55 = onnx.Add %54, %54 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %56 = onnx.Add %55, %55 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %57 = onnx.Add %56, %56 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %58 = onnx.Add %57, %57 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %59 = onnx.Add %58, %58 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %60 = onnx.Add %59, %59 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %61 = onnx.Add %60, %60 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %62 = onnx.Add %61, %61 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %63 = onnx.Add %62, %62 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %64 = onnx.Add %63, %63 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return %64 : tensor<?x?x8xf32>
}
