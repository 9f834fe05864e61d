// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/runtime/ShapeExpr.h"
#include "Expect.h"

using namespace caat::runtime;
using namespace caat::test;

namespace {

const std::vector<std::string> dims = {"batch", "seq", "past_length", "a / b"};
int64_t evaluate(const std::string &text) {
  return ShapeExpr::parse(text, dims).evaluate(std::vector<int64_t>{3, 10, -7, 99});
}

TEST(ShapeExpr, FollowsTheUsualRules) {
  EXPECT_EQ(evaluate("12"), 12);
  EXPECT_EQ(evaluate("batch"), 3);
  EXPECT_EQ(evaluate("batch + seq * 2"), 23);
  EXPECT_EQ(evaluate("(batch + seq) * 2"), 26);
  EXPECT_EQ(evaluate("seq - batch - 1"), 6);
  EXPECT_EQ(evaluate("-batch + seq"), 7);
  EXPECT_EQ(evaluate("past_length floordiv 2"), -4);
  EXPECT_EQ(evaluate("past_length ceildiv 2"), -3);
  EXPECT_EQ(evaluate("past_length mod 2"), 1);
  EXPECT_EQ(evaluate("seq floordiv 4 * 4"), 8);
  EXPECT_EQ(evaluate("  ( seq+15 )floordiv 16*16"), 16);
  EXPECT_EQ(evaluate("min(seq, 4) * 2 + max(batch - 5, 0)"), 8);
}

TEST(ShapeExpr, ATextThatIsADimensionsNameStandsForIt) { EXPECT_EQ(evaluate("a / b"), 99); }

TEST(ShapeExpr, KnowsPlainDimensionsAndConstants) {
  EXPECT_EQ(ShapeExpr::parse("seq", dims).asSymbol(), 1);
  EXPECT_EQ(ShapeExpr::parse("seq + 0", dims).asSymbol(), std::nullopt);
  EXPECT_EQ(ShapeExpr::parse("7", dims).asConstant(), 7);
  EXPECT_EQ(ShapeExpr(5).asConstant(), 5);
}

TEST(ShapeExpr, RefusesBadTexts) {
  for (std::string text :
       {"", " ", "1 +", "batch seq", "(batch", "batch)", "2x", "batch / seq", "1.5", "99999999999999999999", "floordiv",
        "*", "batch +* seq", "batchfloordiv 2", "min(batch)", "min(batch, seq", "max"})
    EXPECT_THROW(evaluate(text), Error) << text;
  expectError("unknown dimension 'time'", [] { evaluate("batch + time"); });
  expectError("nested too deep", [] { evaluate(std::string(1000, '(')); });
  expectError("nested too deep", [] { evaluate(std::string(1000, '-') + "1"); });
  expectError("characters, the limit", [] { evaluate(std::string(5000, '1')); });
}

TEST(ShapeExpr, RefusesOverflowAndDivisionByZero) {
  expectError("overflows", [] { evaluate("9223372036854775807 + batch"); });
  expectError("overflows", [] { evaluate("4611686018427387904 * batch"); });
  expectError("divides by 0", [] { evaluate("seq floordiv (batch - 3)"); });
  expectError("divides by -7", [] { evaluate("seq mod past_length"); });
}

} // namespace
