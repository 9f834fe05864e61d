// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/runtime/Environment.h"
#include "caat/runtime/Error.h"
#include <charconv>
#include <cstdlib>

namespace caat::runtime::environment {

const char *text(const char *name) {
  const char *value = std::getenv(name);
  return value && *value ? value : nullptr;
}

bool isOn(const char *name, bool otherwise) {
  const char *set = text(name);
  if (!set)
    return otherwise;
  std::string_view value = set;
  if (value != "0" && value != "off" && value != "1" && value != "on")
    failInput(name, "='", value, "' is neither 0 (off) nor 1 (on)");
  return value == "1" || value == "on";
}

int64_t parseNumber(std::string_view name, std::string_view text, Limits limits) {
  int64_t value = 0;
  const char *end = text.data() + text.size();
  auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error == std::errc() && stop == end && value >= limits.least && value <= limits.most &&
      (value - limits.least) % limits.step == 0)
    return value;
  std::string allowed = detail::concat(" is not a whole number from ", limits.least);
  if (limits.most != INT64_MAX)
    allowed += detail::concat(" to ", limits.most);
  if (limits.step != 1)
    allowed += detail::concat(" in steps of ", limits.step);
  failInput(name, "='", text, "'", allowed, limits.most == INT64_MAX ? " on" : "");
}

int64_t number(const char *name, int64_t otherwise, Limits limits) {
  const char *set = text(name);
  return set ? parseNumber(name, set, limits) : otherwise;
}

} // namespace caat::runtime::environment
