// RUN: caat-opt %s | caat-opt | FileCheck %s
// RUN: caat-opt %s --mlir-print-op-generic | caat-opt | FileCheck %s

// CHECK-LABEL: rt.weight @scale : tensor<2xf32> {
rt.weight @scale : tensor<2xf32> {
  %0 = arith.constant dense<[1.0, 2.0]> : tensor<2xf32>
  // CHECK: rt.yield %{{.*}} : tensor<2xf32>
  rt.yield %0 : tensor<2xf32>
}
// CHECK: rt.weight @w linear : tensor<4x8xf32>
rt.weight @w linear : tensor<4x8xf32> {
  %0 = arith.constant dense<1.0> : tensor<4x8xf32>
  rt.yield %0 : tensor<4x8xf32>
}
// CHECK: rt.weight @codes linear transposed blocks(#rt.blocks<bits = 4, size = 32, scales = f16, offset = middle>) : tensor<8x32xf32>
rt.weight @codes linear transposed blocks(#rt.blocks<bits = 4, size = 32, scales = f16, offset = middle>) : tensor<8x32xf32> {
  %0 = arith.constant dense<1.0> : tensor<8x32xf32>
  rt.yield %0 : tensor<8x32xf32>
}
// CHECK: rt.weight @few linear transposed blocks(#rt.blocks<bits = 8, size = 16, scales = f32, offset = minimum>) rounded : tensor<8x32xbf16>
rt.weight @few linear transposed blocks(#rt.blocks<bits = 8, size = 16, scales = f32, offset = minimum>) rounded : tensor<8x32xbf16> {
  %0 = arith.constant dense<1.0> : tensor<8x32xf32>
  rt.yield %0 : tensor<8x32xf32>
}
// CHECK: rt.weight @t linear transposed : tensor<8x4xf32>
rt.weight @t linear transposed : tensor<8x4xf32> {
  %0 = arith.constant dense<1.0> : tensor<8x4xf32>
  rt.yield %0 : tensor<8x4xf32>
}

rt.weight @bias : tensor<8xf32> {
  %0 = arith.constant dense<1.0> : tensor<8xf32>
  rt.yield %0 : tensor<8xf32>
}

func.func private @k(index, index)

// CHECK-LABEL: func.func @tensors(
func.func @tensors(%x: tensor<?x4xf32>, %a: tensor<?x?x8xf32>, %y: tensor<?x8xf32>, %c: tensor<?x?x?xf32>) {
  // CHECK: rt.parameter @scale : tensor<2xf32>
  %0 = rt.parameter @scale : tensor<2xf32>
  // CHECK: rt.linear @w ins(%{{.*}} : tensor<?x4xf32>) outs(%{{.*}} : tensor<?x8xf32>) -> tensor<?x8xf32>
  %1 = rt.linear @w ins(%x : tensor<?x4xf32>) outs(%y : tensor<?x8xf32>) -> tensor<?x8xf32>
  // CHECK: rt.linear @t accumulate ins
  %2 = rt.linear @t accumulate ins(%x : tensor<?x4xf32>) outs(%1 : tensor<?x8xf32>) -> tensor<?x8xf32>
  // CHECK: rt.linear @w ins(%{{.*}} : tensor<?x4xf32>) bias(%{{.*}} : tensor<8xf32>) then gelu outs(%{{.*}} : tensor<?x8xf32>) -> tensor<?x8xf32>
  %b = rt.parameter @bias : tensor<8xf32>
  %4 = rt.linear @w ins(%x : tensor<?x4xf32>) bias(%b : tensor<8xf32>) then gelu outs(%y : tensor<?x8xf32>) -> tensor<?x8xf32>
  // CHECK: rt.linear @w ins(%{{.*}} : tensor<?x4xf32>) bias(%{{.*}} : tensor<8xf32>) then swish gate second outs(%{{.*}} : tensor<?x4xf32>) -> tensor<?x4xf32>
  %6 = rt.linear @w ins(%x : tensor<?x4xf32>) bias(%b : tensor<8xf32>) then swish gate second outs(%x : tensor<?x4xf32>) -> tensor<?x4xf32>
  // CHECK: rt.linear @w accumulate ins(%{{.*}}) then swish outs(%{{.*}}) {alpha = 1.702000e+00 : f32} -> tensor<?x8xf32>
  %5 = rt.linear @w accumulate ins(%x : tensor<?x4xf32>) then swish outs(%4 : tensor<?x8xf32>) {alpha = 1.702 : f32} -> tensor<?x8xf32>
  // CHECK: rt.matmul ins({{.*}}) outs({{.*}}) {alpha = 5.000000e-01 : f32, transpose_b} -> tensor<?x?x?xf32>
  %3 = rt.matmul ins(%a, %a : tensor<?x?x8xf32>, tensor<?x?x8xf32>) outs(%c : tensor<?x?x?xf32>)
         {transpose_b, alpha = 0.5 : f32} -> tensor<?x?x?xf32>
  return
}

// Factors of bf16 have sums of f32.
// CHECK-LABEL: func.func @narrow_factors(
func.func @narrow_factors(%a: tensor<?x?x8xbf16>, %c: tensor<?x?x?xf32>) {
  // CHECK: rt.matmul ins({{.*}} : tensor<?x?x8xbf16>, tensor<?x?x8xbf16>) outs({{.*}}) {transpose_b} -> tensor<?x?x?xf32>
  %0 = rt.matmul ins(%a, %a : tensor<?x?x8xbf16>, tensor<?x?x8xbf16>) outs(%c : tensor<?x?x?xf32>) {transpose_b} -> tensor<?x?x?xf32>
  return
}

// CHECK-LABEL: func.func @attention(
func.func @attention(%q: tensor<?x?x6x64xf32>, %k: tensor<?x2x?x64xbf16>, %v: tensor<?x2x?x32xbf16>, %mask: tensor<1x?x?xf32>,
                     %lengths: tensor<?xi32>, %y: tensor<?x?x6x32xbf16>, %mq: memref<?x?x2x8xf16>, %mk: memref<?x2x?x8xf16>, %n: index) {
  // CHECK: rt.attention via bf16 query({{.*}}) keys({{.*}}) values({{.*}}) mask({{.*}}) lengths({{.*}}) total({{.*}}) past({{.*}}) outs({{.*}})
  // CHECK-SAME: {appends_by_row, causal, left = 31 : i64, scale = 1.250000e-01 : f32} -> tensor<?x?x6x32xbf16>
  %0 = rt.attention via bf16 query(%q : tensor<?x?x6x64xf32>) keys(%k : tensor<?x2x?x64xbf16>) values(%v : tensor<?x2x?x32xbf16>)
         mask(%mask : tensor<1x?x?xf32>) lengths(%lengths : tensor<?xi32>) total(%n) past(%n) outs(%y : tensor<?x?x6x32xbf16>)
         {scale = 0.125 : f32, left = 31, causal, appends_by_row} -> tensor<?x?x6x32xbf16>
  // CHECK: rt.attention via f16 {{.*}} outs(%{{.*}} : memref<?x?x2x8xf16>) {scale = 1.000000e+00 : f32}{{$}}
  rt.attention via f16 query(%mq : memref<?x?x2x8xf16>) keys(%mk : memref<?x2x?x8xf16>) values(%mk : memref<?x2x?x8xf16>)
    total(%n) past(%n) outs(%mq : memref<?x?x2x8xf16>) {scale = 1.0 : f32}
  return
}

// CHECK-LABEL: func.func @memrefs(
func.func @memrefs(%x: memref<?x4xf32>, %y: memref<?x8xf32>, %fits: i1) {
  // CHECK: %[[N:.*]] = rt.dim "batch"
  %n = rt.dim "batch"
  // CHECK: rt.buffer 3[%[[N]]] : memref<?x4xf32>
  %b = rt.buffer 3[%n] : memref<?x4xf32>
  // CHECK: rt.workspace : memref<?xi8>
  %w = rt.workspace : memref<?xi8>
  // CHECK: rt.linear @w ins(%{{.*}} : memref<?x4xf32>) outs(%{{.*}} : memref<?x8xf32>){{$}}
  rt.linear @w ins(%b : memref<?x4xf32>) outs(%y : memref<?x8xf32>)
  // CHECK: rt.copy %{{.*}} to %{{.*}} : memref<?x4xf32> to memref<?x4xf32>
  rt.copy %x to %b : memref<?x4xf32> to memref<?x4xf32>
  // CHECK: rt.launch @k grid(%[[N]]) buffers(%{{.*}}, %{{.*}} : memref<?x4xf32>, memref<?x8xf32>) dims(%[[N]])
  rt.launch @k grid(%n) buffers(%b, %y : memref<?x4xf32>, memref<?x8xf32>) dims(%n)
  // CHECK: rt.check %{{.*}}, "too long"
  rt.check %fits, "too long"
  // CHECK: rt.check_later %{{.*}}, "too long" : memref<i1>
  %flag = rt.buffer 3[] : memref<i1>
  rt.check_later %flag, "too long" : memref<i1>
  // CHECK: mapping = [#rt.rows]
  scf.forall (%i) in (1) {
  } {mapping = [#rt.rows]}
  return
}

// CHECK-LABEL: func.func @sync_point(
func.func @sync_point(%t: tensor<?x4xf32>, %b: tensor<4xf32>, %m: memref<?x4xf32>, %l: memref<8xi64>) {
  // CHECK: rt.sync_point "layers.0.attn" partial(%{{.*}} : tensor<?x4xf32>) bias(%{{.*}} : tensor<4xf32>) input(%{{.*}} : tensor<?x4xf32>) outs({{.*}}) {flushes} -> tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>
  %0:3 = rt.sync_point "layers.0.attn" partial(%t : tensor<?x4xf32>) bias(%b : tensor<4xf32>) input(%t : tensor<?x4xf32>)
      outs(%t, %t, %t : tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>) {flushes}
      -> tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>
  // CHECK: rt.sync_point "layers.0.mlp" partial(%{{.*}} : memref<?x4xf32>) outs({{.*}}) live(%{{.*}} : memref<8xi64>) {starts_base, starts_pending}{{$}}
  rt.sync_point "layers.0.mlp" partial(%m : memref<?x4xf32>)
      outs(%m, %m, %m : memref<?x4xf32>, memref<?x4xf32>, memref<?x4xf32>) live(%l : memref<8xi64>) {starts_base, starts_pending}
  return
}

tp.mesh @mesh <["tp" = 2]>

// CHECK-LABEL: func.func @sums(
func.func @sums(%m: memref<?x4xf32>, %n: memref<?x4xf32>) {
  // CHECK: rt.part_rows 64 : index
  %least = rt.part_rows 64 : index
  // CHECK: rt.unread_tokens of %{{.*}} : index
  %unread = rt.unread_tokens of %least : index
  // CHECK: %[[A:.*]] = rt.all_reduce_start %{{.*}} on @mesh ["tp"] {site = "layers.0.attn"} : memref<?x4xf32>
  %a = rt.all_reduce_start %m on @mesh ["tp"] {site = "layers.0.attn"} : memref<?x4xf32>
  // CHECK: %[[B:.*]] = rt.all_reduce_start %{{.*}} on @mesh ["tp"] {part = 1 : i64, parts = 2 : i64} : memref<?x4xf32>
  %b = rt.all_reduce_start %n on @mesh ["tp"] {part = 1 : i64, parts = 2 : i64} : memref<?x4xf32>
  // CHECK: rt.all_reduce_wait %[[A]] for %{{.*}} : memref<?x4xf32>
  rt.all_reduce_wait %a for %m : memref<?x4xf32>
  // CHECK: rt.all_reduce_wait %[[B]] for %{{.*}} : memref<?x4xf32>
  rt.all_reduce_wait %b for %n : memref<?x4xf32>
  return
}

// CHECK-LABEL: func.func @launch_behind_sums(
func.func @launch_behind_sums(%n: index, %m: memref<?x4xf32>) {
  // CHECK: %[[A:.*]] = rt.all_reduce_start
  %a = rt.all_reduce_start %m on @mesh ["tp"] : memref<?x4xf32>
  // CHECK: rt.launch @k grid(%{{.*}}) buffers(%{{.*}} : memref<?x4xf32>) dims() sums(%[[A]]) by @k
  rt.launch @k grid(%n) buffers(%m : memref<?x4xf32>) dims() sums(%a) by @k
  return
}
