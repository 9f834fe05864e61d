// RUN: caat-opt %s --split-input-file --tp-find-halves | FileCheck %s
// RUN: caat-opt %s --split-input-file --tp-find-halves --remarks-filter=caat 2>&1 | FileCheck %s --check-prefix=REMARK
// REMARK: [Passed] halves | {{.*}}batch may be run in two parts, along 'batch'
// REMARK: [Passed] halves | {{.*}}tokens may be run in two parts, along 'seq'
// REMARK: [Missed] halves | {{.*}}tokens cannot be run in two parts: input 'x' is neither filled

// What the engine knows by itself: ones in the mask, positions behind the past. Attention may have a window.
// CHECK: caat.halves = {batch = {dim = "batch"}, tokens = {dim = "seq"}}
module {
  func.func @main(%ids: tensor<?x?xi64> {onnx.name = "input_ids", onnx.dims = ["batch", "seq"]},
                  %mask: tensor<?x?xi64> {onnx.name = "attention_mask", onnx.dims = ["batch", "total"]},
                  %pos: tensor<?x?xi64> {onnx.name = "position_ids", onnx.dims = ["batch", "seq"]},
                  %pk: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]},
                  %pv: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.value", onnx.dims = ["batch", "", "past", ""]})
      -> (tensor<?x?x8xf32> {onnx.name = "logits"}, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) {
    %axes = onnx.Constant dense<[1, 2]> : tensor<2xi64>
    %table = onnx.Constant dense<0.5> : tensor<16x8xf32>
    %x = onnx.Gather %table, %ids : (tensor<16x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
    %e = onnx.Gather %table, %pos : (tensor<16x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
    %s = onnx.Add %x, %e : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
    %b = onnx.Cast %mask to i1 : (tensor<?x?xi64>) -> tensor<?x?xi1>
    %m = onnx.Unsqueeze %b axes %axes : (tensor<?x?xi1>, tensor<2xi64>) -> tensor<?x1x1x?xi1>
    %y, %k, %v = onnx.Attention %s, %s, %s mask %m past_key %pk past_value %pv {is_causal = 1 : i64, q_num_heads = 2 : i64, kv_num_heads = 2 : i64, left_window_size = 3 : i64, softcap = 2.0 : f32, resultSegmentSizes = array<i32: 1, 1, 1, 0>}
        : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x1x1x?xi1>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) -> (tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>)
    return %y, %k, %v : tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>
  }
}

// -----

// Positions made from sizes: from the past on, or from zero with the past added. Tokens are merged with the batch, and copies
// have as many rows as there are tokens.
// CHECK: caat.halves = {batch = {dim = "batch"}, tokens = {dim = "seq"}}
module {
  func.func @main(%ids: tensor<?x?xi64> {onnx.name = "input_ids", onnx.dims = ["batch", "seq"]},
                  %pk: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]},
                  %pv: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.value", onnx.dims = ["batch", "", "past", ""]})
      -> (tensor<?x?x8xf32> {onnx.name = "logits"}, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) {
    %one = onnx.Constant dense<1> : tensor<i64>
    %zero = onnx.Constant dense<0> : tensor<i64>
    %flat = onnx.Constant dense<[-1, 8]> : tensor<2xi64>
    %last = onnx.Constant dense<-1> : tensor<1xi64>
    %c8 = arith.constant 8 : i64
    %i1 = arith.constant 1 : i64
    %scale = onnx.Constant dense<2.0> : tensor<1x1x8xf32>
    %cos = onnx.Constant dense<0.5> : tensor<32x2xf32>
    %c1 = arith.constant 1 : index
    %c2 = arith.constant 2 : index
    %n = tensor.dim %ids, %c1 : tensor<?x?xi64>
    %p = tensor.dim %pk, %c2 : tensor<?x2x?x4xf32>
    %t = arith.addi %p, %n : index
    %table = onnx.Constant dense<0.5> : tensor<16x8xf32>
    %x = onnx.Gather %table, %ids : (tensor<16x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
    %ps_i = arith.index_cast %p : index to i64
    %ps = tensor.from_elements %ps_i : tensor<i64>
    %ts_i = arith.index_cast %t : index to i64
    %ts = tensor.from_elements %ts_i : tensor<i64>
    %ns_i = arith.index_cast %n : index to i64
    %ns = tensor.from_elements %ns_i : tensor<i64>
    %r = onnx.Range %ps, %ts, %one : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
    %r0 = onnx.Range %zero, %ns, %one : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
    %r1 = onnx.Add %r0, %ps : (tensor<?xi64>, tensor<i64>) -> tensor<?xi64>
    %e0 = onnx.Gather %table, %r : (tensor<16x8xf32>, tensor<?xi64>) -> tensor<?x8xf32>
    %e1 = onnx.Gather %table, %r1 : (tensor<16x8xf32>, tensor<?xi64>) -> tensor<?x8xf32>
    %e = onnx.Add %e0, %e1 : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
    %s = onnx.Add %x, %e : (tensor<?x?x8xf32>, tensor<?x8xf32>) -> tensor<?x?x8xf32>
    %often = tensor.from_elements %i1, %ns_i, %c8 : tensor<3xi64>
    %copies = onnx.Expand %scale, %often : (tensor<1x1x8xf32>, tensor<3xi64>) -> tensor<1x?x8xf32>
    %u = onnx.Mul %s, %copies : (tensor<?x?x8xf32>, tensor<1x?x8xf32>) -> tensor<?x?x8xf32>
    %rows = onnx.Reshape %u, %flat : (tensor<?x?x8xf32>, tensor<2xi64>) -> tensor<?x8xf32>
    %a = onnx.Relu %rows : (tensor<?x8xf32>) -> tensor<?x8xf32>
    %c0 = arith.constant 0 : index
    %bd = tensor.dim %ids, %c0 : tensor<?x?xi64>
    %bi = arith.index_cast %bd : index to i64
    %shape = tensor.from_elements %bi, %ns_i, %c8 : tensor<3xi64>
    %w = onnx.Reshape %a, %shape : (tensor<?x8xf32>, tensor<3xi64>) -> tensor<?x?x8xf32>
    %bn = tensor.from_elements %bi, %ns_i : tensor<2xi64>
    %ids2 = onnx.Expand %r, %bn : (tensor<?xi64>, tensor<2xi64>) -> tensor<?x?xi64>
    %z = onnx.RotaryEmbedding %w, %cos, %cos positions %ids2 {num_heads = 2 : i64} : (tensor<?x?x8xf32>, tensor<32x2xf32>, tensor<32x2xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
    %y, %k, %v = onnx.Attention %z, %z, %z past_key %pk past_value %pv {is_causal = 1 : i64, q_num_heads = 2 : i64, kv_num_heads = 2 : i64, resultSegmentSizes = array<i32: 1, 1, 1, 0>}
        : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) -> (tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>)
    return %y, %k, %v : tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>
  }
}

// -----

// Sums over a prefix of the mask, cut where the past ends; a table of all positions, read at those of the tokens or at the
// first, or cut there; channels in another order; the number of keys as the length of each row.
// CHECK: caat.halves = {batch = {dim = "batch"}, tokens = {dim = "seq"}}
module {
  func.func @main(%ids: tensor<?x?xi64> {onnx.name = "input_ids", onnx.dims = ["batch", "seq"]},
                  %mask: tensor<?x?xi64> {onnx.name = "attention_mask", onnx.dims = ["batch", "total"]},
                  %pk: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]},
                  %pv: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.value", onnx.dims = ["batch", "", "past", ""]})
      -> (tensor<?x?x8xf32> {onnx.name = "logits"}, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) {
    %last = onnx.Constant dense<1> : tensor<i64>
    %along = onnx.Constant dense<1> : tensor<1xi64>
    %zero = onnx.Constant dense<0> : tensor<i64>
    %first = onnx.Constant dense<0> : tensor<1xi64>
    %c1 = arith.constant 1 : index
    %c2 = arith.constant 2 : index
    %n = tensor.dim %ids, %c1 : tensor<?x?xi64>
    %p = tensor.dim %pk, %c2 : tensor<?x2x?x4xf32>
    %t = arith.addi %p, %n : index
    %table = onnx.Constant dense<0.5> : tensor<16x8xf32>
    %x = onnx.Gather %table, %ids : (tensor<16x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
    %ts_i = arith.index_cast %t : index to i64
    %ts = tensor.from_elements %ts_i : tensor<i64>
    %pe_i = arith.index_cast %p : index to i64
    %pe = tensor.from_elements %pe_i : tensor<1xi64>
    %te_i = arith.index_cast %t : index to i64
    %te = tensor.from_elements %te_i : tensor<1xi64>
    %sum = onnx.CumSum %mask, %last : (tensor<?x?xi64>, tensor<i64>) -> tensor<?x?xi64>
    %all = onnx.Sub %sum, %last : (tensor<?x?xi64>, tensor<i64>) -> tensor<?x?xi64>
    %own = onnx.Slice %all, %pe, %te axes %along : (tensor<?x?xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x?xi64>
    %keys = onnx.Range %zero, %ts, %last : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
    %rows = onnx.Gather %table, %keys : (tensor<16x8xf32>, tensor<?xi64>) -> tensor<?x8xf32>
    %e0 = onnx.Gather %rows, %own : (tensor<?x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
    %s0 = onnx.Add %x, %e0 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
    %e1 = onnx.Slice %rows, %pe, %te axes %first : (tensor<?x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x8xf32>
    %s1 = onnx.Add %s0, %e1 : (tensor<?x?x8xf32>, tensor<?x8xf32>) -> tensor<?x?x8xf32>
    %e2 = onnx.Gather %rows, %zero : (tensor<?x8xf32>, tensor<i64>) -> tensor<8xf32>
    %s2 = onnx.Add %s1, %e2 : (tensor<?x?x8xf32>, tensor<8xf32>) -> tensor<?x?x8xf32>
    %front = onnx.Constant dense<-1> : tensor<1xi64>
    %end = onnx.Constant dense<-9223372036854775807> : tensor<1xi64>
    %deep = onnx.Constant dense<2> : tensor<1xi64>
    %s = onnx.Slice %s2, %front, %end axes %deep steps %front : (tensor<?x?x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x?x8xf32>
    %seen = onnx.ReduceSum %mask axes %along {keepdims = 0 : i64} : (tensor<?x?xi64>, tensor<1xi64>) -> tensor<?xi64>
    %less = onnx.Sub %seen, %last : (tensor<?xi64>, tensor<i64>) -> tensor<?xi64>
    %lengths = onnx.Add %less, %last : (tensor<?xi64>, tensor<i64>) -> tensor<?xi64>
    %ni = arith.index_cast %n : index to i64
    %ns = tensor.from_elements %ni : tensor<i64>
    %c0 = arith.constant 0 : index
    %bd = tensor.dim %ids, %c0 : tensor<?x?xi64>
    %bi = arith.index_cast %bd : index to i64
    %old = onnx.Sub %lengths, %ns : (tensor<?xi64>, tensor<i64>) -> tensor<?xi64>
    %start = onnx.Max %old, %zero : (tensor<?xi64>, tensor<i64>) -> tensor<?xi64>
    %starts = onnx.Unsqueeze %start axes %along : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
    %numbers = onnx.Range %zero, %ns, %last : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
    %rows2 = tensor.from_elements %bi, %ni : tensor<2xi64>
    %each = onnx.Expand %numbers, %rows2 : (tensor<?xi64>, tensor<2xi64>) -> tensor<?x?xi64>
    %places = onnx.Add %each, %starts : (tensor<?x?xi64>, tensor<?x1xi64>) -> tensor<?x?xi64>
    %e3 = onnx.Gather %table, %places : (tensor<16x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
    %s3 = onnx.Add %s, %e3 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
    %y, %k, %v = onnx.Attention %s3, %s3, %s3 past_key %pk past_value %pv kv_lengths %lengths {is_causal = 1 : i64, q_num_heads = 2 : i64, kv_num_heads = 2 : i64, resultSegmentSizes = array<i32: 1, 1, 1, 0>}
        : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>, tensor<?xi64>) -> (tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>)
    return %y, %k, %v : tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>
  }
}

// -----

// No decoder, but samples are independent.
// CHECK: caat.halves = {batch = {dim = "batch"}, tokens = {refused = "input 'x' is neither filled from tokens nor a cache that an Attention takes"}}
module {
  func.func @main(%x: tensor<?x4xf32> {onnx.name = "x", onnx.dims = ["batch", ""]}) -> tensor<?x4xf32> {
    %0 = onnx.Relu %x : (tensor<?x4xf32>) -> tensor<?x4xf32>
    return %0 : tensor<?x4xf32>
  }
}

// -----

// Nor are they.
// CHECK: caat.halves = {batch = {refused = "(ReduceMean) sums over them"}, tokens = {refused = "input 'x'{{.*}}"}}
module {
  func.func @main(%x: tensor<?x4xf32> {onnx.name = "x", onnx.dims = ["batch", ""]}) -> tensor<?x4xf32> {
    %axes = onnx.Constant dense<0> : tensor<1xi64>
    %0 = onnx.ReduceMean %x axes %axes {keepdims = 1 : i64} : (tensor<?x4xf32>, tensor<1xi64>) -> tensor<1x4xf32>
    %1 = onnx.Sub %x, %0 : (tensor<?x4xf32>, tensor<1x4xf32>) -> tensor<?x4xf32>
    return %1 : tensor<?x4xf32>
  }
}
