// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/runtime/Digest.h"
#include <gtest/gtest.h>
#include <vector>

using namespace caat::runtime;

namespace {

std::vector<std::byte> someBytes(size_t count) {
  std::vector<std::byte> bytes(count);
  for (size_t i = 0; i < count; ++i)
    bytes[i] = static_cast<std::byte>(i * 131 + 7 * i * i);
  return bytes;
}

std::string digestOf(std::span<const std::byte> bytes, size_t piece) {
  Digest digest;
  for (; bytes.size() > piece; bytes = bytes.subspan(piece))
    digest.add(bytes.first(piece));
  digest.add(bytes);
  return digest.text();
}

TEST(Digest, IsXXH64) {
  std::pair<size_t, const char *> known[] = {{0, "ef46db3751d8e999"},  {3, "772c986bcdaff549"},
                                             {17, "dd95793d75b34388"}, {64, "c93efbb97f3676f2"},
                                             {77, "5058303ebb11129e"}, {256, "e6b1317f9220af2d"}};
  for (auto [count, want] : known)
    for (size_t piece : {1, 5, 31, 32, 33, 256})
      EXPECT_EQ(digestOf(someBytes(count), piece), want) << count << " bytes, " << piece << " at a time";
}

TEST(Digest, ChangesWithEveryBit) {
  std::vector<std::byte> bytes = someBytes(75);
  std::string before = digestOf(bytes, 75);
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    EXPECT_NE(digestOf(bytes, 75), before) << bit;
    bytes[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
  }
}

} // namespace
