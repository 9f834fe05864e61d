// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Ablate/ShellWord.h"

namespace caat::ablate {

std::string shellWord(const std::string &text) {
  constexpr const char *plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789=._-/:,%+@";
  if (!text.empty() && text.find_first_not_of(plain) == std::string::npos)
    return text;
  std::string result = "'";
  for (char c : text)
    result += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return result + "'";
}

} // namespace caat::ablate
