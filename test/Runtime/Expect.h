// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Checks that the runtime's tests share.
#ifndef CAAT_TEST_RUNTIME_EXPECT_H
#define CAAT_TEST_RUNTIME_EXPECT_H

#include "caat/runtime/Error.h"
#include "caat/runtime/Tensor.h"
#include <cmath>
#include <fstream>
#include <gtest/gtest.h>

namespace caat::test {

/// `run` throws an Error whose text contains `text`.
template <typename F> void expectError(const std::string &text, F &&run) {
  try {
    run();
  } catch (const runtime::Error &e) {
    EXPECT_NE(std::string(e.what()).find(text), std::string::npos) << "got: " << e.what() << "\nwant: " << text;
    return;
  }
  ADD_FAILURE() << "no error; want: " << text;
}

/// Some numbers in [-1, 1], others for another seed.
inline std::vector<float> numbers(int64_t count, float seed) {
  std::vector<float> values(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i)
    values[static_cast<size_t>(i)] = std::sin(seed + static_cast<float>(i) * 0.7f);
  return values;
}

inline void expectNear(const runtime::Tensor &got, const runtime::Tensor &want, double tolerance) {
  ASSERT_EQ(got.dtype, want.dtype);
  ASSERT_EQ(got.shape, want.shape);
  double worst = 0;
  for (int64_t i = 0; i < got.count(); ++i)
    worst = std::max(worst, std::abs(static_cast<double>(got.as<float>()[i]) - want.as<float>()[i]));
  EXPECT_LE(worst, tolerance);
}

inline void writeBytes(const std::string &path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

inline std::string readBytes(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

template <typename T> runtime::Tensor tensorOf(runtime::DType dtype, runtime::Shape shape, std::vector<T> values) {
  runtime::Tensor tensor(dtype, std::move(shape));
  EXPECT_EQ(tensor.count(), static_cast<int64_t>(values.size()));
  std::copy(values.begin(), values.end(), tensor.as<T>());
  return tensor;
}

} // namespace caat::test

#endif
