// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Limits.h"

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/JSON.h"

using namespace caat::importer;
using llvm::Twine;

namespace {

/// Walks everything that has a name or a length. protobuf's limit of 100 nested messages bounds the recursion.
class Checker {
public:
  void graph(const ::onnx::GraphProto &graph) {
    name(graph.name(), "a graph");
    for (const auto *list : {&graph.input(), &graph.output(), &graph.value_info()})
      for (const ::onnx::ValueInfoProto &value : *list)
        info(value);
    for (const ::onnx::TensorProto &tensor : graph.initializer())
      this->tensor(tensor);
    count(initializers, graph.initializer_size() + graph.sparse_initializer_size(), maxInitializers, "initializers");
    nodes(graph.node());
  }

  void function(const ::onnx::FunctionProto &function) {
    name(function.name(), "a function");
    name(function.domain(), "a function's domain");
    for (const auto *list : {&function.input(), &function.output(), &function.attribute()})
      for (const std::string &text : *list)
        name(text, "a value or attribute of a function");
    nodes(function.node());
  }

  std::string problem;

private:
  template <typename Nodes> void nodes(const Nodes &list) {
    count(nodeCount, list.size(), maxNodes, "nodes");
    for (const ::onnx::NodeProto &node : list) {
      if (!problem.empty())
        return;
      for (const std::string *text : {&node.name(), &node.op_type(), &node.domain()})
        name(*text, "a node's name, operator or domain");
      for (const auto *values : {&node.input(), &node.output()}) {
        length(values->size(), maxOperands, node, "inputs or outputs");
        for (const std::string &value : *values)
          name(value, "a value");
      }
      length(node.attribute_size(), maxOperands, node, "attributes");
      for (const ::onnx::AttributeProto &attribute : node.attribute())
        this->attribute(attribute, node);
    }
  }
  void refuse(const Twine &message) {
    if (problem.empty())
      problem = message.str();
  }
  void name(const std::string &text, const char *what) {
    if (text.size() > maxNameLength)
      refuse(Twine(what) + " has a name of " + Twine(text.size()) + " bytes ('" + llvm::StringRef(text).take_front(40) +
             "…'), the limit is " + Twine(maxNameLength));
    if (!llvm::json::isUTF8(text))
      refuse(Twine(what) + " has a name that is not UTF-8: '" + text + "'");
  }
  void count(int64_t &total, int64_t more, int64_t limit, const char *what) {
    if ((total += more) > limit)
      refuse("the model has more than " + Twine(limit) + " " + what);
  }
  void length(int64_t size, int64_t limit, const ::onnx::NodeProto &node, const char *what) {
    if (size > limit)
      refuse("node '" + Twine(node.name()) + "' (" + node.op_type() + ") has " + Twine(size) + " " + what +
             ", the limit is " + Twine(limit));
  }
  void info(const ::onnx::ValueInfoProto &value) {
    name(value.name(), "a value");
    for (const auto &dim : value.type().tensor_type().shape().dim())
      name(dim.dim_param(), "a dimension");
  }
  void tensor(const ::onnx::TensorProto &tensor) {
    name(tensor.name(), "a tensor");
    for (const auto &entry : tensor.external_data())
      name(entry.value(), "a file of external data");
  }
  void attribute(const ::onnx::AttributeProto &attribute, const ::onnx::NodeProto &node) {
    name(attribute.name(), "an attribute");
    length(std::max({attribute.ints_size(), attribute.floats_size(), attribute.strings_size()}), maxListLength, node,
           "elements in one attribute");
    tensor(attribute.t());
    for (const ::onnx::TensorProto &each : attribute.tensors())
      tensor(each);
    if (attribute.has_g())
      graph(attribute.g());
    for (const ::onnx::GraphProto &each : attribute.graphs())
      graph(each);
  }

  int64_t nodeCount = 0, initializers = 0;
};

} // namespace

llvm::Error caat::importer::checkLimits(const ::onnx::ModelProto &model) {
  Checker checker;
  checker.graph(model.graph());
  for (const ::onnx::FunctionProto &function : model.functions())
    checker.function(function);
  return checker.problem.empty() ? llvm::Error::success() : llvm::createStringError(checker.problem);
}
