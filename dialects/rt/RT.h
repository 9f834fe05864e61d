// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_DIALECTS_RT_RT_H
#define CAAT_DIALECTS_RT_RT_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/Dialect/SCF/IR/DeviceMappingInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/DestinationStyleOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/tp/TP.h"

#include "dialects/rt/RTDialect.h.inc"
#include "dialects/rt/RTEnums.h.inc"

#define GET_TYPEDEF_CLASSES
#include "dialects/rt/RTTypes.h.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/rt/RTAttributes.h.inc"

#define GET_OP_CLASSES
#include "dialects/rt/RTOps.h.inc"

namespace caat::rt {

/// Lets one-shot bufferization turn rt ops on tensors into rt ops on memrefs.
void registerBufferizationModels(mlir::DialectRegistry &registry);

/// Whether the elements of a buffer of this type are known to lie side by side in row-major order (at any offset).
bool isDense(mlir::MemRefType type);

} // namespace caat::rt

#endif // CAAT_DIALECTS_RT_RT_H
