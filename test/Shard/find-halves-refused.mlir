// RUN: caat-opt %s --split-input-file --tp-find-halves | FileCheck %s
//
// Decoders of which the first tokens, and then the others, would not give what all give at once.

// CHECK: tokens = {refused = "there are no caches"}
module {
  func.func @main(%ids: tensor<?x?xi64> {onnx.name = "input_ids", onnx.dims = ["batch", "seq"]}) -> tensor<?x?x8xf32> {
    %table = onnx.Constant dense<0.5> : tensor<16x8xf32>
    %x = onnx.Gather %table, %ids : (tensor<16x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
    return %x : tensor<?x?x8xf32>
  }
}

// -----

// CHECK: tokens = {refused = "input 'scale' is neither filled from tokens nor a cache that an Attention takes"}
module {
  func.func @main(%ids: tensor<?x?xi64> {onnx.name = "input_ids", onnx.dims = ["batch", "seq"]},
                  %scale: tensor<8xf32> {onnx.name = "scale", onnx.dims = [""]},
                  %pk: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]},
                  %pv: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.value", onnx.dims = ["batch", "", "past", ""]})
      -> (tensor<?x?x8xf32> {onnx.name = "logits"}, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) {
    %table = onnx.Constant dense<0.5> : tensor<16x8xf32>
    %x = onnx.Gather %table, %ids : (tensor<16x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
    %y, %k, %v = onnx.Attention %x, %x, %x past_key %pk past_value %pv {is_causal = 1 : i64, q_num_heads = 2 : i64, kv_num_heads = 2 : i64, resultSegmentSizes = array<i32: 1, 1, 1, 0>}
        : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) -> (tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>)
    return %y, %k, %v : tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>
  }
}

// -----

// A mask of the new tokens only is none that the engine fills behind a past.
// CHECK: tokens = {refused = "dimension 1 of 'attention_mask' is not that of one sequence of tokens behind the cached ones"}
module {
  func.func @main(%ids: tensor<?x?xi64> {onnx.name = "input_ids", onnx.dims = ["batch", "seq"]},
                  %mask: tensor<?x?xi64> {onnx.name = "attention_mask", onnx.dims = ["batch", "seq"]},
                  %pk: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]},
                  %pv: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.value", onnx.dims = ["batch", "", "past", ""]})
      -> (tensor<?x?x8xf32> {onnx.name = "logits"}, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) {
    %table = onnx.Constant dense<0.5> : tensor<16x8xf32>
    %x = onnx.Gather %table, %ids : (tensor<16x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
    %y, %k, %v = onnx.Attention %x, %x, %x past_key %pk past_value %pv {is_causal = 1 : i64, q_num_heads = 2 : i64, kv_num_heads = 2 : i64, resultSegmentSizes = array<i32: 1, 1, 1, 0>}
        : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) -> (tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>)
    return %y, %k, %v : tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>
  }
}

// -----

// CHECK: tokens = {refused = "(Attention) is not causal: tokens see those behind them"}
module {
  func.func @main(%ids: tensor<?x?xi64> {onnx.name = "input_ids", onnx.dims = ["batch", "seq"]},
                  %pk: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]},
                  %pv: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.value", onnx.dims = ["batch", "", "past", ""]})
      -> (tensor<?x?x8xf32> {onnx.name = "logits"}, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) {
    %table = onnx.Constant dense<0.5> : tensor<16x8xf32>
    %x = onnx.Gather %table, %ids : (tensor<16x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
    %y, %k, %v = onnx.Attention %x, %x, %x past_key %pk past_value %pv {q_num_heads = 2 : i64, kv_num_heads = 2 : i64, resultSegmentSizes = array<i32: 1, 1, 1, 0>}
        : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) -> (tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>)
    return %y, %k, %v : tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>
  }
}

// -----

// The second one has no cache of its own.
// CHECK: tokens = {refused = "(Attention) has no cache"}
module {
  func.func @main(%ids: tensor<?x?xi64> {onnx.name = "input_ids", onnx.dims = ["batch", "seq"]},
                  %pk: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]},
                  %pv: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.value", onnx.dims = ["batch", "", "past", ""]})
      -> (tensor<?x?x8xf32> {onnx.name = "logits"}, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) {
    %table = onnx.Constant dense<0.5> : tensor<16x8xf32>
    %x = onnx.Gather %table, %ids : (tensor<16x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
    %y, %k, %v = onnx.Attention %x, %x, %x past_key %pk past_value %pv {is_causal = 1 : i64, q_num_heads = 2 : i64, kv_num_heads = 2 : i64, resultSegmentSizes = array<i32: 1, 1, 1, 0>}
        : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) -> (tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>)
    %z = onnx.Attention %y, %y, %y {is_causal = 1 : i64, q_num_heads = 2 : i64, kv_num_heads = 2 : i64, resultSegmentSizes = array<i32: 1, 0, 0, 0>}
        : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
    return %z, %k, %v : tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>
  }
}

// -----

// CHECK: tokens = {refused = "(Attention) takes a cache that is not an input of its own, or that the model does not return"}
module {
  func.func @main(%ids: tensor<?x?xi64> {onnx.name = "input_ids", onnx.dims = ["batch", "seq"]},
                  %pk: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]},
                  %pv: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.value", onnx.dims = ["batch", "", "past", ""]})
      -> (tensor<?x?x8xf32> {onnx.name = "logits"}, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) {
    %table = onnx.Constant dense<0.5> : tensor<16x8xf32>
    %x = onnx.Gather %table, %ids : (tensor<16x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
    %y, %k, %v = onnx.Attention %x, %x, %x past_key %pk past_value %pv {is_causal = 1 : i64, q_num_heads = 2 : i64, kv_num_heads = 2 : i64, resultSegmentSizes = array<i32: 1, 1, 1, 0>}
        : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) -> (tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>)
    return %y, %pk, %v : tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>
  }
}

// -----

// CHECK: tokens = {refused = "(Attention) takes a cache that is not an input of its own, or that the model does not return"}
module {
  func.func @main(%ids: tensor<?x?xi64> {onnx.name = "input_ids", onnx.dims = ["batch", "seq"]},
                  %pk: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]},
                  %pv: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.value", onnx.dims = ["batch", "", "past", ""]})
      -> (tensor<?x?x8xf32> {onnx.name = "logits"}, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) {
    %table = onnx.Constant dense<0.5> : tensor<16x8xf32>
    %x = onnx.Gather %table, %ids : (tensor<16x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
    %y, %k, %v = onnx.Attention %x, %x, %x past_key %pk past_value %pv {is_causal = 1 : i64, q_num_heads = 2 : i64, kv_num_heads = 2 : i64, resultSegmentSizes = array<i32: 1, 1, 1, 0>}
        : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) -> (tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>)
    %h = onnx.Constant dense<[0, 0, 2, 4]> : tensor<4xi64>
    %back = onnx.Relu %pk : (tensor<?x2x?x4xf32>) -> tensor<?x2x?x4xf32>
    return %y, %back, %v : tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>
  }
}

// -----

// One token less than there are: the last token of the first part would not see itself.
// CHECK: tokens = {refused = "(Attention) has lengths of rows that are not known to be those of all tokens so far"}
module {
  func.func @main(%ids: tensor<?x?xi64> {onnx.name = "input_ids", onnx.dims = ["batch", "seq"]},
                  %mask: tensor<?x?xi64> {onnx.name = "attention_mask", onnx.dims = ["batch", "total"]},
                  %pk: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]},
                  %pv: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.value", onnx.dims = ["batch", "", "past", ""]})
      -> (tensor<?x?x8xf32> {onnx.name = "logits"}, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) {
    %along = onnx.Constant dense<1> : tensor<1xi64>
    %table = onnx.Constant dense<0.5> : tensor<16x8xf32>
    %x = onnx.Gather %table, %ids : (tensor<16x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
    %seen = onnx.ReduceSum %mask axes %along {keepdims = 0 : i64} : (tensor<?x?xi64>, tensor<1xi64>) -> tensor<?xi64>
    %lengths = onnx.Sub %seen, %along : (tensor<?xi64>, tensor<1xi64>) -> tensor<?xi64>
    %y, %k, %v = onnx.Attention %x, %x, %x past_key %pk past_value %pv kv_lengths %lengths {is_causal = 1 : i64, q_num_heads = 2 : i64, kv_num_heads = 2 : i64, resultSegmentSizes = array<i32: 1, 1, 1, 0>}
        : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>, tensor<?xi64>) -> (tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>)
    return %y, %k, %v : tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>
  }
}

// -----

// CHECK: tokens = {refused = "(ReduceMean) sums over them"}
module {
  func.func @main(%ids: tensor<?x?xi64> {onnx.name = "input_ids", onnx.dims = ["batch", "seq"]},
                  %pk: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]},
                  %pv: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.value", onnx.dims = ["batch", "", "past", ""]})
      -> (tensor<?x?x8xf32> {onnx.name = "logits"}, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) {
    %table = onnx.Constant dense<0.5> : tensor<16x8xf32>
    %x = onnx.Gather %table, %ids : (tensor<16x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
    %y, %k, %v = onnx.Attention %x, %x, %x past_key %pk past_value %pv {is_causal = 1 : i64, q_num_heads = 2 : i64, kv_num_heads = 2 : i64, resultSegmentSizes = array<i32: 1, 1, 1, 0>}
        : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) -> (tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>)
    %axis = onnx.Constant dense<1> : tensor<1xi64>
    %m = onnx.ReduceMean %y axes %axis {keepdims = 1 : i64} : (tensor<?x?x8xf32>, tensor<1xi64>) -> tensor<?x1x8xf32>
    %z = onnx.Sub %y, %m : (tensor<?x?x8xf32>, tensor<?x1x8xf32>) -> tensor<?x?x8xf32>
    return %z, %k, %v : tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>
  }
}

// -----

// Of the last token only.
// CHECK: tokens = {refused = "(Slice) needs them all: a dimension is cut at places that differ with what is cached"}
module {
  func.func @main(%ids: tensor<?x?xi64> {onnx.name = "input_ids", onnx.dims = ["batch", "seq"]},
                  %pk: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]},
                  %pv: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.value", onnx.dims = ["batch", "", "past", ""]})
      -> (tensor<?x1x8xf32> {onnx.name = "logits"}, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) {
    %table = onnx.Constant dense<0.5> : tensor<16x8xf32>
    %x = onnx.Gather %table, %ids : (tensor<16x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
    %y, %k, %v = onnx.Attention %x, %x, %x past_key %pk past_value %pv {is_causal = 1 : i64, q_num_heads = 2 : i64, kv_num_heads = 2 : i64, resultSegmentSizes = array<i32: 1, 1, 1, 0>}
        : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) -> (tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>)
    %axis = onnx.Constant dense<1> : tensor<1xi64>
    %last = onnx.Constant dense<-1> : tensor<1xi64>
    %end = onnx.Constant dense<9223372036854775807> : tensor<1xi64>
    %z = onnx.Slice %y, %last, %end axes %axis : (tensor<?x?x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x1x8xf32>
    return %z, %k, %v : tensor<?x1x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>
  }
}

// -----

// CHECK: tokens = {refused = "(Gather) needs them all: a dimension is indexed"}
module {
  func.func @main(%ids: tensor<?x?xi64> {onnx.name = "input_ids", onnx.dims = ["batch", "seq"]},
                  %pk: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]},
                  %pv: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.value", onnx.dims = ["batch", "", "past", ""]})
      -> (tensor<?x8xf32> {onnx.name = "logits"}, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) {
    %table = onnx.Constant dense<0.5> : tensor<16x8xf32>
    %x = onnx.Gather %table, %ids : (tensor<16x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
    %y, %k, %v = onnx.Attention %x, %x, %x past_key %pk past_value %pv {is_causal = 1 : i64, q_num_heads = 2 : i64, kv_num_heads = 2 : i64, resultSegmentSizes = array<i32: 1, 1, 1, 0>}
        : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) -> (tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>)
    %last = onnx.Constant dense<-1> : tensor<i64>
    %z = onnx.Gather %y, %last {axis = 1 : i64} : (tensor<?x?x8xf32>, tensor<i64>) -> tensor<?x8xf32>
    return %z, %k, %v : tensor<?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>
  }
}

// -----

// CHECK: tokens = {refused = "(ReduceMax) needs them all: a dimension is reduced"}
module {
  func.func @main(%ids: tensor<?x?xi64> {onnx.name = "input_ids", onnx.dims = ["batch", "seq"]},
                  %pk: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]},
                  %pv: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.value", onnx.dims = ["batch", "", "past", ""]})
      -> (tensor<?x?x8xf32> {onnx.name = "logits"}, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) {
    %table = onnx.Constant dense<0.5> : tensor<16x8xf32>
    %x = onnx.Gather %table, %ids : (tensor<16x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
    %y, %k, %v = onnx.Attention %x, %x, %x past_key %pk past_value %pv {is_causal = 1 : i64, q_num_heads = 2 : i64, kv_num_heads = 2 : i64, resultSegmentSizes = array<i32: 1, 1, 1, 0>}
        : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) -> (tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>)
    %m = onnx.ReduceMax %y {keepdims = 0 : i64} : (tensor<?x?x8xf32>) -> tensor<f32>
    %z = onnx.Div %y, %m : (tensor<?x?x8xf32>, tensor<f32>) -> tensor<?x?x8xf32>
    return %z, %k, %v : tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>
  }
}

// -----

// CHECK: tokens = {refused = "(RMSNormalization) sums over them"}
module {
  func.func @main(%ids: tensor<?x?xi64> {onnx.name = "input_ids", onnx.dims = ["batch", "seq"]},
                  %pk: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]},
                  %pv: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.value", onnx.dims = ["batch", "", "past", ""]})
      -> (tensor<?x?x8xf32> {onnx.name = "logits"}, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) {
    %table = onnx.Constant dense<0.5> : tensor<16x8xf32>
    %x = onnx.Gather %table, %ids : (tensor<16x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
    %y, %k, %v = onnx.Attention %x, %x, %x past_key %pk past_value %pv {is_causal = 1 : i64, q_num_heads = 2 : i64, kv_num_heads = 2 : i64, resultSegmentSizes = array<i32: 1, 1, 1, 0>}
        : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) -> (tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>)
    %scale = onnx.Constant dense<1.0> : tensor<1xf32>
    %yt = onnx.Transpose %y {perm = array<i64: 0, 2, 1>} : (tensor<?x?x8xf32>) -> tensor<?x8x?xf32>
    %norm = onnx.RMSNormalization %yt, %scale : (tensor<?x8x?xf32>, tensor<1xf32>) -> tensor<?x8x?xf32>
    %z = onnx.Transpose %norm {perm = array<i64: 0, 2, 1>} : (tensor<?x8x?xf32>) -> tensor<?x?x8xf32>
    return %z, %k, %v : tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>
  }
}

// -----

// CHECK: tokens = {refused = "(Softmax) needs them all: a dimension is the axis of a softmax or scan"}
module {
  func.func @main(%ids: tensor<?x?xi64> {onnx.name = "input_ids", onnx.dims = ["batch", "seq"]},
                  %pk: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]},
                  %pv: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.value", onnx.dims = ["batch", "", "past", ""]})
      -> (tensor<?x?x8xf32> {onnx.name = "logits"}, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) {
    %table = onnx.Constant dense<0.5> : tensor<16x8xf32>
    %x = onnx.Gather %table, %ids : (tensor<16x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
    %y, %k, %v = onnx.Attention %x, %x, %x past_key %pk past_value %pv {is_causal = 1 : i64, q_num_heads = 2 : i64, kv_num_heads = 2 : i64, resultSegmentSizes = array<i32: 1, 1, 1, 0>}
        : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) -> (tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>)
    %z = onnx.Softmax %y {axis = 1 : i64} : (tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
    return %z, %k, %v : tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>
  }
}

// -----

// CHECK: tokens = {refused = "(CumSum) needs them all: a dimension is summed up along"}
module {
  func.func @main(%ids: tensor<?x?xi64> {onnx.name = "input_ids", onnx.dims = ["batch", "seq"]},
                  %pk: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]},
                  %pv: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.value", onnx.dims = ["batch", "", "past", ""]})
      -> (tensor<?x?x8xf32> {onnx.name = "logits"}, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) {
    %table = onnx.Constant dense<0.5> : tensor<16x8xf32>
    %x = onnx.Gather %table, %ids : (tensor<16x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
    %y, %k, %v = onnx.Attention %x, %x, %x past_key %pk past_value %pv {is_causal = 1 : i64, q_num_heads = 2 : i64, kv_num_heads = 2 : i64, resultSegmentSizes = array<i32: 1, 1, 1, 0>}
        : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) -> (tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>)
    %one = onnx.Constant dense<1> : tensor<i64>
    %z = onnx.CumSum %y, %one : (tensor<?x?x8xf32>, tensor<i64>) -> tensor<?x?x8xf32>
    return %z, %k, %v : tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>
  }
}

// -----

// CHECK: tokens = {refused = "(TopK) needs them all: a dimension is chosen from"}
module {
  func.func @main(%ids: tensor<?x?xi64> {onnx.name = "input_ids", onnx.dims = ["batch", "seq"]},
                  %pk: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]},
                  %pv: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.value", onnx.dims = ["batch", "", "past", ""]})
      -> (tensor<?x3x8xf32> {onnx.name = "logits"}, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) {
    %table = onnx.Constant dense<0.5> : tensor<16x8xf32>
    %x = onnx.Gather %table, %ids : (tensor<16x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
    %y, %k, %v = onnx.Attention %x, %x, %x past_key %pk past_value %pv {is_causal = 1 : i64, q_num_heads = 2 : i64, kv_num_heads = 2 : i64, resultSegmentSizes = array<i32: 1, 1, 1, 0>}
        : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) -> (tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>)
    %three = onnx.Constant dense<3> : tensor<1xi64>
    %z, %i = onnx.TopK %y, %three {axis = 1 : i64} : (tensor<?x?x8xf32>, tensor<1xi64>) -> (tensor<?x3x8xf32>, tensor<?x3x8xi64>)
    return %z, %k, %v : tensor<?x3x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>
  }
}

// -----

// A state of all tokens.
// CHECK: tokens = {refused = "(MatMul) sums over them"}
module {
  func.func @main(%ids: tensor<?x?xi64> {onnx.name = "input_ids", onnx.dims = ["batch", "seq"]},
                  %pk: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]},
                  %pv: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.value", onnx.dims = ["batch", "", "past", ""]})
      -> (tensor<?x?x8xf32> {onnx.name = "logits"}, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) {
    %table = onnx.Constant dense<0.5> : tensor<16x8xf32>
    %x = onnx.Gather %table, %ids : (tensor<16x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
    %y, %k, %v = onnx.Attention %x, %x, %x past_key %pk past_value %pv {is_causal = 1 : i64, q_num_heads = 2 : i64, kv_num_heads = 2 : i64, resultSegmentSizes = array<i32: 1, 1, 1, 0>}
        : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) -> (tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>)
    %yt = onnx.Transpose %y {perm = array<i64: 0, 2, 1>} : (tensor<?x?x8xf32>) -> tensor<?x8x?xf32>
    %w = onnx.MatMul %yt, %y : (tensor<?x8x?xf32>, tensor<?x?x8xf32>) -> tensor<?x8x8xf32>
    %z = onnx.MatMul %y, %w : (tensor<?x?x8xf32>, tensor<?x8x8xf32>) -> tensor<?x?x8xf32>
    return %z, %k, %v : tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>
  }
}

// -----

// CHECK: tokens = {refused = "(Trilu) needs them all: a dimension is cut along a diagonal"}
module {
  func.func @main(%ids: tensor<?x?xi64> {onnx.name = "input_ids", onnx.dims = ["batch", "seq"]},
                  %pk: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]},
                  %pv: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.value", onnx.dims = ["batch", "", "past", ""]})
      -> (tensor<?x?x8xf32> {onnx.name = "logits"}, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) {
    %table = onnx.Constant dense<0.5> : tensor<16x8xf32>
    %x = onnx.Gather %table, %ids : (tensor<16x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
    %y, %k, %v = onnx.Attention %x, %x, %x past_key %pk past_value %pv {is_causal = 1 : i64, q_num_heads = 2 : i64, kv_num_heads = 2 : i64, resultSegmentSizes = array<i32: 1, 1, 1, 0>}
        : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) -> (tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>)
    %yt = onnx.Transpose %y {perm = array<i64: 0, 2, 1>} : (tensor<?x?x8xf32>) -> tensor<?x8x?xf32>
    %scores = onnx.MatMul %y, %yt : (tensor<?x?x8xf32>, tensor<?x8x?xf32>) -> tensor<?x?x?xf32>
    %lower = onnx.Trilu %scores {upper = 0 : i64} : (tensor<?x?x?xf32>) -> tensor<?x?x?xf32>
    %z = onnx.MatMul %lower, %y : (tensor<?x?x?xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
    return %z, %k, %v : tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>
  }
}

// -----

// CHECK: tokens = {refused = "(Conv) needs them all: a dimension is a window of a convolution"}
module {
  func.func @main(%ids: tensor<?x?xi64> {onnx.name = "input_ids", onnx.dims = ["batch", "seq"]},
                  %pk: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]},
                  %pv: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.value", onnx.dims = ["batch", "", "past", ""]})
      -> (tensor<?x?x8xf32> {onnx.name = "logits"}, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) {
    %table = onnx.Constant dense<0.5> : tensor<16x8xf32>
    %x = onnx.Gather %table, %ids : (tensor<16x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
    %y, %k, %v = onnx.Attention %x, %x, %x past_key %pk past_value %pv {is_causal = 1 : i64, q_num_heads = 2 : i64, kv_num_heads = 2 : i64, resultSegmentSizes = array<i32: 1, 1, 1, 0>}
        : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) -> (tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>)
    %kernel = onnx.Constant dense<1.0> : tensor<8x8x3xf32>
    %yt = onnx.Transpose %y {perm = array<i64: 0, 2, 1>} : (tensor<?x?x8xf32>) -> tensor<?x8x?xf32>
    %c = onnx.Conv %yt, %kernel {pads = array<i64: 2, 0>} : (tensor<?x8x?xf32>, tensor<8x8x3xf32>) -> tensor<?x8x?xf32>
    %z = onnx.Transpose %c {perm = array<i64: 0, 2, 1>} : (tensor<?x8x?xf32>) -> tensor<?x?x8xf32>
    return %z, %k, %v : tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>
  }
}

// -----

// CHECK: tokens = {refused = "(Split) needs them all: a dimension is cut in two ways that do not fit"}
module {
  func.func @main(%ids: tensor<?x?xi64> {onnx.name = "input_ids", onnx.dims = ["batch", "seq"]},
                  %pk: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]},
                  %pv: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.value", onnx.dims = ["batch", "", "past", ""]})
      -> (tensor<?x?x8xf32> {onnx.name = "logits"}, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) {
    %table = onnx.Constant dense<0.5> : tensor<16x8xf32>
    %x = onnx.Gather %table, %ids : (tensor<16x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
    %y, %k, %v = onnx.Attention %x, %x, %x past_key %pk past_value %pv {is_causal = 1 : i64, q_num_heads = 2 : i64, kv_num_heads = 2 : i64, resultSegmentSizes = array<i32: 1, 1, 1, 0>}
        : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) -> (tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>)
    %a, %b = onnx.Split %y {axis = 1 : i64, num_outputs = 2 : i64} : (tensor<?x?x8xf32>) -> (tensor<?x?x8xf32>, tensor<?x?x8xf32>)
    %z = onnx.Concat %b, %a {axis = 1 : i64} : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
    return %z, %k, %v : tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>
  }
}

// -----

// CHECK: tokens = {refused = "(Concat) joins them with others"}
module {
  func.func @main(%ids: tensor<?x?xi64> {onnx.name = "input_ids", onnx.dims = ["batch", "seq"]},
                  %pk: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]},
                  %pv: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.value", onnx.dims = ["batch", "", "past", ""]})
      -> (tensor<?x?x8xf32> {onnx.name = "logits"}, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) {
    %table = onnx.Constant dense<0.5> : tensor<16x8xf32>
    %x = onnx.Gather %table, %ids : (tensor<16x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
    %y, %k, %v = onnx.Attention %x, %x, %x past_key %pk past_value %pv {is_causal = 1 : i64, q_num_heads = 2 : i64, kv_num_heads = 2 : i64, resultSegmentSizes = array<i32: 1, 1, 1, 0>}
        : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) -> (tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>)
    %first = onnx.Constant dense<0.0> : tensor<1x3x8xf32>
    %z = onnx.Concat %first, %y {axis = 1 : i64} : (tensor<1x3x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
    return %z, %k, %v : tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>
  }
}

// -----

// A table's first rows are those of the first tokens only where nothing is cached.
// CHECK: tokens = {refused = "(Slice) needs them all: a dimension is cut at places that differ with what is cached"}
module {
  func.func @main(%ids: tensor<?x?xi64> {onnx.name = "input_ids", onnx.dims = ["batch", "seq"]},
                  %pk: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]},
                  %pv: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.value", onnx.dims = ["batch", "", "past", ""]})
      -> (tensor<?x?x8xf32> {onnx.name = "logits"}, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) {
    %zero = onnx.Constant dense<0> : tensor<1xi64>
    %c1 = arith.constant 1 : index
    %c2 = arith.constant 2 : index
    %n = tensor.dim %ids, %c1 : tensor<?x?xi64>
    %p = tensor.dim %pk, %c2 : tensor<?x2x?x4xf32>
    %t = arith.addi %p, %n : index
    %table = onnx.Constant dense<0.5> : tensor<16x8xf32>
    %x = onnx.Gather %table, %ids : (tensor<16x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
    %ne_i = arith.index_cast %n : index to i64
    %ne = tensor.from_elements %ne_i : tensor<1xi64>
    %e = onnx.Slice %table, %zero, %ne axes %zero : (tensor<16x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x8xf32>
    %s = onnx.Add %x, %e : (tensor<?x?x8xf32>, tensor<?x8xf32>) -> tensor<?x?x8xf32>
    %y, %k, %v = onnx.Attention %s, %s, %s past_key %pk past_value %pv {is_causal = 1 : i64, q_num_heads = 2 : i64, kv_num_heads = 2 : i64, resultSegmentSizes = array<i32: 1, 1, 1, 0>}
        : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) -> (tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>)
    return %y, %k, %v : tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>
  }
}

// -----

// Tokens that are numbered from zero.
// CHECK: tokens = {refused = "(Gather) computes with how many there are, or how many are cached"}
module {
  func.func @main(%ids: tensor<?x?xi64> {onnx.name = "input_ids", onnx.dims = ["batch", "seq"]},
                  %pk: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]},
                  %pv: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.value", onnx.dims = ["batch", "", "past", ""]})
      -> (tensor<?x?x8xf32> {onnx.name = "logits"}, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) {
    %one = onnx.Constant dense<1> : tensor<i64>
    %zero = onnx.Constant dense<0> : tensor<i64>
    %c1 = arith.constant 1 : index
    %c2 = arith.constant 2 : index
    %n = tensor.dim %ids, %c1 : tensor<?x?xi64>
    %p = tensor.dim %pk, %c2 : tensor<?x2x?x4xf32>
    %t = arith.addi %p, %n : index
    %table = onnx.Constant dense<0.5> : tensor<16x8xf32>
    %x = onnx.Gather %table, %ids : (tensor<16x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
    %ns_i = arith.index_cast %n : index to i64
    %ns = tensor.from_elements %ns_i : tensor<i64>
    %r = onnx.Range %zero, %ns, %one : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
    %e = onnx.Gather %table, %r : (tensor<16x8xf32>, tensor<?xi64>) -> tensor<?x8xf32>
    %s = onnx.Add %x, %e : (tensor<?x?x8xf32>, tensor<?x8xf32>) -> tensor<?x?x8xf32>
    %y, %k, %v = onnx.Attention %s, %s, %s past_key %pk past_value %pv {is_causal = 1 : i64, q_num_heads = 2 : i64, kv_num_heads = 2 : i64, resultSegmentSizes = array<i32: 1, 1, 1, 0>}
        : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) -> (tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>)
    return %y, %k, %v : tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>
  }
}

// -----

// CHECK: tokens = {refused = "(Div) computes with how many there are, or how many are cached"}
module {
  func.func @main(%ids: tensor<?x?xi64> {onnx.name = "input_ids", onnx.dims = ["batch", "seq"]},
                  %pk: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]},
                  %pv: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.value", onnx.dims = ["batch", "", "past", ""]})
      -> (tensor<?x?x8xf32> {onnx.name = "logits"}, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) {
    %c1 = arith.constant 1 : index
    %c2 = arith.constant 2 : index
    %n = tensor.dim %ids, %c1 : tensor<?x?xi64>
    %p = tensor.dim %pk, %c2 : tensor<?x2x?x4xf32>
    %t = arith.addi %p, %n : index
    %table = onnx.Constant dense<0.5> : tensor<16x8xf32>
    %x = onnx.Gather %table, %ids : (tensor<16x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
    %ns_i = arith.index_cast %n : index to i64
    %ns = tensor.from_elements %ns_i : tensor<i64>
    %f = onnx.Cast %ns to f32 : (tensor<i64>) -> tensor<f32>
    %s = onnx.Div %x, %f : (tensor<?x?x8xf32>, tensor<f32>) -> tensor<?x?x8xf32>
    %y, %k, %v = onnx.Attention %s, %s, %s past_key %pk past_value %pv {is_causal = 1 : i64, q_num_heads = 2 : i64, kv_num_heads = 2 : i64, resultSegmentSizes = array<i32: 1, 1, 1, 0>}
        : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) -> (tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>)
    return %y, %k, %v : tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>
  }
}

// -----

// A bias by the number of keys, counted in the mask.
// CHECK: tokens = {refused = "(Add) computes with how many there are, or how many are cached"}
module {
  func.func @main(%ids: tensor<?x?xi64> {onnx.name = "input_ids", onnx.dims = ["batch", "seq"]},
                  %mask: tensor<?x?xi64> {onnx.name = "attention_mask", onnx.dims = ["batch", "total"]},
                  %pk: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]},
                  %pv: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.value", onnx.dims = ["batch", "", "past", ""]})
      -> (tensor<?x?x8xf32> {onnx.name = "logits"}, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) {
    %along = onnx.Constant dense<1> : tensor<1xi64>
    %table = onnx.Constant dense<0.5> : tensor<16x8xf32>
    %x = onnx.Gather %table, %ids : (tensor<16x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
    %seen = onnx.ReduceSum %mask axes %along {keepdims = 0 : i64} : (tensor<?x?xi64>, tensor<1xi64>) -> tensor<?xi64>
    %f = onnx.Cast %seen to f32 : (tensor<?xi64>) -> tensor<?xf32>
    %s = onnx.Add %x, %f : (tensor<?x?x8xf32>, tensor<?xf32>) -> tensor<?x?x8xf32>
    %y, %k, %v = onnx.Attention %s, %s, %s past_key %pk past_value %pv {is_causal = 1 : i64, q_num_heads = 2 : i64, kv_num_heads = 2 : i64, resultSegmentSizes = array<i32: 1, 1, 1, 0>}
        : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) -> (tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>)
    return %y, %k, %v : tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>
  }
}

// -----

// CHECK: tokens = {refused = "result 'logits' has no row for each of them"}
module {
  func.func @main(%ids: tensor<?x?xi64> {onnx.name = "input_ids", onnx.dims = ["batch", "seq"]},
                  %pk: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]},
                  %pv: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.value", onnx.dims = ["batch", "", "past", ""]})
      -> (tensor<1x1x8xf32> {onnx.name = "logits"}, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) {
    %table = onnx.Constant dense<0.5> : tensor<16x8xf32>
    %x = onnx.Gather %table, %ids : (tensor<16x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
    %y, %k, %v = onnx.Attention %x, %x, %x past_key %pk past_value %pv {is_causal = 1 : i64, q_num_heads = 2 : i64, kv_num_heads = 2 : i64, resultSegmentSizes = array<i32: 1, 1, 1, 0>}
        : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) -> (tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>)
    %z = onnx.Constant dense<1.0> : tensor<1x1x8xf32>
    return %z, %k, %v : tensor<1x1x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>
  }
}

// -----

// CHECK: tokens = {refused = "result 'logits' has another dimension before them, or no row for each"}
module {
  func.func @main(%ids: tensor<?x?xi64> {onnx.name = "input_ids", onnx.dims = ["batch", "seq"]},
                  %pk: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]},
                  %pv: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.value", onnx.dims = ["batch", "", "past", ""]})
      -> (tensor<8x?x?xf32> {onnx.name = "logits"}, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) {
    %table = onnx.Constant dense<0.5> : tensor<16x8xf32>
    %x = onnx.Gather %table, %ids : (tensor<16x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
    %y, %k, %v = onnx.Attention %x, %x, %x past_key %pk past_value %pv {is_causal = 1 : i64, q_num_heads = 2 : i64, kv_num_heads = 2 : i64, resultSegmentSizes = array<i32: 1, 1, 1, 0>}
        : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) -> (tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>)
    %z = onnx.Transpose %y {perm = array<i64: 2, 1, 0>} : (tensor<?x?x8xf32>) -> tensor<8x?x?xf32>
    return %z, %k, %v : tensor<8x?x?xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>
  }
}

// -----

// CHECK: tokens = {refused = "result 'logits' depends on how many there are, or how many are cached"}
module {
  func.func @main(%ids: tensor<?x?xi64> {onnx.name = "input_ids", onnx.dims = ["batch", "seq"]},
                  %pk: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]},
                  %pv: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.value", onnx.dims = ["batch", "", "past", ""]})
      -> (tensor<1xi64> {onnx.name = "logits"}, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) {
    %c1 = arith.constant 1 : index
    %c2 = arith.constant 2 : index
    %n = tensor.dim %ids, %c1 : tensor<?x?xi64>
    %p = tensor.dim %pk, %c2 : tensor<?x2x?x4xf32>
    %t = arith.addi %p, %n : index
    %table = onnx.Constant dense<0.5> : tensor<16x8xf32>
    %x = onnx.Gather %table, %ids : (tensor<16x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
    %ns_i = arith.index_cast %n : index to i64
    %ns = tensor.from_elements %ns_i : tensor<1xi64>
    %y, %k, %v = onnx.Attention %x, %x, %x past_key %pk past_value %pv {is_causal = 1 : i64, q_num_heads = 2 : i64, kv_num_heads = 2 : i64, resultSegmentSizes = array<i32: 1, 1, 1, 0>}
        : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) -> (tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>)
    return %ns, %k, %v : tensor<1xi64>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>
  }
}

// -----

// CHECK: tokens = {refused = "(NonZero) has no rule"}
module {
  func.func @main(%ids: tensor<?x?xi64> {onnx.name = "input_ids", onnx.dims = ["batch", "seq"]},
                  %pk: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]},
                  %pv: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.value", onnx.dims = ["batch", "", "past", ""]})
      -> (tensor<?x?x8xf32> {onnx.name = "logits"}, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) {
    %table = onnx.Constant dense<0.5> : tensor<16x8xf32>
    %x = onnx.Gather %table, %ids : (tensor<16x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
    %y, %k, %v = onnx.Attention %x, %x, %x past_key %pk past_value %pv {is_causal = 1 : i64, q_num_heads = 2 : i64, kv_num_heads = 2 : i64, resultSegmentSizes = array<i32: 1, 1, 1, 0>}
        : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) -> (tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>)
    %nz = onnx.NonZero %y : (tensor<?x?x8xf32>) -> tensor<3x?xi64>
    %zero = onnx.Constant dense<0> : tensor<i64>
    %one = onnx.Gather %nz, %zero : (tensor<3x?xi64>, tensor<i64>) -> tensor<?xi64>
    %z = onnx.Gather %y, %one {axis = 1 : i64} : (tensor<?x?x8xf32>, tensor<?xi64>) -> tensor<?x?x8xf32>
    return %z, %k, %v : tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>
  }
}

// -----

// Tokens with their channels in one dimension.
// CHECK: tokens = {refused = "(Reshape) needs them all: a dimension is merged with another dimension by a reshape"}
module {
  func.func @main(%ids: tensor<?x?xi64> {onnx.name = "input_ids", onnx.dims = ["batch", "seq"]},
                  %pk: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]},
                  %pv: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.value", onnx.dims = ["batch", "", "past", ""]})
      -> (tensor<1x?x8xf32> {onnx.name = "logits"}, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) {
    %table = onnx.Constant dense<0.5> : tensor<16x8xf32>
    %x = onnx.Gather %table, %ids : (tensor<16x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
    %y, %k, %v = onnx.Attention %x, %x, %x past_key %pk past_value %pv {is_causal = 1 : i64, q_num_heads = 2 : i64, kv_num_heads = 2 : i64, resultSegmentSizes = array<i32: 1, 1, 1, 0>}
        : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) -> (tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>)
    %zero = onnx.Constant dense<0> : tensor<i64>
    %flat = onnx.Constant dense<[-1]> : tensor<1xi64>
    %shape = onnx.Constant dense<[1, -1, 8]> : tensor<3xi64>
    %line = onnx.Reshape %y, %flat : (tensor<?x?x8xf32>, tensor<1xi64>) -> tensor<?xf32>
    %sums = onnx.CumSum %line, %zero : (tensor<?xf32>, tensor<i64>) -> tensor<?xf32>
    %z = onnx.Reshape %sums, %shape : (tensor<?xf32>, tensor<3xi64>) -> tensor<1x?x8xf32>
    return %z, %k, %v : tensor<1x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>
  }
}

// -----

// CHECK: tokens = {refused = "(If) has a body of its own"}
module {
  func.func @main(%ids: tensor<?x?xi64> {onnx.name = "input_ids", onnx.dims = ["batch", "seq"]},
                  %pk: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]},
                  %pv: tensor<?x2x?x4xf32> {onnx.name = "past_key_values.0.value", onnx.dims = ["batch", "", "past", ""]})
      -> (tensor<?x?x8xf32> {onnx.name = "logits"}, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) {
    %table = onnx.Constant dense<0.5> : tensor<16x8xf32>
    %x = onnx.Gather %table, %ids : (tensor<16x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
    %y, %k, %v = onnx.Attention %x, %x, %x past_key %pk past_value %pv {is_causal = 1 : i64, q_num_heads = 2 : i64, kv_num_heads = 2 : i64, resultSegmentSizes = array<i32: 1, 1, 1, 0>}
        : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) -> (tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>)
    %yes = onnx.Constant dense<true> : tensor<i1>
    %z = onnx.If %yes {
      onnx.Yield %y : tensor<?x?x8xf32>
    } else {
      onnx.Yield %x : tensor<?x?x8xf32>
    } : (tensor<i1>) -> tensor<?x?x8xf32>
    return %z, %k, %v : tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>
  }
}
