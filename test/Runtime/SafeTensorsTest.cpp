// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/runtime/SafeTensors.h"
#include "Expect.h"
#include "TinyModel.h"

using namespace caat::runtime;
using namespace caat::test;

namespace {

class SafeTensorsTest : public testing::Test {
protected:
  std::string path = scratchDirectory("safetensors") + "/x.safetensors";

  void write(const std::string &header, const std::string &data, std::optional<uint64_t> length = {}) {
    uint64_t n = length.value_or(header.size());
    writeBytes(path, std::string(reinterpret_cast<const char *>(&n), 8) + header + data);
  }
  void refused(const std::string &message) {
    expectError(message, [&] { SafeTensors::open(path); });
  }
};

TEST_F(SafeTensorsTest, ReadsWhatItWrites) {
  TensorMap tensors = {{"a", tensorOf<float>(DType::F32, {2, 2}, {1, 2, 3, 4})},
                       {"b", tensorOf<int64_t>(DType::I64, {3}, {-1, 0, 1})},
                       {"empty", Tensor(DType::BF16, {0, 4})},
                       {"long", tensorOf<uint64_t>(DType::UI64, {1}, {~0ull})},
                       {"scalar", tensorOf<uint8_t>(DType::UI8, {}, {7})},
                       {"short", tensorOf<int16_t>(DType::I16, {2}, {-1, 300})}};
  writeSafeTensors(path, tensors);
  TensorMap read = readSafeTensors(path);
  ASSERT_EQ(read.size(), 6u);
  for (const auto &[name, tensor] : tensors) {
    EXPECT_EQ(read[name].dtype, tensor.dtype) << name;
    EXPECT_EQ(read[name].shape, tensor.shape) << name;
    EXPECT_TRUE(std::equal(tensor.data.get(), tensor.data.get() + tensor.bytes(), read[name].data.get())) << name;
  }
  EXPECT_EQ(SafeTensors::open(path).entry("a").offset % 8, 0u);
  expectError("no array 'c'", [&] { SafeTensors::open(path).entry("c"); });
}

TEST_F(SafeTensorsTest, AcceptsMetadata) {
  write(R"({"__metadata__":{"format":"pt"},"a":{"dtype":"I8","shape":[2],"data_offsets":[0,2]}})", "xy");
  EXPECT_EQ(SafeTensors::open(path).entries().size(), 1u);
}

TEST_F(SafeTensorsTest, HasTheDigestOfNamesAndData) {
  auto digest = [&](const std::string &header, const std::string &data) {
    write(header, data);
    return digestOf(SafeTensors::open(path)).text();
  };
  Digest want;
  want.add(std::as_bytes(std::span(std::string_view("b\0xya\0z", 7))));
  std::string z = R"("a":{"dtype":"I8","shape":[1],"data_offsets":[2,3]})",
              empty = R"(,"c":{"dtype":"F32","shape":[0],)";
  std::string xy = R"("b":{"dtype":"I8","shape":[2],"data_offsets":[0,2]})";
  EXPECT_EQ(digest("{" + z + "," + xy + "}", "xyz"), want.text());
  EXPECT_EQ(digest("{" + z + "," + xy + empty + R"("data_offsets":[2,2]}})", "xyz"), want.text());
  EXPECT_NE(digest("{" + z + "," + xy + "}", "xzy"), want.text());
  EXPECT_NE(digest(R"({"d")" + z.substr(3) + "," + xy + "}", "xyz"), want.text());
}

TEST_F(SafeTensorsTest, RefusesBadHeaders) {
  refused("No such file");
  writeBytes(path, "");
  refused("too few");
  writeBytes(path, "1234567");
  refused("too few");
  write("{}", "", 100);
  refused("not complete");
  write("{}", "", UINT64_MAX);
  refused("not complete");
  write("", "");
  refused("does not start with '{'");
  write("[]", "");
  refused("does not start with '{'");
  write("{\"a\":", "");
  refused("bad header");
  write("{\"a\": 5}", "");
  refused("expected an object");
}

TEST_F(SafeTensorsTest, RefusesBadEntries) {
  auto entry = [](const std::string &type, const std::string &shape, const std::string &offsets) {
    return "{\"a\":{\"dtype\":" + type + ",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}}";
  };
  write(entry("\"F32\"", "[1]", "[0,4]"), "1234");
  EXPECT_NO_THROW(SafeTensors::open(path));
  write(entry("\"F8_E4M3\"", "[4]", "[0,4]"), "1234");
  refused("element type 'F8_E4M3' is not supported");
  write(entry("7", "[4]", "[0,4]"), "1234");
  refused("dtype is not a string");
  write(entry("\"F32\"", "[2]", "[0,4]"), "1234");
  refused("has 4 bytes, shape [2] of F32 needs 8");
  write(entry("\"F32\"", "[-1]", "[0,4]"), "1234");
  refused("no size");
  write(entry("\"F32\"", "[1.5]", "[0,4]"), "1234");
  refused("no size");
  write(entry("\"F32\"", "[4611686018427387904, 8]", "[0,4]"), "1234");
  refused("too many elements");
  write(entry("\"F32\"", "[4611686018427387904]", "[0,4]"), "1234");
  refused("too many bytes");
  write(entry("\"F32\"", "[1]", "[0,8]"), "1234");
  refused("is the file complete?");
  write(entry("\"F32\"", "[1]", "[4,0]"), "1234");
  refused("are not inside");
  write(entry("\"F32\"", "[1]", "[0]"), "1234");
  refused("is not [begin, end]");
  write(entry("\"F32\"", "[1]", "[-4,0]"), "1234");
  refused("is not [begin, end]");
}

TEST_F(SafeTensorsTest, RefusesOverlapHolesAndRests) {
  auto two = [](int begin) {
    return R"({"a":{"dtype":"I8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"I8","shape":[2],"data_offsets":[)" +
           std::to_string(begin) + "," + std::to_string(begin + 2) + "]}}";
  };
  write(two(4), "123456");
  EXPECT_NO_THROW(SafeTensors::open(path));
  write(two(3), "123456");
  refused("overlaps at byte 3");
  write(two(5), "1234567");
  refused("has a hole at byte 4");
  write(two(4), "12345678");
  refused("2 bytes after the last array");
}

TEST_F(SafeTensorsTest, SurvivesEverySingleByteChange) {
  writeSafeTensors(path, {{"a", tensorOf<float>(DType::F32, {2}, {1, 2})}, {"b", Tensor(DType::I64, {1})}});
  std::string good = readBytes(path);
  for (size_t i = 0; i < good.size(); ++i)
    for (char c : {'\0', '\xff', '"', '9', ']'}) {
      std::string bad = good;
      bad[i] = c;
      writeBytes(path, bad);
      try {
        readSafeTensors(path);
      } catch (const Error &) {
      }
    }
}

} // namespace
