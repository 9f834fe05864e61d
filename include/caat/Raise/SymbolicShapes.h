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
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/Allocator.h"

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
  /// The same for messages: sizes without a name are said by the node that they come from.
  std::string describe(mlir::AffineExpr expr) const;

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
  bool canMaterialize(mlir::OpBuilder &builder, mlir::AffineExpr expr) const {
    return isAnchored(builder, expr, /*asWas=*/false);
  }

  //===--- for the inference rules ---===//

  /// Null dims become unknown ones; static sizes of the value's type fill in what is unknown.
  void setDims(mlir::Value value, llvm::ArrayRef<mlir::AffineExpr> dims);
  void setElements(mlir::Value value, llvm::ArrayRef<mlir::AffineExpr> elements);
  /// The size of two dims broadcast against each other: where neither is known to be 1 or both to be equal, a symbol
  /// that stands for the choice, the same at every call. Null if an operand is, or if too much is to be chosen from.
  mlir::AffineExpr chooseBroadcast(mlir::AffineExpr a, mlir::AffineExpr b);
  /// The same for ops other than Expand, which are broadcast by their types alone once broadcasts are explicit.
  mlir::AffineExpr broadcast(mlir::AffineExpr a, mlir::AffineExpr b);
  Dims broadcastShapes(llvm::ArrayRef<mlir::AffineExpr> a, llvm::ArrayRef<mlir::AffineExpr> b);
  /// The larger or smaller of two sizes; null where it may be negative.
  mlir::AffineExpr larger(mlir::AffineExpr a, mlir::AffineExpr b);
  mlir::AffineExpr smaller(mlir::AffineExpr a, mlir::AffineExpr b);
  /// Whether a >= b for all sizes: as provablyGreaterEqual, and for each value that choices in them may have.
  bool isGreaterEqual(mlir::AffineExpr a, mlir::AffineExpr b) const;
  /// An op can only be executed where `expr` is not negative: a window fits into its input.
  void needNonNegative(mlir::AffineExpr expr);
  bool isNonNegative(mlir::AffineExpr expr);
  /// An op that is only valid for equal sizes has both: from here on they are one.
  void proveEqual(mlir::AffineExpr a, mlir::AffineExpr b);

  /// Once broadcasts are explicit: the last dims of an operand are those of `whole`, or 1.
  void fits(llvm::ArrayRef<mlir::AffineExpr> dims, llvm::ArrayRef<mlir::AffineExpr> whole);

  /// Sizes that were not known to be equal until an op was visited that is only valid if they are, as they were then.
  struct Assumption {
    mlir::Operation *op;
    mlir::AffineExpr a, b;
  };
  llvm::ArrayRef<Assumption> getAssumptions() const { return assumptions; }
  /// Computes the size as it was before anything was proved equal; null where a symbol is bound to no dimension.
  mlir::Value materializeAsWas(mlir::OpBuilder &builder, mlir::Location loc, mlir::AffineExpr expr) const;
  /// Whether the size is one of an argument.
  bool isArgumentSize(mlir::AffineExpr expr) const;
  /// Whether the op of `value` does not say its size along `axis`: what is known of it others have proved.
  bool isProved(mlir::Value value, int64_t axis) const;

private:
  explicit SymbolicShapes(mlir::MLIRContext *context) : context(context) {}
  void addArguments(mlir::func::FuncOp function);
  unsigned addSymbol(std::string name);

  /// What a symbol is that stands for one of two sizes: `first == 1 ? second : first`, or the larger one.
  enum class Choice { None, Broadcast, Larger };
  struct Symbol {
    std::string name;        // empty: not named by any argument
    mlir::AffineExpr equals; // null: free
    mlir::Value anchor;      // the symbol is this value's size
    int64_t axis = 0;        //   along this axis
    Choice choice = Choice::None;
    mlir::AffineExpr first, second; // of a choice
    unsigned depth = 0;             // of choices in it
  };
  llvm::SmallSetVector<mlir::AffineExpr, 4> nonNegative; // that are needed to be
  bool undecided = false;                                // isNonNegative() had to say no
  bool isAnchored(mlir::OpBuilder &builder, mlir::AffineExpr expr, bool asWas) const;
  mlir::Value build(mlir::OpBuilder &builder, mlir::Location loc, mlir::AffineExpr expr, bool asWas) const;
  const Symbol *asChoice(mlir::AffineExpr expr) const;
  mlir::AffineExpr choose(Choice choice, mlir::AffineExpr a, mlir::AffineExpr b);
  void collectParts(mlir::AffineExpr expr, llvm::SmallSetVector<mlir::AffineExpr, 4> &parts) const;
  /// A choice in one of the expressions, null if there is none.
  mlir::AffineExpr findChoice(llvm::ArrayRef<mlir::AffineExpr> exprs) const;
  mlir::AffineExpr broadcastByCases(mlir::AffineExpr a, mlir::AffineExpr b, int depth);
  mlir::AffineExpr replaced(mlir::AffineExpr expr, mlir::AffineExpr symbol, mlir::AffineExpr by) const;
  bool isGreaterEqual(mlir::AffineExpr a, mlir::AffineExpr b, int depth) const;
  bool mentions(mlir::AffineExpr expr, mlir::AffineExpr symbol) const;
  void makeEqual(mlir::AffineExpr a, mlir::AffineExpr b);
  bool decideChoice(mlir::AffineExpr a, mlir::AffineExpr b);
  bool unite(mlir::AffineExpr a, mlir::AffineExpr b);
  /// Choices between what has become equal are none.
  void updateChoices();

  mlir::MLIRContext *context;
  std::vector<Symbol> symbols;
  llvm::StringMap<unsigned> byName;
  llvm::DenseMap<std::pair<mlir::Value, int64_t>, unsigned> unknowns;
  llvm::DenseMap<std::pair<mlir::AffineExpr, mlir::AffineExpr>, unsigned> choices[3]; // by Choice
  llvm::SmallVector<unsigned> chosen;                                                 // their symbols
  /// Copies that live as long as this.
  llvm::ArrayRef<mlir::AffineExpr> keep(llvm::ArrayRef<mlir::AffineExpr> exprs);
  llvm::BumpPtrAllocator kept;
  llvm::DenseMap<mlir::Value, llvm::ArrayRef<mlir::AffineExpr>> dims;
  llvm::DenseMap<mlir::Value, llvm::ArrayRef<mlir::AffineExpr>> elements;
  llvm::SmallVector<Assumption> assumptions;
  mlir::Operation *visited = nullptr;
  bool isExplicit = false; // broadcasts are: see onnx::kExplicitBroadcastsAttr
  mutable llvm::DenseMap<mlir::AffineExpr, mlir::AffineExpr> resolved; // of composite expressions, until more is known
};

/// Whether `value` is a constant or part of one.
bool isTable(mlir::Value value);

/// Rules by topic, each in its own file: true if the op is one of the topic's and its results were set.
bool inferElementwiseShape(mlir::Operation *op, SymbolicShapes &shapes);
bool inferReductionShape(mlir::Operation *op, SymbolicShapes &shapes);
bool inferMovementShape(mlir::Operation *op, SymbolicShapes &shapes);
bool inferNetworkShape(mlir::Operation *op, SymbolicShapes &shapes);
/// Elements of small integer tensors.
void inferElements(mlir::Operation *op, SymbolicShapes &shapes);

} // namespace caat

#endif // CAAT_RAISE_SYMBOLICSHAPES_H
