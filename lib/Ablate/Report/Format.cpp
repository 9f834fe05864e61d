// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Format.h"
#include <cmath>
#include <cstdio>
#include <cstdlib>

namespace caat::ablate::report {

static const char *const dash = "–";
static const char *const minus = "−";
static const char *const space = "\xC2\xA0"; // a line does not break there

static std::string printed(const char *format, int digits, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, digits, value);
  return text;
}

static std::string withoutZeros(std::string text) {
  if (text.find('.') != std::string::npos && text.find('e') == std::string::npos) {
    text.erase(text.find_last_not_of('0') + 1);
    if (text.back() == '.')
      text.pop_back();
  }
  return text;
}

/// "2.1e+06" as "2.1e6", "-3" with a minus that is as wide as a plus.
static std::string tidy(std::string text) {
  if (size_t e = text.find('e'); e != std::string::npos) {
    int exponent = std::atoi(text.c_str() + e + 1);
    text = withoutZeros(text.substr(0, e)) + "e" + std::to_string(exponent);
  }
  return text[0] == '-' ? minus + text.substr(1) : text;
}

std::string significant(Number value, int digits) {
  if (!value)
    return dash;
  double size = std::fabs(*value);
  if (size == 0)
    return "0";
  if (size >= 1e6 || size < 1e-5)
    return tidy(printed("%.*e", digits - 1, *value));
  int decimals = digits - 1 - static_cast<int>(std::floor(std::log10(size)));
  return tidy(withoutZeros(printed("%.*f", decimals > 0 ? decimals : 0, *value)));
}

std::string withSign(Number value, int digits) {
  std::string text = significant(value, digits);
  return value && *value > 0 ? "+" + text : text;
}

/// To hundredths at most: more would pretend to know it.
static std::string percent(double value, int digits) {
  double rounded = std::fabs(value) < 100 ? std::round(value * 100) / 100 : value;
  return significant(rounded, digits) + space + "%";
}

std::string perplexity(Number value) {
  if (!value)
    return dash;
  if (*value >= 1e5)
    return tidy(printed("%.*e", 1, *value));
  return printed("%.*f", *value < 100 ? 2 : *value < 1000 ? 1 : 0, *value);
}

std::string addedShare(Number ratio) {
  if (!ratio)
    return dash;
  if (*ratio >= 3)
    return "×" + (*ratio < 1e4 ? significant(ratio, 3) : tidy(printed("%.*e", 1, *ratio)));
  return (*ratio > 1.00005 ? "+" : "") + percent((*ratio - 1) * 100, 2);
}

std::string share(Number value) {
  if (!value)
    return dash;
  return percent(*value * 100, 3);
}

/// In the largest unit that leaves at least 1.
static std::string inUnits(double value, const char *const (&units)[5]) {
  size_t unit = 0;
  while (unit + 1 < std::size(units) && std::fabs(value) >= 999.5) {
    value /= 1000;
    ++unit;
  }
  return significant(value, 4) + space + units[unit];
}

std::string bytes(Number value) { return value ? inUnits(*value, {"B", "kB", "MB", "GB", "TB"}) : dash; }
std::string rate(Number value) { return value ? inUnits(*value, {"B/s", "kB/s", "MB/s", "GB/s", "TB/s"}) : dash; }

std::string seconds(Number value) {
  if (!value)
    return dash;
  double size = std::fabs(*value);
  if (size == 0)
    return "0";
  if (size < 0.9995e-3)
    return significant(*value * 1e6, 3) + space + "µs";
  if (size < 0.9995)
    return significant(*value * 1e3, 3) + space + "ms";
  return significant(*value, 3) + space + "s";
}

std::string count(Number value) {
  if (!value || std::fabs(*value) >= 1e15)
    return significant(value);
  return tidy(withoutZeros(printed("%.*f", 1, *value)));
}

std::string counted(double number, const std::string &noun) {
  return count(number) + space + noun + (number == 1 ? "" : "s");
}

std::string withError(const std::string &value, const std::string &error, bool hasError) {
  return hasError ? value + " ±" + space + error : value;
}

std::string shortened(const std::string &text, size_t limit) {
  if (text.size() <= limit)
    return text;
  size_t end = limit;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80)
    --end;
  return text.substr(0, end) + "…";
}

} // namespace caat::ablate::report
