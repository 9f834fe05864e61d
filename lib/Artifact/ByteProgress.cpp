// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Artifact/ByteProgress.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/raw_ostream.h"

using namespace caat;

ByteProgress::ByteProgress(llvm::StringRef what, int64_t total, bool enabled)
    : what(what), total(total), enabled(enabled), terminal(llvm::sys::Process::StandardErrIsDisplayed()) {}

void ByteProgress::print(bool last) {
  if (enabled && (terminal || last))
    llvm::errs() << (terminal ? "\r" : "") << llvm::formatv("{0}: {1} of {2} MiB", what, done >> 20, total >> 20)
                 << (last ? "\n" : "");
}

void ByteProgress::add(int64_t bytes) {
  done += bytes;
  print(/*last=*/false);
}

void ByteProgress::finish() { print(/*last=*/true); }
