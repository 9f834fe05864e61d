// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Import/ModuleText.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Support/FileUtilities.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;

std::string caat::refuseModuleText(StringRef text) {
  constexpr size_t maxDigits = 6; // of a number of results or of a dimension
  constexpr unsigned maxDepth = 512;
  bool hasElements = text.contains("from_elements");
  unsigned depth = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    char c = text[at];
    if (c == '/' && text.substr(at).starts_with("//")) {
      at = std::min(text.find('\n', at), text.size());
    } else if (c == '"') {
      for (++at; at < text.size() && text[at] != '"' && text[at] != '\n'; ++at)
        at += text[at] == '\\';
    } else if (c == '#' || llvm::isDigit(c)) {
      size_t begin = at + (c == '#'), end = begin;
      while (end < text.size() && llvm::isDigit(text[end]))
        ++end;
      if (end - begin > maxDigits && c == '#')
        return ("'" + text.substr(at, end - at) + "' counts more results than an operation has").str();
      if (end - begin > maxDigits && hasElements && end < text.size() && text[end] == 'x')
        return ("a dimension of " + text.substr(begin, end - begin) + " beside tensor.from_elements").str();
      at = std::max(end, at + 1) - 1;
    } else if (StringRef("([{<").contains(c)) {
      if (++depth > maxDepth)
        return ("brackets are nested more than " + Twine(maxDepth) + " deep").str();
    } else if (StringRef(")]}>").contains(c) && depth > 0 && !(c == '>' && at > 0 && text[at - 1] == '-')) {
      --depth;
    }
  }
  return {};
}

std::unique_ptr<llvm::MemoryBuffer> caat::openModuleFile(StringRef path, std::string &error) {
  std::unique_ptr<llvm::MemoryBuffer> file = openInputFile(path, &error);
  if (!file || file->getBuffer().starts_with("ML\xefR")) // bytecode has no words
    return file;
  error = refuseModuleText(file->getBuffer());
  if (error.empty())
    return file;
  error = (path + ": " + error).str();
  return {};
}

OwningOpRef<ModuleOp> caat::parseModuleFile(StringRef path, llvm::SourceMgr &sources, MLIRContext *context) {
  std::string error;
  std::unique_ptr<llvm::MemoryBuffer> file = openModuleFile(path, error);
  if (!file) {
    emitError(UnknownLoc::get(context)) << error;
    return {};
  }
  sources.AddNewSourceBuffer(std::move(file), llvm::SMLoc());
  return parseSourceFile<ModuleOp>(sources, context);
}
