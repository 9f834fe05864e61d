// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Names and messages come from files that others may have made. What they hold must not steer a terminal.
#ifndef CAAT_RUNTIME_SAFEOUTPUT_H
#define CAAT_RUNTIME_SAFEOUTPUT_H

#include <ostream>
#include <streambuf>
#include <string>
#include <string_view>

namespace caat::runtime {

/// UTF-8 in which control characters but line feeds and tabs are written as JSON does (`\u001B`; C1 too), and bytes
/// that are no UTF-8 as U+FFFD.
std::string printable(std::string_view text);

/// While it lives, what a stream is given goes out printable, line by line, or where it is flushed.
class SafeOutput : std::streambuf {
public:
  explicit SafeOutput(std::ostream &stream) : stream(stream), target(stream.rdbuf(this)) {}
  ~SafeOutput() override {
    sync();
    stream.rdbuf(target);
  }
  SafeOutput(const SafeOutput &) = delete;
  SafeOutput &operator=(const SafeOutput &) = delete;

private:
  int_type overflow(int_type c) override;
  std::streamsize xsputn(const char *text, std::streamsize count) override;
  int sync() override;
  bool pass(size_t count);

  std::ostream &stream;
  std::streambuf *target;
  std::string pending; // since the last line feed
};

} // namespace caat::runtime

#endif
