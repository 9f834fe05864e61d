// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Import/NodeMessages.h"
#include "caat/Support/SafeStream.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Location.h"
#include "llvm/Support/WithColor.h"

using namespace mlir;

void caat::printMessagesByNode(MLIRContext &context, StringRef file) {
  context.getDiagEngine().registerHandler([file = file.str()](Diagnostic &diagnostic) -> LogicalResult {
    bool isError = diagnostic.getSeverity() == DiagnosticSeverity::Error;
    auto place = diagnostic.getLocation()->findInstanceOf<FileLineColLoc>();
    if ((!isError && diagnostic.getSeverity() != DiagnosticSeverity::Warning) || (place && place.getLine() > 0))
      return failure();
    raw_ostream &os = safeErrs();
    std::string text = diagnostic.str(), name;
    if (auto named = diagnostic.getLocation()->findInstanceOf<NameLoc>())
      name = "'" + named.getName().str() + "'";
    os << (place ? place.getFilename().getValue() : StringRef(file)) << ": ";
    (isError ? llvm::WithColor::error(os) : llvm::WithColor::warning(os));
    if (!name.empty() && !StringRef(text).contains(name))
      os << "node " << name << ": ";
    os << text << "\n";
    for (Diagnostic &note : diagnostic.getNotes())
      if (std::string more = note.str(); !StringRef(more).starts_with("see current operation"))
        llvm::WithColor::note(os) << more << "\n";
    return success();
  });
  makeMessagesPrintable(context);
}
