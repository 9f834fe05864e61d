// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The runtime's one exception. It never crosses the C interface or compiled code.
#ifndef CAAT_RUNTIME_ERROR_H
#define CAAT_RUNTIME_ERROR_H

#include <sstream>
#include <stdexcept>
#include <string>

namespace caat::runtime {

enum class ErrorKind {
  Input,    // the caller's arrays or options do not fit the program
  Artifact, // a file is missing, damaged or of another version
  Run       // the run itself failed: a check of the program, a collective, a timeout
};

class Error : public std::runtime_error {
public:
  Error(ErrorKind kind, const std::string &text) : std::runtime_error(text), kind(kind) {}
  ErrorKind kind;
};

namespace detail {
template <typename... Parts> std::string concat(const Parts &...parts) {
  std::ostringstream text;
  (text << ... << parts);
  return text.str();
}
} // namespace detail

/// Throws an Error whose text is all parts, one after another.
template <typename... Parts> [[noreturn]] void failInput(const Parts &...parts) {
  throw Error(ErrorKind::Input, detail::concat(parts...));
}
template <typename... Parts> [[noreturn]] void failArtifact(const Parts &...parts) {
  throw Error(ErrorKind::Artifact, detail::concat(parts...));
}
template <typename... Parts> [[noreturn]] void failRun(const Parts &...parts) {
  throw Error(ErrorKind::Run, detail::concat(parts...));
}

} // namespace caat::runtime

#endif
