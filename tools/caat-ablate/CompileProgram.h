// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_TOOLS_CAATABLATE_COMPILEPROGRAM_H
#define CAAT_TOOLS_CAATABLATE_COMPILEPROGRAM_H

#include <cstdint>
#include <string>
#include <vector>

/// Compiles a model for switchable sites; `heads`: file of a plan whose order of heads is taken, or empty. False, with
/// errors on stderr, where that is not possible.
bool compileProgram(const std::string &model, const std::string &output, int64_t tp, int64_t maxLength,
                    const std::vector<std::string> &dims, const std::vector<std::string> &values,
                    const std::string &heads, bool progress);

#endif
