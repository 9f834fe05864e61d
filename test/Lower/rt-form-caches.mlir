// RUN: caat-opt %s --split-input-file --rt-form-caches | FileCheck %s
// RUN: caat-opt %s --split-input-file --rt-form-caches --remarks-filter=caat -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK

// Past and present of an Attention: the argument is the whole cache, the past a slice of it.
// CHECK-LABEL: func.func @attention(
// CHECK-SAME:    %[[Q:[a-z0-9]*]]: tensor<?x2x?x4xf32>
// CHECK-SAME:    %[[K:[a-z0-9]*]]: tensor<?x2x?x4xf32> {onnx.dims = ["batch", "", "max_length", ""], onnx.name = "past.k", rt.cache = "present.k", rt.past_length = "past"}
// CHECK-SAME:    %[[V:[a-z0-9]*]]: tensor<?x2x?x4xf32> {onnx.dims = ["batch", "", "max_length", ""], onnx.name = "past.v", rt.cache = "present.v", rt.past_length = "past"}
// CHECK-SAME:    tensor<?x2x?x4xf32> {onnx.name = "present.k", rt.cache = 1 : i64}
// CHECK-DAG:   %[[P:.*]] = rt.dim "past"
// CHECK-DAG:   %[[B:.*]] = rt.dim "batch"
// CHECK:       %[[KS:.*]] = tensor.extract_slice %[[K]][0, 0, 0, 0] [%{{.*}}, 2, %{{.*}}, 4] [1, 1, 1, 1]
// CHECK:       past_key %{{.*}} past_value
// REMARK-DAG:  'past.k' is a cache, written in place
// REMARK-DAG:  'past.v' is a cache, written in place
func.func @attention(%q: tensor<?x2x?x4xf32> {onnx.dims = ["batch", "", "seq", ""]},
                     %pk: tensor<?x2x?x?xf32> {onnx.name = "past.k", onnx.dims = ["batch", "", "past", "width"]},
                     %pv: tensor<?x2x?x4xf32> {onnx.name = "past.v", onnx.dims = ["batch", "", "past", ""]})
    -> (tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32> {onnx.name = "present.k"}, tensor<?x2x?x4xf32> {onnx.name = "present.v"}) {
  %0:3 = onnx.Attention %q, %q, %q past_key %pk past_value %pv {is_causal = 1 : i64, resultSegmentSizes = array<i32: 1, 1, 1, 0>}
    : (tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x?xf32>, tensor<?x2x?x4xf32>)
    -> (tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>)
  return %0#0, %0#1, %0#2 : tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>
}

// -----

// The present is not returned: an ordinary input.
// CHECK-LABEL: func.func @no_present(
// CHECK-NOT:     rt.cache
// REMARK-DAG:  'past.k' is no cache: not appended to by one op whose result is returned
func.func @no_present(%new: tensor<?x2x?x4xf32> {onnx.dims = ["batch", "", "seq", ""]},
                      %past: tensor<?x2x?x4xf32> {onnx.name = "past.k", onnx.dims = ["batch", "", "past", ""]}) -> tensor<?x2x?x4xf32> {
  %0 = onnx.Concat %past, %new {axis = 2 : i64} : (tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) -> tensor<?x2x?x4xf32>
  %1 = onnx.Relu %0 : (tensor<?x2x?x4xf32>) -> tensor<?x2x?x4xf32>
  return %1 : tensor<?x2x?x4xf32>
}

// -----

// The model's own Concat appends, along a dimension that it may count from the end.
// CHECK-LABEL: func.func @concat(
// CHECK-SAME:    rt.cache = "present.k"
// CHECK-SAME:    rt.cache = "present.v"
func.func @concat(%new: tensor<?x2x?x4xf32> {onnx.dims = ["batch", "", "seq", ""]},
                  %past: tensor<?x2x?x4xf32> {onnx.name = "past.k", onnx.dims = ["batch", "", "past", ""]},
                  %pastv: tensor<?x2x?x4xf32> {onnx.name = "past.v", onnx.dims = ["batch", "", "past", ""]})
    -> (tensor<?x2x?x4xf32> {onnx.name = "present.k"}, tensor<?x2x?x4xf32> {onnx.name = "present.v"}) {
  %0 = onnx.Concat %past, %new {axis = 2 : i64} : (tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) -> tensor<?x2x?x4xf32>
  %1 = onnx.Concat %pastv, %new {axis = -2 : i64} : (tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) -> tensor<?x2x?x4xf32>
  return %0, %1 : tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>
}
