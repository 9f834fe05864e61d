// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_TOOLS_CAATABLATE_COMPILEPROGRAM_H
#define CAAT_TOOLS_CAATABLATE_COMPILEPROGRAM_H

#include <cstdint>
#include <string>
#include <vector>

/// How a program stores its numbers: options of caat-compile.
struct NumberFormats {
  std::string dtype = "f32", cache; // without a type for caches they have dtype
  std::vector<std::string> weights; // rules

  /// As caat-compile takes them, for a shell; empty where nothing is said.
  std::string flags() const;
  /// What is wrong with them, or nothing.
  std::string check() const;
};

struct ProgramSource {
  std::string model;
  int64_t maxLength = 0; // of caches
  std::vector<std::string> dims, values;
  NumberFormats formats;
};

/// Compiles a model for `tp` ranks with switchable sites; `heads`: file of a plan whose order of heads is taken, or
/// empty. False, with errors on stderr, where that is not possible.
bool compileProgram(const ProgramSource &source, const std::string &output, int64_t tp, const std::string &heads,
                    bool progress);

#endif
