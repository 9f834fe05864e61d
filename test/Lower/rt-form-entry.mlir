// RUN: caat-opt %s --split-input-file --rt-form-entry --verify-diagnostics | FileCheck %s

// CHECK: rt.interface = {
// CHECK-SAME: caches = [{dims = ["batch", "", "max_length", ""], name = "past.k", past_length = "past", present = "present.k", present_length = "past + seq"
// CHECK-SAME: dims = ["batch", "seq", "past", "max_length"]
// CHECK-SAME: inputs = [{dims = ["batch", "", "seq", ""], name = "x", type = tensor<?x2x?x4xf32>}]
// CHECK-SAME: outputs = [{name = "y", type = tensor<?x2x?x4xf32>}]
module {
  // CHECK-LABEL: func.func @caat_forward() {
  // Sizes, buffers and the check come before anything runs.
  // CHECK-DAG:  %[[SEQ:.*]] = rt.dim "seq"
  // CHECK-DAG:  %[[PAST:.*]] = rt.dim "past"
  // CHECK-DAG:  %[[X:.*]] = rt.buffer 0[%{{.*}}, %[[SEQ]]] : memref<?x2x?x4xf32>
  // CHECK-DAG:  %[[CACHE:.*]] = rt.buffer 1
  // CHECK-DAG:  %[[LENGTH:.*]] = arith.addi %[[PAST]], %[[SEQ]]
  // CHECK-DAG:  %[[FITS:.*]] = arith.cmpi ule, %[[LENGTH]]
  // CHECK-DAG:  rt.check %[[FITS]], "the sequence is longer than max_length"
  // CHECK-DAG:  %[[OUT:.*]] = rt.buffer 2[%{{.*}}, %[[SEQ]]]
  // CHECK:      %[[TX:.*]] = bufferization.to_tensor %[[X]] restrict :
  // CHECK:      %[[TC:.*]] = bufferization.to_tensor %[[CACHE]] restrict writable
  // CHECK:      %[[UPDATED:.*]] = tensor.insert_slice %[[TX]] into %[[TC]]
  // CHECK:      materialize_in_destination %[[TX]] in restrict writable %[[OUT]]
  // CHECK:      materialize_in_destination %[[UPDATED]] in restrict writable %[[CACHE]]
  // CHECK-NEXT: return
  func.func @main(%x: tensor<?x2x?x4xf32> {onnx.name = "x", onnx.dims = ["batch", "", "seq", ""]},
                  %cache: tensor<?x2x?x4xf32> {onnx.name = "past.k", onnx.dims = ["batch", "", "max_length", ""], rt.cache = "present.k", rt.past_length = "past"})
      -> (tensor<?x2x?x4xf32> {onnx.name = "y"}, tensor<?x2x?x4xf32> {onnx.name = "present.k", rt.cache = 1 : i64}) {
    %c0 = arith.constant 0 : index
    %c2 = arith.constant 2 : index
    %batch = tensor.dim %x, %c0 : tensor<?x2x?x4xf32>
    %seq = tensor.dim %x, %c2 : tensor<?x2x?x4xf32>
    %past = rt.dim "past"
    %updated = tensor.insert_slice %x into %cache[0, 0, %past, 0] [%batch, 2, %seq, 4] [1, 1, 1, 1] : tensor<?x2x?x4xf32> into tensor<?x2x?x4xf32>
    %length = arith.addi %past, %seq : index
    %present = tensor.extract_slice %updated[0, 0, 0, 0] [%batch, 2, %length, 4] [1, 1, 1, 1] : tensor<?x2x?x4xf32> to tensor<?x2x?x4xf32>
    return %x, %present : tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>
  }
}

// -----

module {
  // expected-error@below {{argument 0: dimension 1 is unknown and has no name}}
  func.func @main(%x: tensor<2x?xf32> {onnx.name = "x", onnx.dims = ["", ""]}) -> tensor<2x?xf32> {
    return %x : tensor<2x?xf32>
  }
}

// -----

// expected-error@below {{no function @main with one block}}
module {
}

// -----

module {
  func.func @main(%past: tensor<1x2x?x4xf32> {onnx.name = "past", onnx.dims = ["", "", "max_length", ""], rt.cache = "present", rt.past_length = "past"})
      -> (tensor<1x2x?x4xf32> {onnx.name = "present", rt.cache = 0 : i64}) {
    // expected-error@below {{result 0 should be a slice of a cache}}
    return %past : tensor<1x2x?x4xf32>
  }
}
