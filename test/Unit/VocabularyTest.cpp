// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Ablate/Vocabulary.h"
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <unistd.h>
#include <vector>

using caat::ablate::Vocabulary;

namespace {

std::optional<Vocabulary> readText(const std::string &json) {
  auto path = std::filesystem::temp_directory_path() / ("caat-vocabulary-" + std::to_string(::getpid()) + ".json");
  std::ofstream(path) << json;
  auto result = Vocabulary::read(path.string());
  std::filesystem::remove(path);
  return result;
}

std::string decode(const std::string &json, const std::vector<int64_t> &tokens) {
  auto vocabulary = readText(json);
  return vocabulary ? vocabulary->decode(tokens) : "none";
}

TEST(Vocabulary, BytesOfBytePairs) {
  // U+0120 is a space, U+010A a line feed, the last two are the bytes of an accented e; an added token stays as it is.
  const char *json = R"({"model": {"vocab": {"Hi": 0, "\u0120you": 1, "\u010a": 2, "\u00c3": 3, "\u00a9": 4}},
                         "added_tokens": [{"id": 5, "content": "<|end|>"}, {"id": 6, "content": "\u4f60"}],
                         "decoder": {"type": "ByteLevel"}})";
  EXPECT_EQ(decode(json, {0, 1, 2, 3, 4, 5, 6, 9}), "Hi you\n\u00e9<|end|>\u4f60<9>");
}

TEST(Vocabulary, Pieces) {
  const char *json = R"({"model": {"vocab": [["\u2581Hi", -1.5], ["\u2581you", -2], ["<0x41>", -3]]},
                         "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "\u2581"}}]}})";
  EXPECT_EQ(decode(json, {0, 1, 2}), " Hi youA");
}

TEST(Vocabulary, Words) {
  EXPECT_EQ(decode(R"({"model": {"vocab": {"walk": 0, "##ing": 1, "fast": 2}}})", {0, 1, 2}), "walking fast");
}

TEST(Vocabulary, OtherFilesGiveNone) {
  for (const char *json :
       {"", "[]", "{}", R"({"model": {}})", R"({"model": {"vocab": 3}})", R"({"model": {"vocab": {"a": "b"}}})",
        R"({"model": {"vocab": {}}, "added_tokens": [3, {"id": "x"}]})"})
    EXPECT_FALSE(readText(json)) << json;
  EXPECT_FALSE(Vocabulary::read("/nowhere/tokenizer.json"));
}

} // namespace
