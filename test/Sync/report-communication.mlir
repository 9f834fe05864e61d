// RUN: caat-opt %s --pass-pipeline="builtin.module(tp-report-communication)" -o %t 2>&1 | FileCheck %s
// RUN: caat-opt %s --pass-pipeline="builtin.module(tp-expand-sync-points,tp-report-communication{file=-})" -o %t | FileCheck %s
// RUN: caat-opt %s --pass-pipeline="builtin.module(tp-expand-sync-points,tp-report-communication{json file=%t.json})" -o %t
// RUN: %python -m json.tool %t.json | FileCheck %s --check-prefix=JSON
// RUN: not caat-opt %s --pass-pipeline="builtin.module(tp-report-communication{file=/no/such/folder/x})" 2>&1 | FileCheck %s --check-prefix=ERROR

// CHECK:      site policy elements bytes/token before
// CHECK-NEXT: layers.0.attn partial 1/4 deferred 1 4 16
// CHECK-NEXT: layers.1.attn full 3 bits 4 4 16
// CHECK-NEXT: layers.0.mlp full 4 16 16
// CHECK-NEXT: embed all_reduce 4 16 16
// CHECK-NEXT: total 40 64
// CHECK-NEXT: 3 of 3 sync points on 2 ranks communicate; share of the bytes 0.625

// JSON:      "tp": 2
// JSON:      "site": "layers.0.attn"
// JSON-NEXT: "policy": "partial 1/4 deferred"
// JSON-NEXT: "elements": 1
// JSON-NEXT: "bytes_per_token": 4
// JSON-NEXT: "bytes_per_token_before": 16
// JSON:      "others": [
// JSON:      "site": "embed"
// JSON-NEXT: "kind": "all_reduce"
// JSON:      "total"
// JSON-NEXT: "bytes_per_token": 40
// JSON-NEXT: "bytes_per_token_before": 64
// JSON-NEXT: "sync_points": 3
// JSON-NEXT: "sync_points_before": 3

// ERROR: /no/such/folder/x: cannot write the report: No such file or directory

tp.mesh @mesh <["tp" = 2]>
func.func @main(%e: tensor<?x4xf32>, %p: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %x = tp.all_reduce %e on @mesh ["tp"] {site = "embed"} : tensor<?x4xf32>
  %s:2 = tp.sync_point base(%x) partial(%p) on @mesh ["tp"]
      {site = "layers.0.attn", policy = #tp.policy<partial, shared = 1, rest = deferred>} : tensor<?x4xf32>
  %u = tp.read_stream %s#0, %s#1 : tensor<?x4xf32>
  %z = onnx.Relu %u : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %v:2 = tp.sync_point base(%s#0) pending(%s#1) partial(%z) on @mesh ["tp"]
      {site = "layers.1.attn", policy = #tp.policy<full, rounding = <bits = 3>>} : tensor<?x4xf32>
  %t:2 = tp.sync_point base(%v#0) pending(%v#1) partial(%z) on @mesh ["tp"]
      {site = "layers.0.mlp", policy = #tp.policy<full>} : tensor<?x4xf32>
  %y = tp.read_stream %t#0, %t#1 : tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
