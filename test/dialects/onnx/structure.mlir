// RUN: caat-opt %s | caat-opt | FileCheck %s
// RUN: caat-opt %s -canonicalize | FileCheck %s --check-prefix=FOLD

// CHECK: onnx.initializer @model.embed.weight : tensor<16x8xf32> {file = "model.onnx.data", length = 512 : i64, offset = 64 : i64}
onnx.initializer @"model.embed.weight" : tensor<16x8xf32> {file = "model.onnx.data", offset = 64 : i64, length = 512 : i64}
// Two 4-bit elements share a byte, a boolean takes one.
// CHECK: onnx.initializer @"4bit" : tensor<3x3xi4> {{{.*}}length = 5 : i64
onnx.initializer @"4bit" : tensor<3x3xi4> {file = "q/w.bin", offset = 0 : i64, length = 5 : i64}
// CHECK: onnx.initializer @mask : tensor<100xi1>
onnx.initializer @mask : tensor<100xi1> {file = "q/w.bin", offset = 5 : i64, length = 100 : i64}

// CHECK-LABEL: func @structure
// FOLD-LABEL: func @structure
func.func @structure(%x: tensor<4x8xf32>) -> (tensor<16x8xf32>, tensor<2xi64>, tensor<4x8xf32>, tensor<4x8xf32>) {
  // CHECK: onnx.get_initializer @model.embed.weight : tensor<16x8xf32>
  %w = onnx.get_initializer @"model.embed.weight" : tensor<16x8xf32>
  // CHECK: onnx.Constant dense<[0, 2]> : tensor<2xi64>
  %c = onnx.Constant dense<[0, 2]> : tensor<2xi64>
  // CHECK: %[[NONE:.*]] = onnx.NoValue : none
  %none = onnx.NoValue : none
  // CHECK: onnx.Custom "com.microsoft" "BiasGelu"(%{{.*}}, %[[NONE]]) {node_attributes = {a = 1 : i64}, version = 3 : i64} : (tensor<4x8xf32>, none) -> tensor<4x8xf32>
  %y = onnx.Custom "com.microsoft" "BiasGelu"(%x, %none) {node_attributes = {a = 1 : i64}, version = 3 : i64} : (tensor<4x8xf32>, none) -> tensor<4x8xf32>
  // CHECK: onnx.Identity
  // FOLD-NOT: onnx.Identity
  %i = onnx.Identity %x : (tensor<4x8xf32>) -> tensor<4x8xf32>
  // FOLD: return %{{.*}}, %{{.*}}, %{{.*}}, %arg0
  return %w, %c, %y, %i : tensor<16x8xf32>, tensor<2xi64>, tensor<4x8xf32>, tensor<4x8xf32>
}

// CHECK-LABEL: func @check
func.func @check(%holds: tensor<i1>) {
  // CHECK: onnx.check %{{.*}}, "rows must have equal length" : tensor<i1>
  onnx.check %holds, "rows must have equal length" : tensor<i1>
  // CHECK: onnx.check %{{.*}}, "later" {late} : tensor<i1>
  onnx.check %holds, "later" {late} : tensor<i1>
  return
}

// CHECK-LABEL: func @control_flow
func.func @control_flow(%c: tensor<i1>, %x: tensor<4xf32>, %n: tensor<i64>) -> (tensor<4xf32>, tensor<*xf32>, tensor<*xf32>) {
  // CHECK: onnx.If %{{.*}} {
  // CHECK-NEXT: onnx.Yield %{{.*}} : tensor<4xf32>
  // CHECK-NEXT: } else {
  // CHECK: } : (tensor<i1>) -> tensor<4xf32>
  %a = onnx.If %c {
    onnx.Yield %x : tensor<4xf32>
  } else {
    %m = onnx.Neg %x : (tensor<4xf32>) -> tensor<4xf32>
    onnx.Yield %m : tensor<4xf32>
  } : (tensor<i1>) -> tensor<4xf32>
  // CHECK: onnx.Loop times %{{.*}} while %{{.*}} carry %{{.*}} {
  %b = onnx.Loop times %n while %c carry %x {
  ^bb0(%i: tensor<i64>, %go: tensor<i1>, %v: tensor<*xf32>):
    onnx.Yield %go, %v : tensor<i1>, tensor<*xf32>
  } : (tensor<i64>, tensor<i1>, tensor<4xf32>) -> tensor<*xf32>
  // CHECK: onnx.Scan %{{.*}} {
  // CHECK: } {num_scan_inputs = 1 : i64} : (tensor<4xf32>) -> tensor<*xf32>
  %s = onnx.Scan %x {
  ^bb0(%e: tensor<*xf32>):
    onnx.Yield %e : tensor<*xf32>
  } {num_scan_inputs = 1 : i64} : (tensor<4xf32>) -> tensor<*xf32>
  return %a, %b, %s : tensor<4xf32>, tensor<*xf32>, tensor<*xf32>
}

// CHECK-LABEL: func @unpack
func.func @unpack(%b: tensor<8x16xui8>) -> tensor<8x32xui8> {
  // CHECK: onnx.unpack %{{.*}} {bits = 4 : i64} : (tensor<8x16xui8>) -> tensor<8x32xui8>
  %q = onnx.unpack %b {bits = 4 : i64} : (tensor<8x16xui8>) -> tensor<8x32xui8>
  return %q : tensor<8x32xui8>
}
