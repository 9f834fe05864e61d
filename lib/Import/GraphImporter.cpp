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

/// "" for both names of ONNX's own domain.
static StringRef domainOf(const ::onnx::NodeProto &node) {
  return node.domain() == "ai.onnx" ? StringRef() : StringRef(node.domain());
}

std::string caat::importer::describeNode(const Scope &scope, const ::onnx::NodeProto &node) {
  std::string type = node.domain().empty() ? node.op_type() : node.domain() + "." + node.op_type();
  int64_t version = scope.opsets->lookup(domainOf(node));
  return "node '" + scope.prefix + node.name() + "' (" + type + ", opset " + std::to_string(version) + ")";
}

bool Scope::contains(StringRef name) const { return values.contains(name) || (outer && outer->contains(name)); }

Value Scope::lookup(StringRef name) const {
  for (const Scope *scope = this; scope; scope = scope->outer)
    if (auto found = scope->values.find(name); found != scope->values.end())
      return found->second;
  return {};
}

llvm::Error GraphImporter::run() {
  Location loc = module.getLoc();
  function = func::FuncOp::create(builder, loc, "main", builder.getFunctionType({}, {}));
  symbols.insert(function);
  builder.setInsertionPointToStart(function.addEntryBlock());
  llvm::Expected<OpsetMap> opsets = readOpsets(model.opset_import());
  if (!opsets)
    return opsets.takeError();
  if (auto own = opsets->find(""); own != opsets->end())
    module->setAttr("onnx.opset", builder.getI64IntegerAttr(own->second));
  for (const auto &local : model.functions())
    if (!functions.try_emplace(local.domain() + ":" + local.name() + ":" + local.overload(), &local).second)
      return invalid("two functions of the model are called '" + Twine(local.domain()) + "." + local.name() + "'");

  Scope scope;
  scope.opsets = &*opsets;
  readHints(scope, graph.value_info());
  readHints(scope, graph.output());
  if (llvm::Error error = importInputs(scope))
    return error;
  if (llvm::Error error = importInitializers(scope, graph))
    return error;
  if (llvm::Error error = importNodes(scope, graph.node()))
    return error;
  if (llvm::Error error = importOutputs(scope))
    return error;
  return checkVerified(function);
}

llvm::Expected<OpsetMap>
GraphImporter::readOpsets(const google::protobuf::RepeatedPtrField<::onnx::OperatorSetIdProto> &imports) {
  OpsetMap opsets;
  for (const auto &opset : imports) {
    std::string domain = opset.domain() == "ai.onnx" ? "" : opset.domain();
    if (!opsets.try_emplace(domain, opset.version()).second)
      return invalid("domain '" + Twine(domain) + "' is imported twice");
  }
  auto own = opsets.find("");
  if (own != opsets.end() && (own->second < oldestOpset || own->second > newestOpset))
    return invalid("opset " + Twine(own->second) + " is not supported, " + Twine(oldestOpset) + " to " +
                   Twine(newestOpset) + " are");
  return opsets;
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

template <typename Infos> void GraphImporter::readHints(Scope &scope, const Infos &infos) {
  for (const ::onnx::ValueInfoProto &info : infos) {
    if (llvm::Expected<TensorType> type = tensorType(info.type()))
      scope.hints[info.name()] = *type;
    else
      llvm::consumeError(type.takeError());
  }
}
using ValueInfos = google::protobuf::RepeatedPtrField<::onnx::ValueInfoProto>;
template void GraphImporter::readHints<ValueInfos>(Scope &, const ValueInfos &);

llvm::Error GraphImporter::define(Scope &scope, StringRef name, Value value) {
  if (!scope.values.try_emplace(name, value).second)
    return invalid("another value is called '" + name + "'");
  return llvm::Error::success();
}

/// Gives a size of `input` that may change and has no name one of its own, "input.0".
static void nameDims(ShapedType type, StringRef input, SmallVectorImpl<Attribute> &dims) {
  std::string base = input.str();
  for (char &c : base)
    if (!llvm::isAlnum(c) && c != '_' && c != '.')
      c = '_';
  if (base.empty() || llvm::isDigit(base.front()))
    base = "input_" + base;
  for (auto [axis, dim] : llvm::enumerate(dims))
    if (type.isDynamicDim(axis) && cast<StringAttr>(dim).getValue().empty())
      dim = StringAttr::get(type.getContext(), base + "." + std::to_string(axis));
}

llvm::Error GraphImporter::importInputs(Scope &scope) {
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
    if (!type->hasRank())
      return invalid("input '" + Twine(input.name()) +
                     "' has no shape: give it one, with a name for each size that may change");
    nameDims(*type, input.name(), dims);
    attributes.append("onnx.dims", builder.getArrayAttr(dims));
    Location loc = NameLoc::get(builder.getStringAttr(input.name()));
    unsigned index = function.getNumArguments();
    if (failed(function.insertArgument(index, *type, attributes.getDictionary(builder.getContext()), loc)))
      return invalid("input '" + Twine(input.name()) + "' cannot be an argument");
    if (llvm::Error error = define(scope, input.name(), function.getArgument(index)))
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
  if (llvm::Error error = checkVerified(initializer))
    return error;
  return onnx::GetInitializerOp::create(builder, loc, stored.type, FlatSymbolRefAttr::get(initializer.getSymNameAttr()))
      .getResult();
}

static void collectFreeNames(const ::onnx::GraphProto &graph, llvm::StringSet<> &free);

/// Calls `use` with each name that the nodes of `graph` and of its subgraphs read, without those that a subgraph
/// defines itself.
static void forEachUse(const ::onnx::GraphProto &graph, llvm::function_ref<void(StringRef)> use) {
  for (const auto &node : graph.node()) {
    for (const std::string &input : node.input())
      use(input);
    for (const auto &attribute : node.attribute())
      if (attribute.has_g()) {
        llvm::StringSet<> free;
        collectFreeNames(attribute.g(), free);
        for (const auto &name : free)
          use(name.first());
      }
  }
  for (const auto &output : graph.output())
    use(output.name());
}

/// The names that `graph`, a subgraph, takes from the graph around it.
static void collectFreeNames(const ::onnx::GraphProto &graph, llvm::StringSet<> &free) {
  llvm::StringSet<> defined;
  for (const auto &input : graph.input())
    defined.insert(input.name());
  for (const auto &tensor : graph.initializer())
    defined.insert(tensor.name());
  for (const auto &node : graph.node())
    defined.insert_range(node.output());
  forEachUse(graph, [&](StringRef name) {
    if (!defined.contains(name))
      free.insert(name);
  });
}

llvm::Error GraphImporter::importInitializers(Scope &scope, const ::onnx::GraphProto &graph) {
  if (graph.sparse_initializer_size() > 0)
    return invalid("sparse initializers are not supported");
  llvm::StringMap<bool> used;
  for (const auto &tensor : graph.initializer())
    used.try_emplace(tensor.name(), false);
  forEachUse(graph, [&](StringRef name) {
    if (auto found = used.find(name); found != used.end())
      found->second = true;
  });
  for (auto [index, tensor] : llvm::enumerate(graph.initializer())) {
    if (tensor.name().empty())
      return invalid("initializer " + Twine(index) + " has no name");
    llvm::Expected<StoredTensor> stored = tensors.read(tensor);
    if (!stored)
      return invalid("initializer '" + Twine(tensor.name()) + "': " + toString(stored.takeError()));
    Value value;
    if (used.lookup(tensor.name())) {
      llvm::Expected<Value> made =
          materialize(*stored, tensor.name(), NameLoc::get(builder.getStringAttr(tensor.name())));
      if (!made)
        return made.takeError();
      value = *made;
    }
    if (llvm::Error error = define(scope, tensor.name(), value))
      return error;
  }
  return llvm::Error::success();
}

/// Whether all that `node` and its subgraphs read is defined.
static bool isReady(const Scope &scope, const ::onnx::NodeProto &node) {
  auto isKnown = [&](StringRef name) { return name.empty() || scope.contains(name); };
  for (const auto &attribute : node.attribute())
    if (attribute.has_g()) {
      llvm::StringSet<> free;
      collectFreeNames(attribute.g(), free);
      if (!llvm::all_of(free.keys(), isKnown))
        return false;
    }
  return llvm::all_of(node.input(), isKnown);
}

/// The nodes from `first` on in an order in which values are made before they are used.
llvm::Expected<SmallVector<int>> GraphImporter::sortNodes(const Scope &scope, const Nodes &nodes, int first) {
  auto describe = [&](int index) { return describeNode(scope, nodes[index]); };
  llvm::StringMap<int> producers;
  for (int index = first; index < nodes.size(); ++index)
    for (const std::string &output : nodes[index].output())
      if (!output.empty() && (scope.values.contains(output) || !producers.try_emplace(output, index).second))
        return invalid(describe(index) + ": another value is called '" + output + "'");

  SmallVector<int> waitingFor(nodes.size());
  SmallVector<SmallVector<int>> users(nodes.size());
  std::priority_queue<int, std::vector<int>, std::greater<>> ready;
  for (int index = first; index < nodes.size(); ++index) {
    const ::onnx::NodeProto &node = nodes[index];
    auto waitFor = [&](StringRef name) {
      auto producer = producers.find(name);
      if (producer == producers.end())
        return false;
      users[producer->second].push_back(index);
      ++waitingFor[index];
      return true;
    };
    for (const std::string &input : node.input())
      if (!input.empty() && !waitFor(input) && !scope.contains(input))
        return invalid(describe(index) + ": input '" + input + "' is made by no node and is no input of the graph");
    for (const auto &attribute : node.attribute()) {
      if (!attribute.has_g())
        continue;
      llvm::StringSet<> free; // the subgraph's own import finds what is missing
      collectFreeNames(attribute.g(), free);
      for (const auto &name : free)
        (void)waitFor(name.first());
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
  if (static_cast<int>(order.size()) == nodes.size() - first)
    return order;
  int stuck = llvm::find_if(waitingFor, [](int count) { return count > 0; }) - waitingFor.begin();
  return invalid(describe(stuck) + ": is in a cycle or behind one");
}

llvm::Error GraphImporter::importNodes(Scope &scope, const Nodes &nodes) {
  // Nearly all files have their nodes in order. Not so in a subgraph, where a name may stand for a value of the graph
  // around it as long as no node of its own has defined it.
  int next = 0;
  for (; !scope.outer && next < nodes.size() && isReady(scope, nodes[next]); ++next)
    if (llvm::Error error = importNode(scope, nodes[next]))
      return error;
  if (next == nodes.size())
    return llvm::Error::success();
  llvm::Expected<SmallVector<int>> order = sortNodes(scope, nodes, next);
  if (!order)
    return order.takeError();
  for (int index : *order)
    if (llvm::Error error = importNode(scope, nodes[index]))
      return error;
  return llvm::Error::success();
}

llvm::Error GraphImporter::importOutputs(Scope &scope) {
  if (graph.output_size() == 0)
    return invalid("the graph has no outputs");
  SmallVector<Value> results;
  SmallVector<Attribute> attributes;
  llvm::StringSet<> names;
  for (const auto &output : graph.output()) {
    Value value = scope.lookup(output.name());
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
