// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ModelMutator.h"

#include <cmath>
#include <limits>
#include <vector>

using namespace caat::fuzz;
using ::onnx::AttributeProto;
using ::onnx::GraphProto;
using ::onnx::NodeProto;
using ::onnx::TensorProto;

namespace {

class Mutator {
public:
  explicit Mutator(std::minstd_rand &random) : random(random) {}

  void graph(GraphProto &graph);
  void model(::onnx::ModelProto &model);

private:
  using Type = ::onnx::TypeProto;

  int64_t below(int64_t bound) { return bound > 0 ? static_cast<int64_t>(random() % static_cast<uint64_t>(bound)) : 0; }
  bool chance(int64_t in) { return below(in) == 0; }
  template <typename List> auto *pick(List *list) {
    return list->empty() ? nullptr : list->Mutable(below(list->size()));
  }
  template <typename List> void eraseOne(List *list) {
    if (!list->empty())
      list->erase(list->begin() + below(list->size()));
  }

  int64_t number(int64_t old) {
    static constexpr int64_t edges[] = {0,
                                        1,
                                        -1,
                                        2,
                                        3,
                                        4,
                                        8,
                                        16,
                                        64,
                                        100,
                                        1 << 16,
                                        1 << 30,
                                        int64_t(1) << 31,
                                        int64_t(1) << 40,
                                        int64_t(1) << 62,
                                        INT64_MAX,
                                        INT64_MIN,
                                        INT64_MIN + 1,
                                        -2,
                                        -3,
                                        1000003};
    switch (below(4)) {
    case 0:
      return static_cast<int64_t>(static_cast<uint64_t>(old) + 1);
    case 1:
      return static_cast<int64_t>(static_cast<uint64_t>(old) - 1);
    case 2:
      return static_cast<int64_t>(static_cast<uint64_t>(old) * 2);
    default:
      return edges[below(std::size(edges))];
    }
  }
  float real(float old) {
    static const float edges[] = {0.f, -0.f, 1.f, -1.f, 1e-38f, 3e38f, NAN, INFINITY, -INFINITY};
    return chance(2) ? edges[below(std::size(edges))] : old * 2;
  }

  /// A name that something in the graph has, or the empty one.
  std::string valueName(const GraphProto &graph);
  void shape(::onnx::TensorShapeProto &shape);
  void type(Type &type);
  void tensor(TensorProto &tensor);
  void attribute(AttributeProto &attribute);
  void node(GraphProto &graph, NodeProto &node);

  std::minstd_rand &random;
};

std::string Mutator::valueName(const GraphProto &graph) {
  switch (below(6)) {
  case 0:
    return "";
  case 1:
    return graph.input().empty() ? "x" : graph.input(below(graph.input_size())).name();
  case 2:
    return graph.initializer().empty() ? "w" : graph.initializer(below(graph.initializer_size())).name();
  default:
    if (graph.node().empty())
      return "y";
    const NodeProto &node = graph.node(below(graph.node_size()));
    return node.output().empty() ? "z" : node.output(below(node.output_size()));
  }
}

void Mutator::shape(::onnx::TensorShapeProto &shape) {
  if (chance(8))
    return eraseOne(shape.mutable_dim());
  auto *dim = shape.dim().empty() || chance(8) ? shape.add_dim() : pick(shape.mutable_dim());
  static const char *const names[] = {"batch", "seq",      "past", "batch*seq", "past + seq",
                                      "",      "seq // 0", "((((", "floor(x/2)"};
  if (chance(3))
    dim->set_dim_param(names[below(std::size(names))]);
  else
    dim->set_dim_value(number(dim->dim_value()));
}

void Mutator::type(Type &type) {
  if (chance(10))
    return type.Clear();
  auto *tensor = type.mutable_tensor_type();
  if (chance(4))
    tensor->set_elem_type(static_cast<int>(below(28)));
  else if (chance(8))
    tensor->clear_shape();
  else
    shape(*tensor->mutable_shape());
}

void Mutator::tensor(TensorProto &tensor) {
  switch (below(8)) {
  case 0:
    tensor.set_data_type(static_cast<int>(below(28)));
    break;
  case 1:
    tensor.add_dims(number(1));
    break;
  case 2:
    eraseOne(tensor.mutable_dims());
    break;
  case 3:
    if (std::string *raw = tensor.mutable_raw_data(); !raw->empty()) {
      if (chance(3))
        raw->resize(below(static_cast<int64_t>(raw->size()) * 2));
      else
        (*raw)[below(static_cast<int64_t>(raw->size()))] = static_cast<char>(below(256));
    }
    break;
  case 4:
    if (tensor.int64_data_size())
      tensor.set_int64_data(below(tensor.int64_data_size()), number(0));
    else if (tensor.raw_data().size() >= 8) {
      int64_t value = number(0);
      tensor.mutable_raw_data()->replace(tensor.raw_data().size() / 8 * 8 - 8, 8, reinterpret_cast<char *>(&value), 8);
    }
    break;
  case 5:
    tensor.set_data_location(chance(2) ? TensorProto::EXTERNAL : TensorProto::DEFAULT);
    break;
  case 6: {
    static const char *const keys[] = {"location", "offset", "length", "checksum", "other"};
    static const char *const values[] = {"model.onnx",          "0", "64",   "-1",
                                         "9223372036854775807", "",  "../x", "*/_ORT_MEM_ADDR_/*"};
    auto *entry = tensor.add_external_data();
    entry->set_key(keys[below(std::size(keys))]);
    entry->set_value(values[below(std::size(values))]);
    break;
  }
  default:
    if (tensor.dims_size())
      tensor.set_dims(below(tensor.dims_size()), number(tensor.dims(0)));
  }
}

void Mutator::attribute(AttributeProto &attribute) {
  static const char *const names[] = {
      "axis",        "axes",         "perm",        "keepdims",  "to",        "value",        "epsilon",
      "num_heads",   "kv_num_heads", "q_num_heads", "allowzero", "group",     "kernel_shape", "strides",
      "pads",        "auto_pad",     "equation",    "mode",      "k",         "upper",        "block_size",
      "num_outputs", "is_causal",    "then_branch", "body",      "value_ints"};
  switch (below(7)) {
  case 0:
    attribute.set_name(names[below(std::size(names))]);
    break;
  case 1:
    attribute.set_type(static_cast<AttributeProto::AttributeType>(below(15)));
    break;
  case 2:
    attribute.add_ints(number(0));
    break;
  case 3:
    if (attribute.ints_size())
      attribute.set_ints(below(attribute.ints_size()), number(attribute.ints(0)));
    else
      attribute.set_i(number(attribute.i()));
    break;
  case 4:
    attribute.set_f(real(attribute.f()));
    break;
  case 5:
    if (attribute.has_t())
      tensor(*attribute.mutable_t());
    else if (attribute.has_g())
      graph(*attribute.mutable_g());
    break;
  default:
    attribute.set_i(number(attribute.i()));
  }
}

void Mutator::node(GraphProto &graph, NodeProto &node) {
  static const char *const types[] = {"Add",
                                      "Mul",
                                      "Sub",
                                      "Div",
                                      "MatMul",
                                      "Gemm",
                                      "Reshape",
                                      "Transpose",
                                      "Concat",
                                      "Split",
                                      "Slice",
                                      "Gather",
                                      "GatherND",
                                      "GatherElements",
                                      "ScatterND",
                                      "ScatterElements",
                                      "Expand",
                                      "Tile",
                                      "Shape",
                                      "Size",
                                      "Range",
                                      "ConstantOfShape",
                                      "Where",
                                      "Cast",
                                      "CastLike",
                                      "Squeeze",
                                      "Unsqueeze",
                                      "Flatten",
                                      "Pad",
                                      "Trilu",
                                      "OneHot",
                                      "CumSum",
                                      "TopK",
                                      "ArgMax",
                                      "NonZero",
                                      "Softmax",
                                      "LayerNormalization",
                                      "RMSNormalization",
                                      "GroupNormalization",
                                      "Attention",
                                      "RotaryEmbedding",
                                      "TensorScatter",
                                      "Gelu",
                                      "Conv",
                                      "Einsum",
                                      "ReduceMean",
                                      "ReduceSum",
                                      "Equal",
                                      "Less",
                                      "Not",
                                      "And",
                                      "Max",
                                      "Min",
                                      "Pow",
                                      "Sqrt",
                                      "Identity",
                                      "Constant",
                                      "If",
                                      "Loop",
                                      "Scan",
                                      "Dropout",
                                      "QuantizeLinear",
                                      "DequantizeLinear",
                                      "MatMulInteger",
                                      "DynamicQuantizeLinear",
                                      "Resize",
                                      "Clip",
                                      "Mod",
                                      "Neg",
                                      "GroupQueryAttention",
                                      "MultiHeadAttention",
                                      "SkipSimplifiedLayerNormalization",
                                      "SkipLayerNormalization",
                                      "FusedMatMul",
                                      "MatMulNBits",
                                      "BiasGelu",
                                      "FastGelu",
                                      "QuickGelu",
                                      "SimplifiedLayerNormalization"};
  switch (below(9)) {
  case 0:
    node.set_op_type(types[below(std::size(types))]);
    break;
  case 1:
    if (node.input_size())
      node.set_input(below(node.input_size()), valueName(graph));
    break;
  case 2:
    node.add_input(valueName(graph));
    break;
  case 3:
    if (node.input_size())
      node.mutable_input()->DeleteSubrange(static_cast<int>(below(node.input_size())), 1);
    break;
  case 4:
    attribute(node.attribute().empty() || chance(6) ? *node.add_attribute() : *pick(node.mutable_attribute()));
    break;
  case 5:
    eraseOne(node.mutable_attribute());
    break;
  case 6:
    node.set_domain(chance(2) ? "com.microsoft" : "");
    break;
  case 7:
    node.add_output("extra" + std::to_string(below(8)));
    break;
  default:
    if (!node.attribute().empty())
      attribute(*pick(node.mutable_attribute()));
  }
}

void Mutator::graph(GraphProto &graph) {
  switch (below(10)) {
  case 0:
  case 1:
  case 2:
  case 3:
    if (NodeProto *chosen = pick(graph.mutable_node()))
      node(graph, *chosen);
    break;
  case 4:
    if (TensorProto *chosen = pick(graph.mutable_initializer()))
      tensor(*chosen);
    break;
  case 5:
    if (auto *chosen = pick(chance(4) ? graph.mutable_output() : graph.mutable_input()))
      type(*chosen->mutable_type());
    break;
  case 6:
    if (auto *chosen = pick(graph.mutable_value_info()))
      type(*chosen->mutable_type());
    break;
  case 7: { // a node between a value and its users
    if (graph.node_size() == 0 || graph.node_size() > 500)
      break;
    int at = static_cast<int>(below(graph.node_size()));
    NodeProto copy = graph.node(at);
    for (int i = 0; i < copy.output_size(); ++i)
      copy.set_output(i, copy.output(i) + "_" + std::to_string(below(1000)));
    node(graph, copy);
    if (copy.output_size() && chance(2)) {
      NodeProto *user = pick(graph.mutable_node());
      if (user->input_size())
        user->set_input(below(user->input_size()), copy.output(0));
    }
    *graph.add_node() = copy;
    break;
  }
  case 8:
    if (chance(2))
      eraseOne(graph.mutable_node());
    else
      eraseOne(graph.mutable_initializer());
    break;
  default:
    if (auto *output = pick(graph.mutable_output()))
      output->set_name(valueName(graph));
  }
}

void Mutator::model(::onnx::ModelProto &model) {
  if (chance(40) && model.opset_import_size())
    pick(model.mutable_opset_import())->set_version(chance(2) ? 11 + below(18) : number(20));
  else if (chance(40) && model.functions_size())
    if (NodeProto *chosen = pick(pick(model.mutable_functions())->mutable_node()))
      node(*model.mutable_graph(), *chosen);
  graph(*model.mutable_graph());
}

} // namespace

void caat::fuzz::mutateModel(::onnx::ModelProto &model, std::minstd_rand &random) {
  Mutator mutator(random);
  for (int left = 1 + static_cast<int>(random() % 4); left > 0; --left)
    mutator.model(model);
}

void caat::fuzz::crossModels(::onnx::ModelProto &model, const ::onnx::ModelProto &other, std::minstd_rand &random) {
  const GraphProto &from = other.graph();
  for (const NodeProto &node : from.node())
    if (random() % 4 == 0)
      *model.mutable_graph()->add_node() = node;
  for (const TensorProto &tensor : from.initializer())
    if (random() % 2 == 0)
      *model.mutable_graph()->add_initializer() = tensor;
}
