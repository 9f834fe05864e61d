// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Builds the function @main from a graph.
#ifndef CAAT_LIB_IMPORT_GRAPHIMPORTER_H
#define CAAT_LIB_IMPORT_GRAPHIMPORTER_H

#include "Node.h"
#include "Tensors.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/StringMap.h"

namespace caat::importer {

class GraphImporter {
public:
  GraphImporter(mlir::ModuleOp module, const ModelFile &file, TensorReader &tensors)
      : module(module), file(file), graph(file.model.graph()), tensors(tensors), symbols(module),
        builder(module.getContext()) {}

  /// Fills the module; the error names the node, value or tensor that is wrong.
  llvm::Error run();

private:
  llvm::Error readOpsets();
  llvm::Error readHints();
  llvm::Error importInputs();
  llvm::Error importInitializers();
  llvm::Error importNodes();
  llvm::Error importOutputs();

  llvm::Expected<llvm::SmallVector<int>> sortNodes();
  llvm::Error importNode(int index);
  llvm::Expected<Node> readNode(int index, const ::onnx::NodeProto &proto, int64_t version);
  llvm::Expected<mlir::Attribute> readAttribute(int node, int index, const ::onnx::AttributeProto &proto);
  llvm::Error importConstant(int index, const ::onnx::NodeProto &proto, mlir::Location loc);
  llvm::Expected<mlir::Operation *> createTyped(Node &node, const OperatorInfo &info);
  llvm::Expected<mlir::Operation *> createCustom(Node &node);

  llvm::Error define(llvm::StringRef name, mlir::Value value);
  llvm::Expected<mlir::Value> materialize(const StoredTensor &stored, llvm::StringRef name, mlir::Location loc);
  llvm::Expected<mlir::TensorType> tensorType(const ::onnx::TypeProto &type,
                                              llvm::SmallVectorImpl<mlir::Attribute> *dims = nullptr);

  mlir::ModuleOp module;
  const ModelFile &file;
  const ::onnx::GraphProto &graph;
  TensorReader &tensors;
  mlir::SymbolTable symbols;
  mlir::OpBuilder builder;
  mlir::func::FuncOp function;
  llvm::StringMap<int64_t> opsets;         ///< version of each domain
  llvm::StringMap<mlir::TensorType> hints; ///< what the file says of values' types, which may be wrong
  llvm::StringMap<mlir::Value> values;     ///< null for an initializer that no node uses
};

/// "node 'name' (OpType, opset n)".
std::string describeNode(const ::onnx::NodeProto &node, int64_t version);

} // namespace caat::importer

#endif // CAAT_LIB_IMPORT_GRAPHIMPORTER_H
