// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Switches and numbers that the environment sets. A variable that is empty counts as not set; one whose value cannot be
// what it should is an error that names it, the value, and what it may be.
#ifndef CAAT_RUNTIME_ENVIRONMENT_H
#define CAAT_RUNTIME_ENVIRONMENT_H

#include <cstdint>
#include <string_view>

namespace caat::runtime::environment {

/// The variable's text, or null where it is not set or empty.
const char *text(const char *name);

/// A switch: 0 or off, 1 or on; `otherwise` where it is not set. Throws Error (Input).
bool isOn(const char *name, bool otherwise);

struct Limits {
  int64_t least = 0, most = INT64_MAX;
  int64_t step = 1; // from `least` on
};

/// A whole number within the limits; `otherwise` where it is not set, whatever the limits. Throws Error (Input).
int64_t number(const char *name, int64_t otherwise, Limits limits = {});

/// The same of a text that is at hand, a part of a variable's for example.
int64_t parseNumber(std::string_view name, std::string_view text, Limits limits);

} // namespace caat::runtime::environment

#endif
