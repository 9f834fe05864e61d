// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Builds the function @main from a graph, with the model's functions inlined and its subgraphs as regions.
#ifndef CAAT_LIB_IMPORT_GRAPHIMPORTER_H
#define CAAT_LIB_IMPORT_GRAPHIMPORTER_H

#include "Node.h"
#include "Tensors.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Diagnostics.h"
#include "llvm/ADT/StringMap.h"

namespace caat::importer {

using OpsetMap = llvm::StringMap<int64_t>; ///< version of each domain
using Nodes = google::protobuf::RepeatedPtrField<::onnx::NodeProto>;

/// The names that are visible in a graph or in the body of a function.
struct Scope {
  const Scope *outer = nullptr; ///< of the graph around a subgraph, whose values it may use
  const OpsetMap *opsets = nullptr;
  /// What the call of a function gave; null in the main graph, where ref_attr_name means nothing.
  const llvm::StringMap<mlir::Attribute> *arguments = nullptr;
  std::string prefix;                      ///< put before nodes' names, "layer.0/"
  llvm::StringMap<mlir::Value> values;     ///< null: an initializer that no node uses, or an operand not given
  llvm::StringMap<mlir::TensorType> hints; ///< what the file says of values' types, which may be wrong

  /// Whether this graph or one around it defines `name`; and what it is. The innermost definition counts.
  bool contains(llvm::StringRef name) const;
  mlir::Value lookup(llvm::StringRef name) const;
};

class GraphImporter {
public:
  GraphImporter(mlir::ModuleOp module, const ::onnx::ModelProto &model, TensorReader &tensors)
      : module(module), model(model), graph(model.graph()), tensors(tensors), symbols(module),
        builder(module.getContext()), handler(module.getContext(), [this](mlir::Diagnostic &diagnostic) {
          if (diagnostic.getSeverity() != mlir::DiagnosticSeverity::Error)
            return mlir::failure(); // printed as ever
          if (firstError.empty())
            firstError = diagnostic.str();
          return mlir::success();
        }) {}

  /// Fills the module with operations that are verified one by one; the error names the node, value or tensor that is
  /// wrong.
  llvm::Error run();

private:
  // The graph around the nodes.
  llvm::Error importInputs(Scope &scope);
  llvm::Error importInitializers(Scope &scope, const ::onnx::GraphProto &graph);
  llvm::Error importNodes(Scope &scope, const Nodes &nodes);
  llvm::Error importOutputs(Scope &scope);
  llvm::Expected<OpsetMap> readOpsets(const google::protobuf::RepeatedPtrField<::onnx::OperatorSetIdProto> &imports);
  template <typename Infos> void readHints(Scope &scope, const Infos &infos);
  llvm::Expected<llvm::SmallVector<int>> sortNodes(const Scope &scope, const Nodes &nodes, int first);
  llvm::Error define(Scope &scope, llvm::StringRef name, mlir::Value value);
  llvm::Expected<mlir::Value> materialize(const StoredTensor &stored, llvm::StringRef name, mlir::Location loc);
  llvm::Expected<mlir::TensorType> tensorType(const ::onnx::TypeProto &type,
                                              llvm::SmallVectorImpl<mlir::Attribute> *dims = nullptr);

  // One node.
  llvm::Error importNode(Scope &scope, const ::onnx::NodeProto &proto);
  llvm::Error importOperator(Scope &scope, const ::onnx::NodeProto &proto, int64_t version);
  llvm::Error importConstant(Scope &scope, const ::onnx::NodeProto &proto);
  llvm::Expected<Node> readNode(const Scope &scope, const ::onnx::NodeProto &proto, int64_t version);
  llvm::Expected<mlir::Attribute> readAttribute(const Scope &scope, const ::onnx::AttributeProto &proto);
  struct KnownOperator {
    OperatorInfo info;
    mlir::RegisteredOperationName name;
  };
  /// The typed operator of ONNX's own domain; nothing where there is none.
  const std::optional<KnownOperator> &findOperator(llvm::StringRef opType);
  llvm::Expected<mlir::Operation *> createTyped(const Scope &scope, Node &node, const KnownOperator &known);
  llvm::Expected<mlir::Operation *> createCustom(const Scope &scope, Node &node);
  mlir::Location nodeLocation(const Scope &scope, const ::onnx::NodeProto &proto);
  /// What the verifier of `op` says against it, without its regions.
  llvm::Error checkVerified(mlir::Operation *op);

  // Calls of the model's functions: Functions.cpp.
  const ::onnx::FunctionProto *findFunction(const ::onnx::NodeProto &proto) const;
  llvm::Error inlineFunction(Scope &caller, const ::onnx::NodeProto &call, const ::onnx::FunctionProto &callee);

  // Nodes with subgraphs: Subgraphs.cpp.
  llvm::Error importControlFlow(Scope &scope, const ::onnx::NodeProto &proto);
  llvm::Error importSubgraph(const Scope &outer, const ::onnx::NodeProto &proto, llvm::StringRef attribute,
                             mlir::Region &region, llvm::ArrayRef<mlir::Type> arguments);

  mlir::ModuleOp module;
  const ::onnx::ModelProto &model;
  const ::onnx::GraphProto &graph;
  TensorReader &tensors;
  mlir::SymbolTable symbols;
  mlir::OpBuilder builder;
  mlir::func::FuncOp function;
  llvm::StringMap<const ::onnx::FunctionProto *> functions; ///< by domain, name and overload
  llvm::DenseMap<const ::onnx::FunctionProto *, OpsetMap> functionOpsets;
  llvm::SmallVector<const ::onnx::FunctionProto *> calls; ///< those that are being inlined
  int64_t depth = 0, inlinedNodes = 0;
  llvm::StringMap<std::optional<KnownOperator>> operators; ///< those that were looked up
  std::string firstError;                                  ///< of the verifier
  mlir::ScopedDiagnosticHandler handler;
};

/// "node 'name' (OpType, opset n)".
std::string describeNode(const Scope &scope, const ::onnx::NodeProto &node);

/// Whether operators of this type hold subgraphs that the importer reads.
bool isControlFlow(const ::onnx::NodeProto &node);

} // namespace caat::importer

#endif // CAAT_LIB_IMPORT_GRAPHIMPORTER_H
