// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: caat-opt %s --onnx-bind-inputs="dims=batch=2,seq=3 values=use_cache=true,sizes=4,limits=1.5" | FileCheck %s
// RUN: not caat-opt %s --onnx-bind-inputs="dims=rows=2" 2>&1 | FileCheck %s --check-prefix=DIM
// RUN: not caat-opt %s --onnx-bind-inputs="values=sizes=4096" 2>&1 | FileCheck %s --check-prefix=RANGE
// RUN: not caat-opt %s --onnx-bind-inputs="values=x=0" 2>&1 | FileCheck %s --check-prefix=SHAPE
// RUN: not caat-opt %s --onnx-bind-inputs="dims=past=0,seq=0" 2>&1 | FileCheck %s --check-prefix=NEGATIVE

// A symbol is replaced wherever it stands; an input with a value is no input any more.
// CHECK: func.func @main(%arg0: tensor<2x3x?xf32> {onnx.dims = ["", "", "past + 6"], onnx.name = "x"},
// CHECK-SAME: %arg1: tensor<?x2xf32> {onnx.dims = ["past - 1", ""], onnx.name = "y"})
// CHECK-SAME: {onnx.dims = ["past + 3"]}
// CHECK-DAG: onnx.Constant dense<true> : tensor<1xi1>
// CHECK-DAG: onnx.Constant dense<4> : tensor<2xi8>
// CHECK-DAG: onnx.Constant dense<1.500000e+00> : tensor<f16>
func.func @main(%x: tensor<?x?x?xf32> {onnx.dims = ["batch", "seq", "past + batch * seq"], onnx.name = "x"},
    %use: tensor<1xi1> {onnx.dims = [""], onnx.name = "use_cache"}, %y: tensor<?x2xf32> {onnx.dims = ["past - 1", ""], onnx.name = "y"},
    %sizes: tensor<2xi8> {onnx.dims = [""], onnx.name = "sizes"}, %limits: tensor<f16> {onnx.dims = [], onnx.name = "limits"})
    -> (tensor<?xi1> {onnx.dims = ["past + seq"]}, tensor<2xi8>, tensor<f16>) {
  %n = onnx.Not %use : (tensor<1xi1>) -> tensor<?xi1>
  %s = onnx.Neg %sizes : (tensor<2xi8>) -> tensor<2xi8>
  %l = onnx.Neg %limits : (tensor<f16>) -> tensor<f16>
  return %n, %s, %l : tensor<?xi1>, tensor<2xi8>, tensor<f16>
}

// DIM: error: --dim rows: no input has a dimension of that name; there are 'batch', 'past', 'seq'
// RANGE: error: --set sizes: '4096' is no value of type i8
// SHAPE: error: --set x: the input has no fixed shape; give its sizes too (--dim)
// NEGATIVE: error: the dimension 'past - 1' becomes -1
