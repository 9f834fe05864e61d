// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// caat/runtime/SafeOutput.h for LLVM's streams and MLIR's messages: names come from models that others may have made.
#ifndef CAAT_SUPPORT_SAFESTREAM_H
#define CAAT_SUPPORT_SAFESTREAM_H

#include "llvm/Support/raw_ostream.h"

namespace mlir {
class MLIRContext;
}

namespace caat {

/// What it is given goes to another stream as runtime::printable makes it, line by line, or where it is flushed. Text
/// in JSON stays the same text. Colours are the other stream's.
class SafeStream : public llvm::raw_ostream {
public:
  explicit SafeStream(llvm::raw_ostream &target) : llvm::raw_ostream(/*unbuffered=*/true), target(target) {}
  ~SafeStream() override { flushPending(); }

  bool is_displayed() const override { return target.is_displayed(); }
  bool has_colors() const override { return target.has_colors(); }
  raw_ostream &changeColor(Colors color, bool bold = false, bool background = false) override;
  raw_ostream &resetColor() override;
  raw_ostream &reverseColor() override;
  /// Also what has no line feed yet.
  void flushPending() { pass(pending.size()); }

private:
  void write_impl(const char *text, size_t size) override;
  uint64_t current_pos() const override { return target.tell() + pending.size(); }
  void pass(size_t count);

  llvm::raw_ostream &target;
  std::string pending; // since the last line feed
};

/// llvm::errs() behind a SafeStream: for whole lines.
llvm::raw_ostream &safeErrs();

/// Text in messages and their notes becomes printable before the handlers that are there see it; attributes, types and
/// names of places are when MLIR prints them.
void makeMessagesPrintable(mlir::MLIRContext &context);

} // namespace caat

#endif // CAAT_SUPPORT_SAFESTREAM_H
