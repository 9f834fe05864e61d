// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What is known about the shapes of a function's values: every dimension is an expression over the named symbols of the
// arguments ("batch", "past + seq"), and so is every element of the small integer tensors that exporters compute shapes
// with.
#ifndef CAAT_RAISE_SYMBOLICSHAPES_H
#define CAAT_RAISE_SYMBOLICSHAPES_H

#include "caat/Raise/DimExpr.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringMap.h"

namespace caat {

class SymbolicShapes {
public:
  using Dims = llvm::SmallVector<mlir::AffineExpr, 4>;

  /// Tensors of more elements are not tracked element by element.
  static constexpr int64_t maxElements = 64;

  /// Reads the arguments' `onnx.dims` and visits the ops of the function's body in order.
  explicit SymbolicShapes(mlir::Operation *function);

  /// Only the arguments; the caller visits the ops, for a rewrite that goes through them in order.
  static SymbolicShapes ofArguments(mlir::func::FuncOp function);

  /// Infers the results of `op` from its operands, whatever was known of them before.
  void visit(mlir::Operation *op);

  mlir::MLIRContext *getContext() const { return context; }

  //===--- what is known ---===//

  /// Dimensions of `value`; nullopt where not even its rank is known.
  std::optional<Dims> getDims(mlir::Value value) const;
  std::optional<int64_t> getRank(mlir::Value value) const;
  /// One dimension, null where the rank is unknown. Negative axes count from the end.
  mlir::AffineExpr getDim(mlir::Value value, int64_t axis) const;
  std::optional<int64_t> getStaticDim(mlir::Value value, int64_t axis) const;

  /// Elements (row-major) of a small integer tensor; single elements may be null (unknown). Booleans are 0 and 1.
  std::optional<Dims> getElements(mlir::Value value) const;
  /// As integers, if each is a known constant.
  std::optional<llvm::SmallVector<int64_t>> getConstants(mlir::Value value) const;
  /// The only element of `value`, null if unknown.
  mlir::AffineExpr getScalar(mlir::Value value) const;

  /// The value's type with every dimension that is a constant; the type as it is where nothing is known.
  mlir::Type refinedType(mlir::Value value) const;

  /// Whether the sizes of both values are equal, dimension by dimension.
  bool sameShape(mlir::Value a, mlir::Value b) const;

  /// "past_sequence_length + sequence_length"; empty if a symbol of it has no name among the arguments.
  std::string print(mlir::AffineExpr expr) const;

  //===--- making expressions ---===//

  mlir::AffineExpr constant(int64_t value) const { return mlir::getAffineConstantExpr(value, context); }
  /// The symbol of that name, made on first use.
  mlir::AffineExpr symbol(llvm::StringRef name);
  /// The expression that a text in `onnx.dims` says; null if it says none.
  mlir::AffineExpr parse(llvm::StringRef text);
  /// The size of `value` along `axis`, about which nothing else is known: the same symbol at every call.
  mlir::AffineExpr unknown(mlir::Value value, int64_t axis);
  mlir::AffineExpr resolve(mlir::AffineExpr expr) const;
  /// Computes `expr` as an index from `tensor.dim`s; a null value if a symbol is bound to no dimension.
  mlir::Value materialize(mlir::OpBuilder &builder, mlir::Location loc, mlir::AffineExpr expr) const;
  bool canMaterialize(mlir::AffineExpr expr) const;

  //===--- for the inference rules ---===//

  /// Null dims become unknown ones; static sizes of the value's type fill in what is unknown.
  void setDims(mlir::Value value, llvm::ArrayRef<mlir::AffineExpr> dims);
  void setElements(mlir::Value value, llvm::ArrayRef<mlir::AffineExpr> elements);
  /// The size of two dims broadcast against each other; null where that depends on their values.
  mlir::AffineExpr broadcast(mlir::AffineExpr a, mlir::AffineExpr b) const;
  std::optional<Dims> broadcastShapes(llvm::ArrayRef<mlir::AffineExpr> a, llvm::ArrayRef<mlir::AffineExpr> b) const;
  /// An op that is only valid for equal sizes has both: from here on they are one.
  void proveEqual(mlir::AffineExpr a, mlir::AffineExpr b);

private:
  explicit SymbolicShapes(mlir::MLIRContext *context) : context(context) {}
  void addArguments(mlir::func::FuncOp function);
  unsigned addSymbol(std::string name);

  struct Symbol {
    std::string name;        // empty: not named by any argument
    mlir::AffineExpr equals; // null: free
    mlir::Value anchor;      // the symbol is this value's size
    int64_t axis = 0;        //   along this axis
  };

  mlir::MLIRContext *context;
  std::vector<Symbol> symbols;
  llvm::StringMap<unsigned> byName;
  llvm::DenseMap<std::pair<mlir::Value, int64_t>, unsigned> unknowns;
  llvm::DenseMap<mlir::Value, Dims> dims;
  llvm::DenseMap<mlir::Value, Dims> elements;
  mutable llvm::DenseMap<mlir::AffineExpr, mlir::AffineExpr> resolved; // of composite expressions, until more is known
};

/// Rules by topic, each in its own file: true if the op is one of the topic's and its results were set.
bool inferElementwiseShape(mlir::Operation *op, SymbolicShapes &shapes);
bool inferReductionShape(mlir::Operation *op, SymbolicShapes &shapes);
bool inferMovementShape(mlir::Operation *op, SymbolicShapes &shapes);
bool inferNetworkShape(mlir::Operation *op, SymbolicShapes &shapes);
/// Elements of small integer tensors.
void inferElements(mlir::Operation *op, SymbolicShapes &shapes);

} // namespace caat

#endif // CAAT_RAISE_SYMBOLICSHAPES_H
