// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_ABLATE_SHELLWORD_H
#define CAAT_ABLATE_SHELLWORD_H

#include <string>

namespace caat::ablate {

/// `text` as one word of a command for a POSIX shell: between quotes where it would not be taken as it stands.
std::string shellWord(const std::string &text);

} // namespace caat::ablate

#endif
