// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The program of one rank as an ONNX message, but for the bytes of its tensors.
#ifndef CAAT_LIB_EXPORT_GRAPHWRITER_H
#define CAAT_LIB_EXPORT_GRAPHWRITER_H

#include "Names.h"
#include "Opsets.h"
#include "StoredWeights.h"

namespace caat {

class GraphWriter {
public:
  /// `function` is what buildExportPipeline leaves.
  GraphWriter(mlir::func::FuncOp function, ::onnx::ModelProto &model)
      : function(function), model(model), graph(*model.mutable_graph()), stored(function) {}

  /// Fills graph and opsets; emits one error and fails where something has no ONNX form. Every initializer has name,
  /// type and shape, no data.
  mlir::LogicalResult run();

  /// The value of each initializer, in their order.
  llvm::ArrayRef<mlir::Value> storedValues() const { return stored.values(); }

private:
  mlir::LogicalResult checkTypes();
  void writeInputs();
  void nameOutputs(mlir::Operation *terminator);
  void writeInitializers();
  mlir::LogicalResult writeNode(mlir::Operation *op);
  mlir::LogicalResult writeTyped(mlir::Operation *op, ::onnx::NodeProto &node);
  mlir::LogicalResult writeCustom(mlir::Operation *op, ::onnx::NodeProto &node);
  void writeOutputs(mlir::Operation *terminator);
  mlir::LogicalResult writeOpsets();
  mlir::DictionaryAttr defaultsOf(mlir::Operation *op);

  mlir::func::FuncOp function;
  ::onnx::ModelProto &model;
  ::onnx::GraphProto &graph;
  StoredWeights stored;
  OpsetChoice opset;
  llvm::StringMap<int64_t> domains; ///< version of each other domain
  NameSet valueNames;
  llvm::DenseMap<mlir::Value, std::string> names;
  llvm::DenseMap<mlir::Operation *, std::string> nodeNames;
  llvm::StringSet<> takenByNodes;
  llvm::SmallVector<std::string> outputNames;
  llvm::DenseMap<mlir::OperationName, mlir::DictionaryAttr> defaults;
};

} // namespace caat

#endif // CAAT_LIB_EXPORT_GRAPHWRITER_H
