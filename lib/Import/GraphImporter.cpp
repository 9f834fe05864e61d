// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The graph around the nodes: opsets, types, inputs, initializers, order, outputs.
#include "GraphImporter.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSet.h"

#include <queue>

using namespace mlir;
using namespace caat;
using namespace caat::importer;

static llvm::Error invalid(const Twine &message) { return llvm::createStringError(message); }

std::string caat::importer::describeNode(const ::onnx::NodeProto &node, int64_t version) {
  std::string type = node.domain().empty() ? node.op_type() : node.domain() + "." + node.op_type();
  return "node '" + node.name() + "' (" + type + ", opset " + std::to_string(version) + ")";
}

llvm::Error GraphImporter::run() {
  Location loc = module.getLoc();
  function = func::FuncOp::create(builder, loc, "main", builder.getFunctionType({}, {}));
  symbols.insert(function);
  builder.setInsertionPointToStart(function.addEntryBlock());
  if (graph.sparse_initializer_size() > 0)
    return invalid("sparse initializers are not supported");
  for (auto step : {&GraphImporter::readOpsets, &GraphImporter::readHints, &GraphImporter::importInputs,
                    &GraphImporter::importInitializers, &GraphImporter::importNodes, &GraphImporter::importOutputs})
    if (llvm::Error error = (this->*step)())
      return error;
  return llvm::Error::success();
}

llvm::Error GraphImporter::readOpsets() {
  for (const auto &opset : file.model.opset_import()) {
    std::string domain = opset.domain() == "ai.onnx" ? "" : opset.domain();
    if (!opsets.try_emplace(domain, opset.version()).second)
      return invalid("domain '" + Twine(domain) + "' is imported twice");
  }
  auto own = opsets.find("");
  if (own == opsets.end())
    return llvm::Error::success();
  if (own->second < oldestOpset || own->second > newestOpset)
    return invalid("opset " + Twine(own->second) + " is not supported, " + Twine(oldestOpset) + " to " +
                   Twine(newestOpset) + " are");
  module->setAttr("onnx.opset", builder.getI64IntegerAttr(own->second));
  return llvm::Error::success();
}

llvm::Expected<TensorType> GraphImporter::tensorType(const ::onnx::TypeProto &type, SmallVectorImpl<Attribute> *dims) {
  if (!type.has_tensor_type())
    return invalid("is no tensor; sequences, maps and optionals are not supported");
  Type element = elementType(type.tensor_type().elem_type(), builder.getContext());
  if (!element)
    return invalid("has the element type " + Twine(type.tensor_type().elem_type()) + ", which is not supported");
  if (!type.tensor_type().has_shape())
    return UnrankedTensorType::get(element);
  if (type.tensor_type().shape().dim_size() > maxRank)
    return invalid("has rank " + Twine(type.tensor_type().shape().dim_size()) + ", above " + Twine(maxRank));
  SmallVector<int64_t> shape;
  for (const auto &dim : type.tensor_type().shape().dim()) {
    if (dim.has_dim_value() && dim.dim_value() < 0)
      return invalid("has the dimension " + Twine(dim.dim_value()));
    shape.push_back(dim.has_dim_value() ? dim.dim_value() : ShapedType::kDynamic);
    if (dims)
      dims->push_back(builder.getStringAttr(dim.dim_param()));
  }
  auto ranked = RankedTensorType::get(shape, element);
  if (ranked.hasStaticShape() && !onnx::storageBytes(ranked))
    return invalid("has a size that does not fit 63 bits");
  return ranked;
}

llvm::Error GraphImporter::readHints() {
  auto add = [&](const ::onnx::ValueInfoProto &info) {
    if (llvm::Expected<TensorType> type = tensorType(info.type()))
      hints[info.name()] = *type;
    else
      llvm::consumeError(type.takeError());
  };
  llvm::for_each(graph.value_info(), add);
  llvm::for_each(graph.output(), add);
  return llvm::Error::success();
}

llvm::Error GraphImporter::define(StringRef name, Value value) {
  if (!values.try_emplace(name, value).second)
    return invalid("two values are called '" + name + "'");
  return llvm::Error::success();
}

llvm::Error GraphImporter::importInputs() {
  llvm::StringSet<> stored;
  for (const auto &tensor : graph.initializer())
    stored.insert(tensor.name());
  for (const auto &input : graph.input()) {
    if (stored.contains(input.name()))
      continue; // a default value, as before IR version 4; here it is the value
    SmallVector<Attribute> dims;
    llvm::Expected<TensorType> type = tensorType(input.type(), &dims);
    if (!type)
      return invalid("input '" + Twine(input.name()) + "' " + toString(type.takeError()));
    NamedAttrList attributes;
    attributes.append("onnx.name", builder.getStringAttr(input.name()));
    if (type->hasRank())
      attributes.append("onnx.dims", builder.getArrayAttr(dims));
    Location loc = NameLoc::get(builder.getStringAttr(input.name()));
    unsigned index = function.getNumArguments();
    if (failed(function.insertArgument(index, *type, attributes.getDictionary(builder.getContext()), loc)))
      return invalid("input '" + Twine(input.name()) + "' cannot be an argument");
    if (llvm::Error error = define(input.name(), function.getArgument(index)))
      return error;
  }
  return llvm::Error::success();
}

llvm::Expected<Value> GraphImporter::materialize(const StoredTensor &stored, StringRef name, Location loc) {
  if (stored.value)
    return onnx::ConstantOp::create(builder, loc, stored.value).getResult();
  OpBuilder atModule(module.getContext());
  auto initializer =
      onnx::InitializerOp::create(atModule, loc, name, stored.type, stored.file, stored.offset, stored.length);
  // Before the function, in the order of use; insertion renames where the name is taken.
  symbols.insert(initializer, Block::iterator(function));
  return onnx::GetInitializerOp::create(builder, loc, stored.type, FlatSymbolRefAttr::get(initializer.getSymNameAttr()))
      .getResult();
}

llvm::Error GraphImporter::importInitializers() {
  llvm::StringSet<> used;
  for (const auto &node : graph.node())
    used.insert_range(node.input());
  for (const auto &output : graph.output())
    used.insert(output.name());
  for (auto [index, tensor] : llvm::enumerate(graph.initializer())) {
    if (tensor.name().empty())
      return invalid("initializer " + Twine(index) + " has no name");
    auto raw = file.initializerData.find(index);
    llvm::Expected<StoredTensor> stored =
        tensors.read(tensor, raw == file.initializerData.end() ? std::nullopt : std::optional(raw->second));
    if (!stored)
      return invalid("initializer '" + Twine(tensor.name()) + "': " + toString(stored.takeError()));
    Value value;
    if (used.contains(tensor.name())) {
      llvm::Expected<Value> made =
          materialize(*stored, tensor.name(), NameLoc::get(builder.getStringAttr(tensor.name())));
      if (!made)
        return made.takeError();
      value = *made;
    }
    if (llvm::Error error = define(tensor.name(), value))
      return error;
  }
  return llvm::Error::success();
}

/// The nodes in an order in which values are made before they are used: the file's own where that is one.
llvm::Expected<SmallVector<int>> GraphImporter::sortNodes() {
  auto describe = [&](int index) {
    const auto &node = graph.node(index);
    return describeNode(node, opsets.lookup(node.domain() == "ai.onnx" ? "" : node.domain()));
  };
  llvm::StringMap<int> producers;
  for (auto [index, node] : llvm::enumerate(graph.node()))
    for (const std::string &output : node.output())
      if (!output.empty() && (values.contains(output) || !producers.try_emplace(output, index).second))
        return invalid(describe(index) + ": another value is called '" + output + "'");

  SmallVector<int> waitingFor(graph.node_size());
  SmallVector<SmallVector<int>> users(graph.node_size());
  std::priority_queue<int, std::vector<int>, std::greater<>> ready;
  for (auto [index, node] : llvm::enumerate(graph.node())) {
    for (const std::string &input : node.input()) {
      if (input.empty() || values.contains(input))
        continue;
      auto producer = producers.find(input);
      if (producer == producers.end())
        return invalid(describe(index) + ": input '" + input + "' is made by no node and is no input of the graph");
      users[producer->second].push_back(index);
      ++waitingFor[index];
    }
    if (waitingFor[index] == 0)
      ready.push(index);
  }
  SmallVector<int> order;
  while (!ready.empty()) {
    int index = ready.top();
    ready.pop();
    order.push_back(index);
    for (int user : users[index])
      if (--waitingFor[user] == 0)
        ready.push(user);
  }
  if (order.size() == waitingFor.size())
    return order;
  int stuck = llvm::find_if(waitingFor, [](int count) { return count > 0; }) - waitingFor.begin();
  return invalid(describe(stuck) + ": is in a cycle or behind one");
}

llvm::Error GraphImporter::importNodes() {
  llvm::Expected<SmallVector<int>> order = sortNodes();
  if (!order)
    return order.takeError();
  for (int index : *order)
    if (llvm::Error error = importNode(index))
      return error;
  return llvm::Error::success();
}

llvm::Error GraphImporter::importOutputs() {
  if (graph.output_size() == 0)
    return invalid("the graph has no outputs");
  SmallVector<Value> results;
  SmallVector<Attribute> attributes;
  llvm::StringSet<> names;
  for (const auto &output : graph.output()) {
    Value value = values.lookup(output.name());
    if (!value)
      return invalid("output '" + Twine(output.name()) + "' is made by no node");
    if (!names.insert(output.name()).second)
      return invalid("two outputs are called '" + Twine(output.name()) + "'");
    SmallVector<Attribute> dims;
    llvm::Expected<TensorType> declared = tensorType(output.type(), &dims);
    if (!declared)
      return invalid("output '" + Twine(output.name()) + "' " + toString(declared.takeError()));
    auto type = dyn_cast<TensorType>(value.getType());
    if (!type || type.getElementType() != declared->getElementType()) {
      std::string message;
      llvm::raw_string_ostream(message) << "output '" << output.name() << "' has elements of type "
                                        << declared->getElementType() << ", but its value is " << value.getType();
      return invalid(message);
    }
    NamedAttrList list;
    list.append("onnx.name", builder.getStringAttr(output.name()));
    if (declared->hasRank() && (!type.hasRank() || type.getRank() == declared->getRank()))
      list.append("onnx.dims", builder.getArrayAttr(dims));
    attributes.push_back(list.getDictionary(builder.getContext()));
    results.push_back(value);
  }
  func::ReturnOp::create(builder, function.getLoc(), results);
  function.setType(builder.getFunctionType(function.getArgumentTypes(), ValueRange(results).getTypes()));
  function.setAllResultAttrs(attributes);
  return llvm::Error::success();
}
