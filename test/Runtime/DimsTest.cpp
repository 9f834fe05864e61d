// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "core/Dims.h"
#include "Expect.h"
#include "caat/runtime/Tensor.h"

using namespace caat::runtime;
using namespace caat::test;

namespace {

class DimsTest : public testing::Test {
protected:
  Manifest manifest;
  void SetUp() override { manifest.dims = {"batch", "seq", "width"}; }
  ShapeExpr expr(const char *text) { return ShapeExpr::parse(text, manifest.dims); }
};

TEST_F(DimsTest, ExpressionsThatAloneHoldADimensionAreSolved) {
  DimSolver solver(manifest);
  solver.set(expr("batch + 2 * width"), 13, "mask"); // needs batch first
  solver.set(expr("3 * seq - 1"), 8, "ids");
  solver.set(expr("batch"), 5, "x");
  EXPECT_EQ(solver.solve(), (std::vector<int64_t>{5, 3, 4}));
}

TEST_F(DimsTest, WhatIsNotLinearIsNot) {
  DimSolver solver(manifest);
  solver.set(expr("batch"), 1, "x");
  solver.set(expr("seq"), 2, "x");
  solver.set(expr("(width + 1) floordiv 2"), 3, "y");
  expectError("no input determines dimension 'width'", [&] { solver.solve(); });
}

TEST_F(DimsTest, ContradictionsNameBothSources) {
  DimSolver solver(manifest);
  solver.set(expr("batch"), 5, "input 'x'");
  solver.set(expr("seq"), 5, "input 'x'");
  solver.set(expr("2 * width"), 6, "input 'y'");
  solver.set(expr("batch * width"), 16, "input 'z'");
  expectError("input 'z': a dimension is 16, expected batch * width = 15", [&] { solver.solve(); });
  DimSolver odd(manifest);
  odd.set(expr("2 * width"), 7, "input 'y'");
  expectError("no input determines dimension", [&] { odd.solve(); });
}

TEST(TensorTest, HalvesAreRoundedToNearestEven) {
  Tensor wide(DType::F32, {4});
  const float values[] = {1.0f + 0x1p-11f, 65519.0f, -0x1p-24f, 1.0f + 0x1p-8f};
  std::copy(std::begin(values), std::end(values), wide.as<float>());
  Tensor half = converted(wide, DType::F16), back = converted(half, DType::F32);
  EXPECT_EQ(half.bytes(), 8u);
  EXPECT_EQ(back.as<float>()[0], 1.0f);
  EXPECT_EQ(back.as<float>()[1], 65504.0f);
  EXPECT_EQ(back.as<float>()[2], -0x1p-24f);
  Tensor brain = converted(converted(wide, DType::BF16), DType::F32);
  EXPECT_EQ(brain.as<float>()[3], 1.0f);
  EXPECT_EQ(converted(wide, DType::F32).data, wide.data);
  expectError("an array of type i64 cannot become f16", [&] { converted(Tensor(DType::I64, {1}), DType::F16); });
}

} // namespace
