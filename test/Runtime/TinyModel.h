// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The model of Inputs/tiny.c: artifacts of it for any number of ranks, and its mathematics on one device.
//
//   x = embed[ids];  x += x mix;  sums = prefix sums of x over the positions (kept in a cache);  logits = (x + sums)
//   headᵀ
#ifndef CAAT_TEST_RUNTIME_TINYMODEL_H
#define CAAT_TEST_RUNTIME_TINYMODEL_H

#include "caat/runtime/Tensor.h"

namespace caat::test {

inline constexpr int64_t vocabulary = 13, hidden = 12, maxLength = 64;

/// Writes the artifact into `directory`, which is made; `code` is the shared library that tiny.c became for `tp` ranks.
void writeTinyArtifact(const std::string &directory, const std::string &code, int tp, bool cache = true);

/// Makes an artifact one for a GPU: kernels in PTX that do nothing, for a driver that runs those of code.so instead.
void makeTinyArtifactForGpu(const std::string &directory);

/// The manifest of it.
std::string tinyManifest(int tp, bool cache = true);

/// Logits [batch, seq, vocabulary] of whole sequences; `cache`, where given, becomes x before the sums.
runtime::Tensor tinyLogits(const runtime::Tensor &ids, runtime::Tensor *cache = nullptr);

/// A directory of its own for a test, empty.
std::string scratchDirectory(const std::string &name);

} // namespace caat::test

#endif
