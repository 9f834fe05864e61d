// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the lowering of the host program is written in: numbers, addresses and calls of the runtime in the LLVM dialect,
// tied to indices and memrefs by casts that cancel later.
#ifndef CAAT_LIB_LOWER_HOST_RUNTIMECALLS_H
#define CAAT_LIB_LOWER_HOST_RUNTIMECALLS_H

#include "caat/Lower/Program.h"
#include "caat/runtime/Abi.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

namespace caat::lower {

/// Arguments of caat_forward, in order.
enum class HostArgument { Api, Context, Buffers, Dims, Workspace };
inline constexpr unsigned kHostArguments = 5;

/// A memref taken apart: a pointer to its first element, and i64s.
struct Pieces {
  mlir::Value pointer;
  llvm::SmallVector<mlir::Value> sizes, strides;
};

/// A list of values in the host program's frame, whose address a call is given. One serves all calls: they return when
/// they have read it. Its places are computed once, where it stands.
class ArgumentList {
public:
  /// Stands where `builder` does, before every call.
  ArgumentList(mlir::OpBuilder &builder, mlir::Location loc, mlir::Type element);

  void clear() { size = 0; }
  void add(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value value);
  mlir::Value getAddress() const { return list; }
  int64_t getSize() const { return size; }

private:
  mlir::LLVM::ConstantOp capacity; // of the longest list so far
  mlir::Value list;
  llvm::SmallVector<mlir::Value> places;
  int64_t size = 0;
};

class RuntimeCalls {
public:
  /// Gives the host program its arguments.
  RuntimeCalls(Program &program, mlir::OpBuilder &builder);

  Program &getProgram() { return program; }
  mlir::OpBuilder &getBuilder() { return b; }
  mlir::Location getLoc() const { return loc; }
  /// What follows is built before `op`, and has its location.
  void setInsertionPoint(mlir::Operation *op);

  mlir::Type getPointerType() const { return pointer; }
  mlir::Type getI64Type() const { return i64; }
  mlir::Type convertType(mlir::Type type) const { return converter.convertType(type); }

  mlir::Value constant(int64_t value);
  mlir::Value f32(const llvm::APFloat &value);
  mlir::Value null();
  mlir::Value toIndex(mlir::Value value);
  mlir::Value toI64(mlir::Value value);
  mlir::Value product(llvm::ArrayRef<mlir::Value> factors);
  /// The code of a memref's elements as a number.
  mlir::Value dtypeOf(mlir::Value memref);

  mlir::Value getArgument(HostArgument which) { return program.host.getArgument(static_cast<unsigned>(which)); }
  /// Element `index` of an array in memory.
  mlir::Value load(mlir::Type type, mlir::Value array, int64_t index);
  /// The size of the dim `name`, of the array `dims`.
  mlir::Value loadDim(mlir::Value dims, mlir::StringAttr name);
  /// `pointer` plus `offset` elements of `type`.
  mlir::Value advance(mlir::Value pointer, mlir::Type type, mlir::Value offset);

  /// A dense memref at `address`, whose sizes that `type` does not know are `dynamic`.
  mlir::Value toMemRef(mlir::Value address, mlir::MemRefType type, mlir::ValueRange dynamic);
  Pieces fromMemRef(mlir::Value memref);
  /// The first element's address; null where there is no memref.
  mlir::Value pointerOrNull(mlir::Value memref) { return memref ? fromMemRef(memref).pointer : null(); }

  /// By which the runtime knows a weight or a kernel.
  mlir::Value weight(llvm::StringRef name) { return constant(weightNumbers.at(name)); }
  mlir::Value kernel(llvm::StringRef name) { return constant(kernelNumbers.at(name)); }
  /// The position among the host's buffers of a weight.
  int64_t getPosition(llvm::StringRef weight) const { return program.firstWeight() + weightNumbers.at(weight); }

  /// Calls an entry point of the runtime. The context, which comes first, is not among the `arguments`.
  mlir::Value call(caat_api_index entry, llvm::ArrayRef<mlir::Value> arguments, mlir::Type result = {});

  /// What entry points are given that take any number of buffers and of numbers; each call begins the lists anew.
  void clearLists();
  void addBuffer(mlir::Value pointer) { buffers->add(b, loc, pointer); }
  void addNumber(mlir::Value number) { numbers->add(b, loc, number); }
  const ArgumentList &getBuffers() const { return *buffers; }
  const ArgumentList &getNumbers() const { return *numbers; }

private:
  /// The address of an entry point, read once for all calls: the table does not change while the host runs.
  mlir::Value entryPoint(caat_api_index entry);

  Program &program;
  mlir::OpBuilder &b;
  mlir::LLVMTypeConverter converter;
  mlir::Location loc;
  mlir::Type pointer, i64;
  std::optional<ArgumentList> buffers, numbers;
  llvm::DenseMap<int, mlir::Value> entryPoints;
  llvm::StringMap<int64_t> weightNumbers, kernelNumbers;
};

} // namespace caat::lower

#endif // CAAT_LIB_LOWER_HOST_RUNTIMECALLS_H
