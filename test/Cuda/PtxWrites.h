// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_TEST_CUDA_PTX_WRITES_H
#define CAAT_TEST_CUDA_PTX_WRITES_H

#include <cstddef>
#include <set>
#include <string>

namespace caat::test {

/// The parameters of a kernel through which its PTX writes: those that the addresses of its stores are computed from.
std::set<size_t> writtenParameters(const std::string &name, const std::string &body);

} // namespace caat::test

#endif
