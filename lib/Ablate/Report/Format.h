// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Numbers as people read them. Absent numbers are dashes.
#ifndef CAAT_LIB_ABLATE_REPORT_FORMAT_H
#define CAAT_LIB_ABLATE_REPORT_FORMAT_H

#include <optional>
#include <string>

namespace caat::ablate::report {

using Number = std::optional<double>;

/// Without an exponent where it can be read so: 0.0034, 26.6, 2.1e6.
std::string significant(Number value, int digits = 3);
/// The same, with a sign.
std::string withSign(Number value, int digits = 2);
/// "26.59", "332.1", "2.0e6".
std::string perplexity(Number value);
/// What a ratio of perplexities adds: "+1.9 %", "−0.02 %", from 3 on "×12.5".
std::string addedShare(Number ratio);
/// "80 %", "12.5 %", "0.4 %".
std::string share(Number value);
std::string bytes(Number value);   // "138.2 kB"
std::string seconds(Number value); // "3.1 ms"
std::string rate(Number value);    // bytes a second: "10 GB/s"
std::string count(Number value);
/// "3 sites", "1 site".
std::string counted(double number, const std::string &noun);
/// "value ± error"; without an error just the value.
std::string withError(const std::string &value, const std::string &error, bool hasError);
/// At most `limit` bytes, cut between characters, "…" at the end where something is missing.
std::string shortened(const std::string &text, size_t limit);

} // namespace caat::ablate::report

#endif
