// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Support/Json.h"

llvm::Expected<llvm::json::Value> caat::parseJson(llvm::StringRef text) {
  constexpr int kMaxDepth = 100;
  int depth = 0;
  bool inString = false;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (inString && c == '\\')
      ++i;
    else if (c == '"')
      inString = !inString;
    else if (!inString && (c == '[' || c == '{') && ++depth > kMaxDepth)
      return llvm::createStringError("values nested more than " + llvm::Twine(kMaxDepth) + " deep");
    else if (!inString && (c == ']' || c == '}'))
      --depth;
  }
  return llvm::json::parse(text);
}
