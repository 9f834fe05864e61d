// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Support/SafeStream.h"
#include "caat/runtime/SafeOutput.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"
#include <list>

using namespace caat;

/// The first `count` pending bytes go out.
void SafeStream::pass(size_t count) {
  target << runtime::printable(std::string_view(pending).substr(0, count));
  pending.erase(0, count);
}

void SafeStream::write_impl(const char *text, size_t size) {
  pending.append(text, size);
  pass(pending.rfind('\n') + 1); // nothing where there is none
}

llvm::raw_ostream &SafeStream::changeColor(Colors color, bool bold, bool background) {
  flushPending();
  target.changeColor(color, bold, background);
  return *this;
}

llvm::raw_ostream &SafeStream::resetColor() {
  flushPending();
  target.resetColor();
  return *this;
}

llvm::raw_ostream &SafeStream::reverseColor() {
  flushPending();
  target.reverseColor();
  return *this;
}

llvm::raw_ostream &caat::safeErrs() {
  static SafeStream stream(llvm::errs());
  return stream;
}

/// `texts` keeps what the message is given.
static void makePrintable(mlir::Diagnostic &message, std::list<std::string> &texts) {
  for (mlir::DiagnosticArgument &part : message.getArguments())
    if (part.getKind() == mlir::DiagnosticArgument::DiagnosticArgumentKind::String)
      part = mlir::DiagnosticArgument(texts.emplace_back(runtime::printable(part.getAsString())));
  for (mlir::Diagnostic &note : message.getNotes())
    makePrintable(note, texts);
}

void caat::makeMessagesPrintable(mlir::MLIRContext &context) {
  context.getDiagEngine().registerHandler([texts = std::list<std::string>()](mlir::Diagnostic &message) mutable {
    texts.clear();
    makePrintable(message, texts);
    return mlir::failure(); // the next one prints it
  });
}
