// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/runtime/Npy.h"
#include "Expect.h"
#include "TinyModel.h"

using namespace caat::runtime;
using namespace caat::test;

namespace {

std::string npy(const std::string &header, const std::string &data, char version = 1) {
  std::string text = "\x93NUMPY";
  text += version;
  text += '\0';
  text += static_cast<char>(header.size() & 255);
  text += static_cast<char>(header.size() >> 8);
  if (version > 1)
    text += std::string(2, '\0');
  return text + header + data;
}

Tensor parse(const std::string &bytes) { return parseNpy(std::as_bytes(std::span(bytes)), "x.npy"); }
TensorMap parseZip(const std::string &bytes) { return parseNpz(std::as_bytes(std::span(bytes)), "x.npz"); }

TEST(Npy, ReadsWhatItWrites) {
  std::string path = scratchDirectory("npy") + "/x.npy";
  for (const Shape &shape : {Shape{}, Shape{5}, Shape{2, 3}, Shape{2, 0, 3}}) {
    Tensor tensor(DType::I64, shape);
    for (int64_t i = 0; i < tensor.count(); ++i)
      tensor.as<int64_t>()[i] = i * i - 3;
    writeNpy(path, tensor);
    Tensor read = readNpy(path);
    EXPECT_EQ(read.dtype, DType::I64);
    EXPECT_EQ(read.shape, shape);
    EXPECT_TRUE(std::equal(tensor.as<int64_t>(), tensor.as<int64_t>() + tensor.count(), read.as<int64_t>()));
    EXPECT_EQ(readBytes(path).find('\n') % 64, 63u) << "the data is aligned";
  }
  expectError("NumPy has no type for bf16", [&] { writeNpy(path, Tensor(DType::BF16, {1})); });
}

TEST(Npy, ReadsOtherWriters) {
  std::string data = "abcdef";
  Tensor fortran = parse(npy("{'descr': '|i1', 'fortran_order': True, 'shape': (2, 3), }\n", data));
  EXPECT_EQ(std::string(fortran.as<char>(), 6), "acebdf");
  Tensor reordered = parse(npy("{\"shape\":(6,),\"descr\":\"|u1\",\"fortran_order\":False}", data, 2));
  EXPECT_EQ(reordered.shape, (Shape{6}));
}

TEST(Npy, RefusesBadFiles) {
  std::string good = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", "1234");
  EXPECT_NO_THROW(parse(good));
  auto header = [](const std::string &text) { return npy(text, "1234"); };
  expectError("not a .npy file", [] { parse("hello, world"); });
  expectError("not a .npy file", [] { parse(""); });
  expectError("version 9", [&] { parse(npy("{}", "", 9)); });
  expectError("header of", [&] { parse(good.substr(0, 40)); });
  expectError("bytes of data", [&] { parse(good.substr(0, good.size() - 1)); });
  expectError("bytes of data", [&] { parse(good + "5"); });
  expectError("element type '>f4'", [&] { parse(header("{'descr': '>f4', 'fortran_order': False, 'shape': (1,)}")); });
  expectError("element type '|O'", [&] { parse(header("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}")); });
  expectError("element type ''", [&] { parse(header("{'descr': '', 'fortran_order': False, 'shape': (1,)}")); });
  expectError("structured", [&] { parse(header("{'descr': '<f4")); });
  expectError("expected a size", [&] { parse(header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}")); });
  expectError("too many",
              [&] { parse(header("{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807,)}")); });
  expectError("once", [&] { parse(header("{'descr': '<f4', 'shape': (1,)}")); });
  expectError("unknown key", [&] { parse(header("{'evil': '<f4'}")); });
  expectError("expected True or False", [&] { parse(header("{'fortran_order': 1}")); });
}

TEST(Npy, SurvivesEverySingleByteChange) {
  std::string good = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }\n", "12345678");
  for (size_t i = 0; i < good.size(); ++i)
    for (int c = 0; c < 256; c += 7) {
      std::string bad = good;
      bad[i] = static_cast<char>(c);
      try {
        parse(bad);
      } catch (const Error &) {
      }
    }
}

TEST(Npz, ReadsWhatItWrites) {
  std::string path = scratchDirectory("npz") + "/x.npz";
  writeNpz(path, {{"a", tensorOf<float>(DType::F32, {2}, {1, 2})}, {"b.c", tensorOf<int64_t>(DType::I64, {1}, {5})}});
  TensorMap read = readTensors(path);
  ASSERT_EQ(read.size(), 2u);
  EXPECT_EQ(read["a"].as<float>()[1], 2.0f);
  EXPECT_EQ(read["b.c"].as<int64_t>()[0], 5);
  writeNpz(path, {});
  EXPECT_TRUE(readNpz(path).empty());
}

/// numpy.savez_compressed("x.npz", a=numpy.arange(1000) % 3).
std::string compressed() {
  static const unsigned char bytes[] = {
#include "Inputs/compressed.npz.inc"
  };
  return {reinterpret_cast<const char *>(bytes), sizeof bytes};
}

TEST(Npz, ReadsCompressedFilesOfNumpy) {
  Tensor a = parseZip(compressed()).at("a");
  ASSERT_EQ(a.shape, (Shape{1000}));
  for (int64_t i = 0; i < 1000; ++i)
    ASSERT_EQ(a.as<int64_t>()[i], i % 3);
}

TEST(Npz, RefusesBadArchives) {
  std::string good = compressed();
  expectError("not a .npz file", [] { parseZip(""); });
  expectError("not a .npz file", [] { parseZip(std::string(1000, 'x')); });
  for (size_t length = 0; length < good.size(); ++length)
    EXPECT_THROW(parseZip(good.substr(0, length)), Error) << length;
  std::string damaged = good;
  damaged[good.size() / 2] ^= 1; // in the packed data or its headers
  EXPECT_THROW(parseZip(damaged), Error);
}

TEST(Npz, RefusesSizesThatCannotBe) {
  std::string bomb = compressed();
  size_t directory = bomb.find("PK\x01\x02");
  ASSERT_NE(directory, bomb.npos);
  uint32_t size = 0xfffffff0;
  bomb.replace(directory + 24, 4, reinterpret_cast<const char *>(&size), 4);
  expectError("cannot unpack to", [&] { parseZip(bomb); });
}

TEST(Npz, RefusesEntriesThatShareTheirData) {
  std::string good = compressed();
  size_t directory = good.find("PK\x01\x02"), end = good.find("PK\x05\x06");
  std::string entries;
  uint16_t count = 200;
  for (int i = 0; i < count; ++i)
    entries += good.substr(directory, end - directory);
  std::string bomb = good.substr(0, directory) + entries + good.substr(end);
  bomb.replace(directory + entries.size() + 10, 2, reinterpret_cast<const char *>(&count), 2);
  for (int i = 0; i < count; ++i) // names must differ
    bomb[directory + (end - directory) * i + 46] = static_cast<char>(i + 1);
  expectError("entries overlap", [&] { parseZip(bomb); });
}

TEST(Npz, SurvivesEverySingleByteChange) {
  std::string good = compressed();
  for (size_t i = 0; i < good.size(); ++i)
    for (int c : {0, 1, 0x7f, 0xff}) {
      std::string bad = good;
      bad[i] = static_cast<char>(c);
      try {
        parseZip(bad);
      } catch (const Error &) {
      }
    }
}

TEST(Tensors, TheNameChoosesTheFormat) {
  expectError("must end in", [] { readTensors("x.txt"); });
  expectError("holds one array", [] { writeTensors("x.npy", {}); });
  std::string directory = scratchDirectory("formats");
  for (std::string ending : {".npy", ".npz", ".safetensors"}) {
    writeTensors(directory + "/x" + ending, {{"x", tensorOf<float>(DType::F32, {1}, {4})}});
    EXPECT_EQ(readTensors(directory + "/x" + ending).at("x").as<float>()[0], 4.0f);
  }
  expectError("cannot write", [&] { writeTensors(directory + "/none/x.npy", {{"x", Tensor(DType::F32, {1})}}); });
}

} // namespace
