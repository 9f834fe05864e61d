// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/runtime/SafeOutput.h"
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <utility>

namespace caat::runtime {

/// Bytes of the character at the start of `text` and its code; 0 bytes where it is no UTF-8.
static std::pair<size_t, uint32_t> decode(std::string_view text) {
  auto lead = static_cast<unsigned char>(text[0]);
  size_t length = lead < 0x80 ? 1 : lead >> 5 == 6 ? 2 : lead >> 4 == 14 ? 3 : lead >> 3 == 30 ? 4 : 0;
  if (length == 0 || length > text.size())
    return {0, 0};
  uint32_t code = length == 1 ? lead : lead & (0x7Fu >> length);
  for (size_t i = 1; i < length; ++i) {
    auto next = static_cast<unsigned char>(text[i]);
    if (next >> 6 != 2)
      return {0, 0};
    code = code << 6 | (next & 0x3Fu);
  }
  constexpr uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  bool isValid = code >= least[length] && code <= 0x10FFFF && (code < 0xD800 || code > 0xDFFF);
  return {isValid ? length : 0, code};
}

std::string printable(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    auto [length, code] = decode(text);
    bool controls = (code < 0x20 && code != '\n' && code != '\t') || (code >= 0x7F && code < 0xA0);
    if (length == 0) {
      result += "\uFFFD";
    } else if (controls) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04X", static_cast<unsigned>(code));
      result += escape;
    } else {
      result += text.substr(0, length);
    }
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return result;
}

/// The first `count` pending bytes go out.
bool SafeOutput::pass(size_t count) {
  std::string text = printable(std::string_view(pending).substr(0, count));
  pending.erase(0, count);
  auto size = static_cast<std::streamsize>(text.size());
  return target->sputn(text.data(), size) == size;
}

std::streamsize SafeOutput::xsputn(const char *text, std::streamsize count) {
  pending.append(text, static_cast<size_t>(count));
  size_t lines = pending.rfind('\n') + 1; // 0 where there is none
  return lines == 0 || pass(lines) ? count : 0;
}

SafeOutput::int_type SafeOutput::overflow(int_type c) {
  if (traits_type::eq_int_type(c, traits_type::eof()))
    return traits_type::not_eof(c);
  char byte = traits_type::to_char_type(c);
  return xsputn(&byte, 1) == 1 ? c : traits_type::eof();
}

int SafeOutput::sync() { return pass(pending.size()) ? target->pubsync() : -1; }

} // namespace caat::runtime
