// RUN: caat-opt %s --split-input-file --pass-pipeline="builtin.module(tp-expand-sync-points,cse)" | FileCheck %s

// Full: the ordinary program, with nothing pending and no operation of the stream.
// CHECK-LABEL: module attributes
// CHECK-SAME:    tp.sync = [{bytes_per_token = 16 : i64, channels = 4 : i64, elements = 4 : i64,
// CHECK-SAME:    policy = "full", site = "layers.0.attn"}
module {
  tp.mesh @mesh <["tp" = 2]>
  // CHECK-LABEL: func.func @full(
  // CHECK-SAME:    %[[X:.*]]: tensor<?x4xf32>, %[[P:.*]]: tensor<?x4xf32>, %[[B:.*]]: tensor<4xf32>
  func.func @full(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>, %b: tensor<4xf32>) -> tensor<?x4xf32> {
    %s:2 = tp.sync_point base(%x) partial(%p) bias(%b) on @mesh ["tp"]
        {site = "layers.0.attn", policy = #tp.policy<full>} : tensor<?x4xf32>, tensor<4xf32>
    %y = tp.read_stream %s#0, %s#1 : tensor<?x4xf32>
    %q = onnx.Relu %y : (tensor<?x4xf32>) -> tensor<?x4xf32>
    %t:2 = tp.sync_point base(%s#0) pending(%s#1) partial(%q) on @mesh ["tp"]
        {site = "layers.0.mlp", policy = #tp.policy<full>} : tensor<?x4xf32>
    %z = tp.read_stream %t#0, %t#1 : tensor<?x4xf32>
    return %z : tensor<?x4xf32>
  }
  // CHECK-NEXT:    %[[R:.*]] = tp.all_reduce %[[P]] on @mesh ["tp"] {site = "layers.0.attn"}
  // CHECK-NEXT:    %[[RB:.*]] = onnx.Add %[[R]], %[[B]]
  // CHECK-NEXT:    %[[Y:.*]] = onnx.Add %[[X]], %[[RB]]
  // CHECK-NEXT:    %[[Q:.*]] = onnx.Relu %[[Y]]
  // CHECK-NEXT:    %[[S:.*]] = tp.all_reduce %[[Q]] on @mesh ["tp"] {site = "layers.0.mlp"}
  // CHECK-NEXT:    %[[Z:.*]] = onnx.Add %[[Y]], %[[S]]
  // CHECK-NEXT:    return %[[Z]]

  // With every channel shared a partial policy is the full one, whatever else it says.
  // CHECK-LABEL: func.func @all_shared(
  // CHECK-SAME:    %[[X:.*]]: tensor<?x4xf32>, %[[P:.*]]: tensor<?x4xf32>, %[[B:.*]]: tensor<4xf32>
  // CHECK-NEXT:    %[[R:.*]] = tp.all_reduce %[[P]] on @mesh ["tp"] {site = "layers.1.attn"}
  // CHECK-NEXT:    %[[RB:.*]] = onnx.Add %[[R]], %[[B]]
  // CHECK-NEXT:    %[[Y:.*]] = onnx.Add %[[X]], %[[RB]]
  // CHECK-NEXT:    %[[S:.*]] = tp.all_reduce %[[P]] on @mesh ["tp"] {site = "layers.1.mlp"}
  // CHECK-NEXT:    %[[Z:.*]] = onnx.Add %[[Y]], %[[S]]
  // CHECK-NEXT:    return %[[Z]]
  func.func @all_shared(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>, %b: tensor<4xf32>) -> tensor<?x4xf32> {
    %s:2 = tp.sync_point base(%x) partial(%p) bias(%b) on @mesh ["tp"]
        {site = "layers.1.attn", policy = #tp.policy<partial, shared = 4, rest = private, scale = 1.5, order = [3, 1, 0, 2]>}
        : tensor<?x4xf32>, tensor<4xf32>
    %t:2 = tp.sync_point base(%s#0) pending(%s#1) partial(%p) on @mesh ["tp"]
        {site = "layers.1.mlp", policy = #tp.policy<partial, shared = 4, rest = deferred>} : tensor<?x4xf32>
    %z = tp.read_stream %t#0, %t#1 : tensor<?x4xf32>
    return %z : tensor<?x4xf32>
  }
}

// -----

tp.mesh @mesh <["tp" = 2]>
// SPD: the MLP reads base + bias + partial; one all-reduce sums both partials; each bias counts once.
// CHECK-LABEL: func.func @drop(
// CHECK-SAME:    %[[X:.*]]: tensor<?x4xf32>, %[[P:.*]]: tensor<?x4xf32>, %[[B:.*]]: tensor<4xf32>, %[[C:.*]]: tensor<4xf32>
// CHECK-NEXT:    %[[XB:.*]] = onnx.Add %[[X]], %[[B]]
// CHECK-NEXT:    %[[U:.*]] = onnx.Add %[[XB]], %[[P]] {tp.private = "layers.0.attn"}
// CHECK-NEXT:    %[[Z:.*]] = onnx.Relu %[[U]]
// CHECK-NEXT:    %[[T:.*]] = onnx.Add %[[P]], %[[Z]]
// CHECK-NEXT:    %[[R:.*]] = tp.all_reduce %[[T]] on @mesh ["tp"] {site = "layers.0.mlp"}
// CHECK-NEXT:    %[[RC:.*]] = onnx.Add %[[R]], %[[C]]
// CHECK-NEXT:    %[[Y:.*]] = onnx.Add %[[XB]], %[[RC]]
// CHECK-NEXT:    return %[[Y]]
func.func @drop(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>, %b: tensor<4xf32>, %c: tensor<4xf32>) -> tensor<?x4xf32> {
  %s:2 = tp.sync_point base(%x) partial(%p) bias(%b) on @mesh ["tp"]
      {site = "layers.0.attn", policy = #tp.policy<partial, shared = 0, rest = deferred>} : tensor<?x4xf32>, tensor<4xf32>
  %u = tp.read_stream %s#0, %s#1 : tensor<?x4xf32>
  %z = onnx.Relu %u : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %t:2 = tp.sync_point base(%s#0) pending(%s#1) partial(%z) bias(%c) on @mesh ["tp"]
      {site = "layers.0.mlp", policy = #tp.policy<full>} : tensor<?x4xf32>, tensor<4xf32>
  %y = tp.read_stream %t#0, %t#1 : tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

tp.mesh @mesh <["tp" = 2]>
// Two of four channels in an order: gathered, reduced, put back; the others stay pending; readers see the estimate.
// CHECK-LABEL: func.func @deferred(
// CHECK-SAME:    %[[X:.*]]: tensor<?x4xf32>, %[[P:.*]]: tensor<?x4xf32>, %[[B:.*]]: tensor<4xf32>
// CHECK:         %[[SHARED:.*]] = onnx.Constant dense<[3, 1]>
// CHECK:         %[[PS:.*]] = onnx.Gather %[[P]], %[[SHARED]] {axis = 1 : i64}
// CHECK:         %[[R:.*]] = tp.all_reduce %[[PS]] on @mesh ["tp"] {site = "layers.0.attn"} : tensor<?x2xf32>
// CHECK:         %[[PLACES:.*]] = onnx.Constant dense<[0, 1, 0, 0]>
// CHECK:         %[[RE:.*]] = onnx.Gather %[[R]], %[[PLACES]] {axis = 1 : i64} : {{.*}} -> tensor<?x4xf32>
// CHECK:         %[[WHERE:.*]] = onnx.Constant dense<[false, true, false, true]>
// CHECK:         %[[RS:.*]] = onnx.Where %[[WHERE]], %[[RE]],
// CHECK:         %[[RB:.*]] = onnx.Add %[[RS]], %[[B]]
// CHECK:         %[[BASE:.*]] = onnx.Add %[[X]], %[[RB]]
// CHECK:         %[[MASK:.*]] = onnx.Constant dense<[true, false, true, false]>
// CHECK:         %[[PENDING:.*]] = onnx.Where %[[MASK]], %[[P]],
// CHECK:         %[[A:.*]] = tp.shard %{{.*}} dim 0 pieces {{\[\[\[0, 1\]\], \[\[1, 1\]\]\]}} size 1 : tensor<2x4xf32> -> tensor<1x4xf32>
// CHECK:         %[[AROW:.*]] = onnx.Reshape %[[A]]
// CHECK:         %[[AP:.*]] = onnx.Mul %[[PENDING]], %[[AROW]]
// CHECK:         %[[E:.*]] = onnx.Add %[[AP]],
// CHECK:         %[[U:.*]] = onnx.Add %[[BASE]], %[[E]] {tp.private = "layers.0.attn"}
// CHECK:         onnx.Relu %[[U]]
// The estimate does not enter what is summed.
// CHECK:         %[[T:.*]] = onnx.Add %[[PENDING]],
// CHECK:         tp.all_reduce %[[T]] on @mesh ["tp"] {site = "layers.0.mlp"} : tensor<?x4xf32>
func.func @deferred(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>, %b: tensor<4xf32>) -> tensor<?x4xf32> {
  %s:2 = tp.sync_point base(%x) partial(%p) bias(%b) on @mesh ["tp"]
      {site = "layers.0.attn", policy = #tp.policy<partial, shared = 2, rest = deferred, order = [3, 1, 0, 2],
       estimate = [dense<2.0> : tensor<2x4xf32>, dense<0.5> : tensor<2x4xf32>]>} : tensor<?x4xf32>, tensor<4xf32>
  %u = tp.read_stream %s#0, %s#1 : tensor<?x4xf32>
  %z = onnx.Relu %u : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %t:2 = tp.sync_point base(%s#0) pending(%s#1) partial(%z) on @mesh ["tp"]
      {site = "layers.0.mlp", policy = #tp.policy<full>} : tensor<?x4xf32>
  %y = tp.read_stream %t#0, %t#1 : tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

tp.mesh @mesh <["tp" = 2]>
// CAAT-Net behind a dropped site: the shared channels take what is pending there along, the private ones get
// scale * (partial + bias), and what is pending in them stays pending until the end.
// CHECK-LABEL: func.func @private(
// CHECK-SAME:    %[[X:.*]]: tensor<?x4xf32>, %[[P:.*]]: tensor<?x4xf32>, %[[B:.*]]: tensor<4xf32>
// CHECK:         %[[U:.*]] = onnx.Add %[[X]], %[[P]] {tp.private = "layers.0.attn"}
// CHECK:         %[[Q:.*]] = onnx.Relu %[[U]]
// CHECK-DAG:     %[[QS:.*]] = onnx.Slice %[[Q]], {{.*}} -> tensor<?x3xf32>
// CHECK-DAG:     %[[PS:.*]] = onnx.Slice %[[P]], {{.*}} -> tensor<?x3xf32>
// CHECK:         %[[T:.*]] = onnx.Add %[[PS]], %[[QS]]
// CHECK:         %[[R:.*]] = tp.all_reduce %[[T]] on @mesh ["tp"] {site = "layers.0.mlp"} : tensor<?x3xf32>
// CHECK:         %[[BS:.*]] = onnx.Slice %[[B]], {{.*}} -> tensor<3xf32>
// CHECK:         %[[RB:.*]] = onnx.Add %[[R]], %[[BS]]
// CHECK:         %[[QB:.*]] = onnx.Add %[[Q]], %[[B]]
// CHECK:         %[[F:.*]] = onnx.Constant dense<1.500000e+00>
// CHECK:         %[[OWN:.*]] = onnx.Mul %[[QB]], %[[F]]
// CHECK:         %[[RE:.*]] = onnx.Gather %[[RB]],
// CHECK:         %[[MASK:.*]] = onnx.Constant dense<[true, true, true, false]>
// CHECK:         %[[BOTH:.*]] = onnx.Where %[[MASK]], %[[RE]], %[[OWN]]
// CHECK:         onnx.Add %[[X]], %[[BOTH]] {tp.private = "layers.0.mlp"}
// CHECK:         %[[LEFT:.*]] = onnx.Where %{{.*}}, %[[P]],
// CHECK:         %[[LR:.*]] = onnx.Slice %[[LEFT]], {{.*}} -> tensor<?x1xf32>
// CHECK:         tp.all_reduce %[[LR]] on @mesh ["tp"] {site = "final"} : tensor<?x1xf32>
func.func @private(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>, %b: tensor<4xf32>) -> tensor<?x4xf32> {
  %s:2 = tp.sync_point base(%x) partial(%p) on @mesh ["tp"]
      {site = "layers.0.attn", policy = #tp.policy<partial, shared = 0, rest = deferred>} : tensor<?x4xf32>
  %u = tp.read_stream %s#0, %s#1 : tensor<?x4xf32>
  %z = onnx.Relu %u : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %t:2 = tp.sync_point base(%s#0) pending(%s#1) partial(%z) bias(%b) on @mesh ["tp"]
      {site = "layers.0.mlp", policy = #tp.policy<partial, shared = 3, rest = private, scale = 1.5>} : tensor<?x4xf32>, tensor<4xf32>
  %y = tp.read_stream %t#0, %t#1 : tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

tp.mesh @mesh <["tp" = 2]>
// Deferring at the last site saves nothing: one all-reduce sums everything. In the middle of the stack a read that is
// also a result (hidden states, say) flushes too, and nothing is pending behind it.
// CHECK-LABEL: func.func @flush(
// CHECK-SAME:    %[[X:.*]]: tensor<?x4xf32>, %[[P:.*]]: tensor<?x4xf32>
// CHECK-NEXT:    %[[R:.*]] = tp.all_reduce %[[P]] on @mesh ["tp"] {site = "layers.0.attn.flush"}
// CHECK-NEXT:    %[[U:.*]] = onnx.Add %[[X]], %[[R]]
// CHECK-NEXT:    %[[Z:.*]] = onnx.Relu %[[U]]
// CHECK-NEXT:    %[[S:.*]] = tp.all_reduce %[[Z]] on @mesh ["tp"] {site = "final"}
// CHECK-NEXT:    %[[Y:.*]] = onnx.Add %[[U]], %[[S]]
// CHECK-NEXT:    return %[[U]], %[[Y]]
func.func @flush(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>) -> (tensor<?x4xf32>, tensor<?x4xf32>) {
  %s:2 = tp.sync_point base(%x) partial(%p) on @mesh ["tp"]
      {site = "layers.0.attn", policy = #tp.policy<partial, shared = 0, rest = deferred>} : tensor<?x4xf32>
  %u = tp.read_stream %s#0, %s#1 : tensor<?x4xf32>
  %z = onnx.Relu %u : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %t:2 = tp.sync_point base(%s#0) pending(%s#1) partial(%z) on @mesh ["tp"]
      {site = "layers.0.mlp", policy = #tp.policy<partial, shared = 2, rest = deferred>} : tensor<?x4xf32>
  %y = tp.read_stream %t#0, %t#1 : tensor<?x4xf32>
  return %u, %y : tensor<?x4xf32>, tensor<?x4xf32>
}

// -----

// Few bits with feedback: the error is pending at the next site, which in turn must keep nothing pending and sends its
// elements as they are. A block of 4 channels: one byte of scale and four of integers; 4 bytes for the exact one.
// CHECK-LABEL: module attributes
// CHECK-SAME:    bytes_per_token = 9 : i64, channels = 4 : i64, elements = 4 : i64, full_bytes_per_token = 16 : i64, policy = "full 4 bits, 1 exact", site = "layers.0.attn"
// CHECK-SAME:    bytes_per_token = 16 : i64, {{.*}}policy = "full 8 bits", site = "layers.0.mlp"
module {
  tp.mesh @mesh <["tp" = 2]>
  // CHECK-LABEL: func.func @rounded(
  // CHECK-SAME:    %[[X:.*]]: tensor<?x4xf32>, %[[P:.*]]: tensor<?x4xf32>, %[[B:.*]]: tensor<4xf32>
  // CHECK-NEXT:    %[[SUM:.*]]:2 = tp.quantized_all_reduce %[[P]] bits 4 block 32 exact [2] on @mesh ["tp"] {site = "layers.0.attn"}
  // CHECK-NEXT:    %[[SB:.*]] = onnx.Add %[[SUM]]#0, %[[B]]
  // CHECK-NEXT:    %[[BASE:.*]] = onnx.Add %[[X]], %[[SB]]
  // CHECK-NEXT:    %[[U:.*]] = onnx.Add %[[BASE]], %[[SUM]]#1 {tp.private = "layers.0.attn"}
  // CHECK-NEXT:    %[[Z:.*]] = onnx.Relu %[[U]]
  // CHECK-NEXT:    %[[T:.*]] = onnx.Add %[[SUM]]#1, %[[Z]]
  // CHECK-NEXT:    %[[R:.*]] = tp.all_reduce %[[T]] on @mesh ["tp"] {site = "layers.0.mlp"}
  // CHECK-NEXT:    %[[Y:.*]] = onnx.Add %[[BASE]], %[[R]]
  // CHECK-NEXT:    return %[[Y]]
  func.func @rounded(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>, %b: tensor<4xf32>) -> tensor<?x4xf32> {
    %s:2 = tp.sync_point base(%x) partial(%p) bias(%b) on @mesh ["tp"]
        {site = "layers.0.attn", policy = #tp.policy<full, rounding = <bits = 4, exact = [2]>>} : tensor<?x4xf32>, tensor<4xf32>
    %u = tp.read_stream %s#0, %s#1 : tensor<?x4xf32>
    %z = onnx.Relu %u : (tensor<?x4xf32>) -> tensor<?x4xf32>
    %t:2 = tp.sync_point base(%s#0) pending(%s#1) partial(%z) on @mesh ["tp"]
        {site = "layers.0.mlp", policy = #tp.policy<full, rounding = <bits = 8>>} : tensor<?x4xf32>
    %y = tp.read_stream %t#0, %t#1 : tensor<?x4xf32>
    return %y : tensor<?x4xf32>
  }

  // Without feedback the error is lost, and the last site may round.
  // CHECK-LABEL: func.func @lost(
  // CHECK-NEXT:    %[[S0:.*]]:2 = tp.quantized_all_reduce %{{.*}} bits 3 block 8 exact [] on @mesh ["tp"] {site = "layers.1.mlp"}
  // CHECK-NEXT:    %[[Y:.*]] = onnx.Add %{{.*}}, %[[S0]]#0
  // CHECK-NEXT:    return %[[Y]]
  func.func @lost(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>) -> tensor<?x4xf32> {
    %s:2 = tp.sync_point base(%x) partial(%p) on @mesh ["tp"]
        {site = "layers.1.mlp", policy = #tp.policy<full, rounding = <bits = 3, block = 8, feedback = false>>} : tensor<?x4xf32>
    %y = tp.read_stream %s#0, %s#1 : tensor<?x4xf32>
    return %y : tensor<?x4xf32>
  }

  // Channels 3 and 1 are reduced, in this order; exact channel 1 is the second of them. The others stay pending as they
  // are, these with their error.
  // CHECK-LABEL: func.func @partial(
  // CHECK-SAME:    %[[X:.*]]: tensor<?x4xf32>, %[[P:.*]]: tensor<?x4xf32>
  // CHECK:         %[[ORDER:.*]] = onnx.Constant dense<[3, 1]> : tensor<2xi64>
  // CHECK:         %[[SHARED:.*]] = onnx.Gather %[[P]], %[[ORDER]]
  // CHECK:         %[[S:.*]]:2 = tp.quantized_all_reduce %[[SHARED]] bits 4 block 32 exact [1] on
  // CHECK:         %[[PLACES:.*]] = onnx.Constant dense<[0, 1, 0, 0]> : tensor<4xi64>
  // CHECK:         %[[SUM:.*]] = onnx.Gather %[[S]]#0, %[[PLACES]]
  // CHECK:         %[[MASK:.*]] = onnx.Constant dense<[false, true, false, true]> : tensor<4xi1>
  // CHECK:         %[[ERROR:.*]] = onnx.Gather %[[S]]#1, %[[PLACES]]
  // CHECK:         onnx.Where %[[MASK]], %[[ERROR]], %[[P]]
  func.func @partial(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>) -> tensor<?x4xf32> {
    %s:2 = tp.sync_point base(%x) partial(%p) on @mesh ["tp"]
        {site = "layers.2.attn", policy = #tp.policy<partial, shared = 2, rest = deferred, order = [3, 1, 0, 2],
         rounding = <bits = 4, exact = [1]>>} : tensor<?x4xf32>
    %u = tp.read_stream %s#0, %s#1 : tensor<?x4xf32>
    %z = onnx.Relu %u : (tensor<?x4xf32>) -> tensor<?x4xf32>
    %t:2 = tp.sync_point base(%s#0) pending(%s#1) partial(%z) on @mesh ["tp"]
        {site = "layers.2.mlp", policy = #tp.policy<full>} : tensor<?x4xf32>
    %y = tp.read_stream %t#0, %t#1 : tensor<?x4xf32>
    return %y : tensor<?x4xf32>
  }
}

// -----

tp.mesh @mesh <["tp" = 2]>
// An estimate of small rank: the first columns of V read what is pending, the others the module's input; a is zero.
// CHECK-LABEL: func.func @low_rank(
// CHECK-SAME:    %[[X:.*]]: tensor<?x4xf32>, %[[P:.*]]: tensor<?x4xf32>, %[[I:.*]]: tensor<?x4xf32>
// CHECK:         %[[B:.*]] = onnx.Constant dense<3.000000e+00> : tensor<2x4xf32>
// CHECK:         tp.shard %[[B]] dim 0
// CHECK:         %[[ROW:.*]] = onnx.Reshape {{.*}} -> tensor<4xf32>
// CHECK:         %[[V:.*]] = onnx.Constant dense<5.000000e-01> : tensor<2x1x8xf32>
// CHECK:         tp.shard %[[V]] dim 0
// CHECK:         %[[OWN:.*]] = onnx.Reshape {{.*}} -> tensor<1x8xf32>
// CHECK:         %[[VP:.*]] = onnx.Slice %[[OWN]]
// CHECK:         %[[VPT:.*]] = onnx.Transpose %[[VP]]
// CHECK:         %[[FP:.*]] = onnx.MatMul %[[P]], %[[VPT]] : (tensor<?x4xf32>, tensor<4x1xf32>) -> tensor<?x1xf32>
// CHECK:         %[[VIT:.*]] = onnx.Transpose
// CHECK:         %[[FI:.*]] = onnx.MatMul %[[I]], %[[VIT]]
// CHECK:         %[[F:.*]] = onnx.Add %[[FP]], %[[FI]]
// CHECK:         %[[U:.*]] = onnx.Constant dense<2.000000e+00> : tensor<2x4x1xf32>
// CHECK:         tp.shard %[[U]] dim 0
// CHECK:         %[[UT:.*]] = onnx.Transpose {{.*}} -> tensor<1x4xf32>
// CHECK:         %[[PART:.*]] = onnx.MatMul %[[F]], %[[UT]]
// CHECK:         %[[SEEN:.*]] = onnx.Add %[[PART]], %[[ROW]]
// CHECK:         onnx.Add %[[X]], %[[SEEN]] {tp.private = "layers.0.attn"}
func.func @low_rank(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>, %i: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %s:2 = tp.sync_point base(%x) partial(%p) input(%i) on @mesh ["tp"]
      {site = "layers.0.attn", policy = #tp.policy<partial, shared = 0, rest = deferred,
       estimate = [dense<0.0> : tensor<2x4xf32>, dense<3.0> : tensor<2x4xf32>],
       low_rank = <u = dense<2.0> : tensor<2x4x1xf32>, v = dense<0.5> : tensor<2x1x8xf32>, feature = pending_and_input>>} : tensor<?x4xf32>
  %u = tp.read_stream %s#0, %s#1 : tensor<?x4xf32>
  %z = onnx.Relu %u : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %t:2 = tp.sync_point base(%s#0) pending(%s#1) partial(%z) on @mesh ["tp"]
      {site = "layers.0.mlp", policy = #tp.policy<full>} : tensor<?x4xf32>
  %y = tp.read_stream %t#0, %t#1 : tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
