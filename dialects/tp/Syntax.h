// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Syntax that attributes and operations of the tp dialect share.
#ifndef CAAT_DIALECTS_TP_SYNTAX_H
#define CAAT_DIALECTS_TP_SYNTAX_H

#include "dialects/tp/TP.h"

namespace caat::tp {
mlir::ParseResult parsePieceLists(mlir::AsmParser &parser, mlir::ArrayAttr &pieces);
void printPieceLists(mlir::AsmPrinter &printer, mlir::ArrayAttr pieces);
} // namespace caat::tp

#endif // CAAT_DIALECTS_TP_SYNTAX_H
