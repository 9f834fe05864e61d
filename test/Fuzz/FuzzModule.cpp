// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// MLIR text through the parser, and what is valid through the passes. Mutations exchange tokens: bytes at random would
// test MLIR's lexer, which is not ours.
#include "Fuzz.h"
#include "Pipeline.h"
#include "caat/Import/ModuleText.h"
#include "mlir/Parser/Parser.h"
#include "llvm/ADT/StringExtras.h"
#include <cstring>
#include <random>

using namespace caat;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static fuzz::Session session;
  std::string text(reinterpret_cast<const char *>(data), size);
  if (text.find('\0') != std::string::npos || !refuseModuleText(text).empty())
    return 0;
  mlir::OwningOpRef<mlir::ModuleOp> module = mlir::parseSourceString<mlir::ModuleOp>(text, &session.next());
  if (module && session.run(*module, fuzz::buildRaise))
    session.run(*module, fuzz::buildShardAndSync);
  return 0;
}

/// Begin and length of each word, number and punctuation mark.
static std::vector<std::pair<size_t, size_t>> tokens(llvm::StringRef text) {
  std::vector<std::pair<size_t, size_t>> result;
  for (size_t at = 0; at < text.size();) {
    size_t end = at + 1;
    auto isWord = [&](char c) { return llvm::isAlnum(c) || c == '_' || c == '.'; };
    if (isWord(text[at]))
      while (end < text.size() && isWord(text[end]))
        ++end;
    if (!llvm::isSpace(text[at]))
      result.emplace_back(at, end - at);
    at = end;
  }
  return result;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t maxSize, unsigned seed) {
  std::minstd_rand random(seed);
  std::string text(reinterpret_cast<const char *>(data), size);
  for (unsigned left = 1 + random() % 3; left > 0; --left) {
    auto places = tokens(text);
    if (places.empty())
      break;
    auto [at, length] = places[random() % places.size()];
    static const char *const numbers[] = {"0",
                                          "1",
                                          "-1",
                                          "2",
                                          "3",
                                          "4",
                                          "8",
                                          "7",
                                          "64",
                                          "1000003",
                                          "2147483648",
                                          "9223372036854775807",
                                          "-9223372036854775808",
                                          "?",
                                          "1.0",
                                          "true"};
    if (llvm::isDigit(text[at]) && random() % 3 != 0) {
      // In a shape (4x8xf32) only the digits.
      size_t digits = 1;
      while (digits < length && llvm::isDigit(text[at + digits]))
        ++digits;
      text.replace(at, digits, numbers[random() % std::size(numbers)]);
      continue;
    }
    auto [from, count] = places[random() % places.size()];
    std::string other = text.substr(from, count);
    switch (random() % 4) {
    case 0:
      text.erase(at, length);
      break;
    case 1:
      text.insert(at, other);
      break;
    case 2: { // a line again, or away
      size_t begin = text.rfind('\n', at), end = text.find('\n', at);
      if (begin == text.npos || end == text.npos)
        break;
      if (random() % 2)
        text.erase(begin, end - begin);
      else
        text.insert(begin, text.substr(begin, end - begin));
      break;
    }
    default:
      text.replace(at, length, other);
    }
  }
  if (text.size() > maxSize)
    text.resize(maxSize);
  std::memcpy(data, text.data(), text.size());
  return text.size();
}
