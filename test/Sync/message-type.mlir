// RUN: caat-opt %s --split-input-file --pass-pipeline="builtin.module(tp-expand-sync-points{message-type=bf16},cse)" | FileCheck %s
// RUN: not caat-opt %s --split-input-file --pass-pipeline="builtin.module(tp-expand-sync-points{message-type=f8})" 2>&1 | FileCheck %s --check-prefix=TYPE
// TYPE: error: message-type: f8 is not f32, bf16 or f16

// What is sent is rounded, what arrives is f32 again; half the bytes of both.
// CHECK-LABEL: module attributes
// CHECK-SAME:    tp.sync = [{bytes_per_token = 8 : i64, channels = 4 : i64, elements = 4 : i64, full_bytes_per_token = 8 : i64
module {
  tp.mesh @mesh <["tp" = 2]>
  // CHECK-LABEL: func.func @full(
  // CHECK-SAME:    %[[X:.*]]: tensor<?x4xf32>, %[[P:.*]]: tensor<?x4xf32>
  // CHECK-NEXT:    %[[N:.*]] = onnx.Cast %[[P]] to bf16
  // CHECK-NEXT:    %[[R:.*]] = tp.all_reduce %[[N]] on @mesh ["tp"] {site = "layers.0.attn"} : tensor<?x4xbf16>
  // CHECK-NEXT:    %[[W:.*]] = onnx.Cast %[[R]] to f32
  // CHECK-NEXT:    %[[Y:.*]] = onnx.Add %[[X]], %[[W]]
  // CHECK-NEXT:    return %[[Y]]
  func.func @full(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>) -> tensor<?x4xf32> {
    %s:2 = tp.sync_point base(%x) partial(%p) on @mesh ["tp"]
        {site = "layers.0.attn", policy = #tp.policy<full>} : tensor<?x4xf32>
    %y = tp.read_stream %s#0, %s#1 : tensor<?x4xf32>
    return %y : tensor<?x4xf32>
  }
}

// -----

tp.mesh @mesh <["tp" = 2]>
// Base and pending stay f32; the flush travels in 16 bits too. Few bits and elements of 16 bits travel as they are.
// CHECK-LABEL: func.func @partial(
// CHECK-NOT:     tensor<?x4xbf16>
// CHECK:         tp.all_reduce %{{.*}} {site = "layers.0.attn"} : tensor<?x1xbf16>
// CHECK:         tp.quantized_all_reduce %{{.*}} {site = "layers.0.mlp"} : tensor<?x4xf32>
// CHECK:         tp.all_reduce %{{.*}} {site = "final"} : tensor<?x4xbf16>
// CHECK-LABEL: func.func @narrow(
// CHECK-NEXT:    tp.all_reduce %{{.*}} {site = "layers.1.attn"} : tensor<?x4xf16>
func.func @partial(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %s:2 = tp.sync_point base(%x) partial(%p) on @mesh ["tp"]
      {site = "layers.0.attn", policy = #tp.policy<partial, shared = 1, rest = deferred>} : tensor<?x4xf32>
  %y = tp.read_stream %s#0, %s#1 : tensor<?x4xf32>
  %q = onnx.Relu %y : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %t:2 = tp.sync_point base(%s#0) pending(%s#1) partial(%q) on @mesh ["tp"]
      {site = "layers.0.mlp", policy = #tp.policy<full, rounding = <bits = 4>>} : tensor<?x4xf32>
  %z = tp.read_stream %t#0, %t#1 : tensor<?x4xf32>
  %r = onnx.Relu %z : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %u:2 = tp.sync_point base(%t#0) pending(%t#1) partial(%r) on @mesh ["tp"]
      {site = "layers.1.mlp", policy = #tp.policy<partial, shared = 2, rest = deferred>} : tensor<?x4xf32>
  %v = tp.read_stream %u#0, %u#1 : tensor<?x4xf32>
  return %v : tensor<?x4xf32>
}
func.func @narrow(%x: tensor<?x4xf16>, %p: tensor<?x4xf16>) -> tensor<?x4xf16> {
  %s:2 = tp.sync_point base(%x) partial(%p) on @mesh ["tp"]
      {site = "layers.1.attn", policy = #tp.policy<full>} : tensor<?x4xf16>
  %y = tp.read_stream %s#0, %s#1 : tensor<?x4xf16>
  return %y : tensor<?x4xf16>
}
