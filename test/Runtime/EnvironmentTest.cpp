// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/runtime/Environment.h"
#include "Expect.h"
#include <cstdlib>

using namespace caat::test;
namespace environment = caat::runtime::environment;

namespace {

constexpr const char *name = "CAAT_TEST_VARIABLE";

/// The variable has this value as long as one of these lives.
struct Set {
  explicit Set(const char *value) { setenv(name, value, 1); }
  ~Set() { unsetenv(name); }
};

bool isOn(const char *value, bool otherwise) {
  Set set(value);
  return environment::isOn(name, otherwise);
}

int64_t number(const char *value, environment::Limits limits) {
  Set set(value);
  return environment::number(name, -7, limits);
}

} // namespace

TEST(EnvironmentTest, Switches) {
  EXPECT_TRUE(isOn("1", false));
  EXPECT_TRUE(isOn("on", false));
  EXPECT_FALSE(isOn("0", true));
  EXPECT_FALSE(isOn("off", true));
  for (bool otherwise : {false, true}) {
    EXPECT_EQ(environment::isOn(name, otherwise), otherwise);
    EXPECT_EQ(isOn("", otherwise), otherwise);
  }
  for (const char *value : {"2", "no", "OFF", " 1", "00"})
    expectError("CAAT_TEST_VARIABLE='" + std::string(value) + "' is neither 0 (off) nor 1 (on)",
                [&] { isOn(value, true); });
}

TEST(EnvironmentTest, Numbers) {
  EXPECT_EQ(number("0", {}), 0);
  EXPECT_EQ(number("9223372036854775807", {}), INT64_MAX);
  EXPECT_EQ(number("-3", {-3, 3}), -3);
  EXPECT_EQ(number("96", {0, 512, 32}), 96);
  EXPECT_EQ(environment::number(name, -7, {}), -7);
  EXPECT_EQ(number("", {}), -7);
  for (const char *value : {"-1", "9223372036854775808", "1e3", "4k", " 4", "4 ", "+4", "0x10", "true"})
    expectError("CAAT_TEST_VARIABLE='" + std::string(value) + "' is not a whole number from 0 on",
                [&] { number(value, {}); });
  expectError("CAAT_TEST_VARIABLE='4' is not a whole number from -3 to 3", [] { number("4", {-3, 3}); });
  expectError("CAAT_TEST_VARIABLE='100' is not a whole number from 0 to 512 in steps of 32",
              [] { number("100", {0, 512, 32}); });
}
