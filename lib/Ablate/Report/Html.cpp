// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Html.h"
#include <cassert>

namespace caat::ablate::report {

std::string escape(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (char c : text)
    switch (c) {
    case '&':
      result += "&amp;";
      break;
    case '<':
      result += "&lt;";
      break;
    case '>':
      result += "&gt;";
      break;
    case '"':
      result += "&quot;";
      break;
    case '\'':
      result += "&#39;";
      break;
    case '\n':
    case '\t':
      result += c;
      break;
    default:
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
        result += "\xEF\xBF\xBD";
      else
        result += c;
    }
  return result;
}

void Html::start(std::string_view tag, const Attributes &attributes) {
  (out += '<') += tag;
  for (const auto &[name, value] : attributes)
    ((((out += ' ') += name) += "=\"") += escape(value)) += '"';
}

Html &Html::open(std::string_view tag, const Attributes &attributes) {
  start(tag, attributes);
  out += '>';
  opened.emplace_back(tag);
  return *this;
}

Html &Html::close() {
  assert(!opened.empty() && "nothing is open");
  const std::string &tag = opened.back();
  ((out += "</") += tag) += '>';
  if (tag == "tr" || tag == "p" || tag == "section" || tag == "g" || tag == "table" || tag == "svg")
    out += '\n';
  opened.pop_back();
  return *this;
}

Html &Html::close(std::string_view tag) {
  assert(!opened.empty() && opened.back() == tag && "another element was opened last");
  return close();
}

Html &Html::text(std::string_view text) {
  out += escape(text);
  return *this;
}

Html &Html::leaf(std::string_view tag, std::string_view text, const Attributes &attributes) {
  return open(tag, attributes).text(text).close();
}

Html &Html::empty(std::string_view tag, const Attributes &attributes) {
  start(tag, attributes);
  out += "/>";
  return *this;
}

std::string Html::take() {
  assert(opened.empty() && "an element is still open");
  return std::move(out);
}

} // namespace caat::ablate::report
