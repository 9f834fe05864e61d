// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/runtime/Engine.h"
#include "Expect.h"
#include "TinyModel.h"
#include "caat/runtime/SafeTensors.h"
#include "caat/runtime/Tasks.h"
#include <array>
#include <cmath>
#include <cstring>
#include <filesystem>

using namespace caat::runtime;
using namespace caat::test;

namespace {

Tensor ids(Shape shape, std::vector<int64_t> values) {
  return tensorOf(DType::I64, std::move(shape), std::move(values));
}
Tensor ones(Shape shape) {
  Tensor tensor(DType::I64, shape);
  std::fill_n(tensor.as<int64_t>(), tensor.count(), 1);
  return tensor;
}

/// An artifact of the tiny model for `tp` ranks.
std::string artifact(int tp) {
  std::string directory = scratchDirectory("tiny-" + std::to_string(tp));
  writeTinyArtifact(directory, std::string(CAAT_TINY_CODE) + "-" + std::to_string(tp) + ".so", tp);
  return directory;
}

class EngineTest : public testing::TestWithParam<int> {
protected:
  int tp = GetParam();
  std::string directory = artifact(tp);
};

INSTANTIATE_TEST_SUITE_P(Ranks, EngineTest, testing::Values(1, 2, 3, 4));

TEST_P(EngineTest, InferEqualsOneDevice) {
  Engine engine(directory);
  Tensor tokens = ids({2, 5}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 11});
  TensorMap out = engine.infer({{"input_ids", tokens}, {"attention_mask", ones({2, 5})}});
  ASSERT_EQ(out.size(), 2u);
  expectNear(out["logits"], tinyLogits(tokens), 1e-4);
  EXPECT_EQ(out["present.0"].shape, (Shape{2, tp, 5, hidden / tp}));
}

TEST_P(EngineTest, PresentBecomesPast) {
  Engine engine(directory);
  Tensor whole = ids({1, 6}, {3, 1, 4, 1, 5, 9});
  TensorMap first = engine.infer({{"input_ids", ids({1, 4}, {3, 1, 4, 1})}, {"attention_mask", ones({1, 4})}});
  TensorMap second = engine.infer(
      {{"input_ids", ids({1, 2}, {5, 9})}, {"attention_mask", ones({1, 6})}, {"past.0", first["present.0"]}});
  Tensor want = tinyLogits(whole), rest(DType::F32, {1, 2, vocabulary});
  std::copy_n(want.as<float>() + 4 * vocabulary, 2 * vocabulary, rest.as<float>());
  expectNear(second["logits"], rest, 1e-4);
  EXPECT_EQ(second["present.0"].shape[2], 6);
}

TEST_P(EngineTest, GenerateTakesTheLargestLogit) {
  Engine engine(directory);
  Tensor made = generate(engine, ids({2, 2}, {7, 2, 1, 3}), {5, std::nullopt, {}});
  ASSERT_EQ(made.shape, (Shape{2, 7}));
  for (int64_t step = 0; step < 5; ++step) {
    Tensor prefix(DType::I64, {2, 2 + step});
    for (int64_t b = 0; b < 2; ++b)
      std::copy_n(made.as<int64_t>() + b * 7, 2 + step, prefix.as<int64_t>() + b * (2 + step));
    Tensor logits = tinyLogits(prefix);
    for (int64_t b = 0; b < 2; ++b) {
      const float *row = logits.as<float>() + ((b + 1) * (2 + step) - 1) * vocabulary;
      EXPECT_EQ(made.as<int64_t>()[b * 7 + 2 + step], std::max_element(row, row + vocabulary) - row);
    }
  }
}

/// One seed gives one text, whatever the number of ranks and the other rows.
TEST_P(EngineTest, GenerateDraws) {
  Engine engine(directory);
  auto drawn = [&](Tensor prompt, Sampling sampling) {
    Tensor made = generate(engine, prompt, {8, std::nullopt, {}, sampling});
    return std::vector<int64_t>(made.as<int64_t>(), made.as<int64_t>() + made.count());
  };
  Sampling sampling{.temperature = 0.7, .topK = 5, .topP = 0.95, .seed = 3};
  std::vector<int64_t> one = drawn(ids({1, 2}, {7, 2}), sampling);
  EXPECT_EQ(drawn(ids({1, 2}, {7, 2}), sampling), one);
  std::vector<int64_t> two = drawn(ids({2, 2}, {7, 2, 1, 3}), sampling);
  EXPECT_TRUE(std::equal(one.begin(), one.end(), two.begin()));
  EXPECT_NE(drawn(ids({1, 2}, {7, 2}), {.temperature = 0.7, .topK = 5, .topP = 0.95, .seed = 4}), one);
  Tensor greedy = generate(engine, ids({1, 2}, {7, 2}), {8, std::nullopt, {}});
  EXPECT_TRUE(std::equal(greedy.as<int64_t>(), greedy.as<int64_t>() + 10,
                         drawn(ids({1, 2}, {7, 2}), {.temperature = 5, .topK = 1}).begin()));
  Engine whole(artifact(1));
  Tensor there = generate(whole, ids({1, 2}, {7, 2}), {8, std::nullopt, {}, sampling});
  EXPECT_TRUE(std::equal(one.begin(), one.end(), there.as<int64_t>()));
}

/// As often as the probabilities say, over shards: the first new token of many rows.
TEST_P(EngineTest, GenerateDrawsAsOftenAsItShould) {
  Engine engine(directory);
  constexpr int64_t rows = 2000;
  Tensor prompt(DType::I64, {rows, 2});
  for (int64_t b = 0; b < rows; ++b)
    std::copy_n(std::array<int64_t, 2>{7, 2}.begin(), 2, prompt.as<int64_t>() + b * 2);
  Tensor made = generate(engine, prompt, {1, std::nullopt, {}, Sampling{.topK = vocabulary}});
  std::vector<double> got(vocabulary), want(vocabulary);
  for (int64_t b = 0; b < rows; ++b)
    got[static_cast<size_t>(made.as<int64_t>()[b * 3 + 2])] += 1.0 / rows;
  Tensor logits = tinyLogits(ids({1, 2}, {7, 2}));
  double all = 0;
  for (size_t i = 0; i < want.size(); ++i)
    all += want[i] = std::exp(static_cast<double>(logits.as<float>()[vocabulary + static_cast<int64_t>(i)]));
  for (size_t i = 0; i < want.size(); ++i)
    EXPECT_NEAR(got[i], want[i] / all, 4 * std::sqrt(want[i] / all / rows) + 1e-9) << i;
}

TEST_P(EngineTest, GenerateStopsWhenAllRowsAreDone) {
  Engine engine(directory);
  Tensor free = generate(engine, ids({2}, {7, 2}), {6, std::nullopt, {}});
  int64_t stop = free.as<int64_t>()[3];
  Tensor stopped = generate(engine, ids({2}, {7, 2}), {6, stop, {}});
  int64_t length = stopped.shape[1];
  EXPECT_LE(length, 4);
  EXPECT_EQ(stopped.as<int64_t>()[length - 1], stop);
}

TEST_P(EngineTest, ScoreEqualsOneDevice) {
  Engine engine(directory);
  std::vector<int64_t> text;
  for (int64_t i = 0; i < 23; ++i)
    text.push_back((i * 5 + 2) % 12);
  double want = 0;
  for (int64_t window = 0; window < 3; ++window) {
    Tensor logits = tinyLogits(ids({1, 7}, {text.begin() + window * 7, text.begin() + (window + 1) * 7}));
    for (int64_t i = 0; i < 6; ++i) {
      const float *row = logits.as<float>() + i * vocabulary;
      double sum = 0;
      for (int64_t v = 0; v < vocabulary; ++v)
        sum += std::exp(static_cast<double>(row[v]));
      want += std::log(sum) - row[text[static_cast<size_t>(window * 7 + i + 1)]];
    }
  }
  for (int64_t batch : {1, 2, 3}) {
    ScoreResult result = score(engine, ids({23}, text), {7, batch, 0, {}});
    EXPECT_EQ(result.tokens, 18);
    EXPECT_NEAR(result.nll, want / 18, 1e-5);
    EXPECT_DOUBLE_EQ(result.perplexity, std::exp(result.nll));
  }
}

TEST_P(EngineTest, RepeatsBitForBit) {
  Engine engine(directory);
  TensorMap inputs = {{"input_ids", ids({1, 8}, {1, 2, 3, 4, 5, 6, 7, 8})}, {"attention_mask", ones({1, 8})}};
  Tensor first = engine.infer(inputs)["logits"];
  for (int i = 0; i < 5; ++i)
    EXPECT_EQ(std::memcmp(first.data.get(), engine.infer(inputs)["logits"].data.get(), first.bytes()), 0);
}

TEST_P(EngineTest, SeveralThreadsPerRank) {
  EngineOptions options;
  options.threadsPerRank = 2;
  Engine engine(directory, options);
  Tensor tokens = ids({2, 3}, {1, 2, 3, 4, 5, 6});
  expectNear(engine.infer({{"input_ids", tokens}, {"attention_mask", ones({2, 3})}})["logits"], tinyLogits(tokens),
             1e-4);
}

TEST_P(EngineTest, FailedCheckEndsTheRunAndTheEngineGoesOn) {
  Engine engine(directory);
  TensorMap bad = {{"input_ids", ids({1, 2}, {12, 1})}, {"attention_mask", ones({1, 2})}};
  expectError("must not start with token 12", [&] { engine.infer(bad); });
  TensorMap masked = {{"input_ids", ids({1, 2}, {1, 12})}, {"attention_mask", ids({1, 2}, {0, 1})}};
  expectError("first token must not be masked", [&] { engine.infer(masked); });
  TensorMap good = {{"input_ids", ids({1, 2}, {1, 12})}, {"attention_mask", ones({1, 2})}};
  expectNear(engine.infer(good)["logits"], tinyLogits(good["input_ids"]), 1e-4);
}

TEST_P(EngineTest, ASessionKeepsItsBatch) {
  Engine engine(directory);
  engine.start(8);
  engine.step(ids({2, 2}, {1, 2, 3, 4}));
  expectError("a batch of 1 after one of 2", [&] { engine.step(ids({1, 1}, {5})); });
  engine.step(ids({2, 1}, {5, 6}));
  engine.start(8);
  engine.step(ids({1, 2}, {1, 2}));
}

TEST_P(EngineTest, InputErrorsNameTheInput) {
  Engine engine(directory);
  Tensor mask = ones({1, 2}), tokens = ids({1, 2}, {1, 2});
  expectError("input 'input_ids' is missing", [&] { engine.infer({{"attention_mask", mask}}); });
  expectError("no input 'token_type_ids'",
              [&] { engine.infer({{"input_ids", tokens}, {"attention_mask", mask}, {"token_type_ids", tokens}}); });
  expectError("token 13 at position 1 is not in [0, 13)",
              [&] { engine.infer({{"input_ids", ids({1, 2}, {1, 13})}, {"attention_mask", mask}}); });
  expectError("token -1 at position 0",
              [&] { engine.infer({{"input_ids", ids({1, 2}, {-1, 1})}, {"attention_mask", mask}}); });
  expectError("is f32, expected i64",
              [&] { engine.infer({{"input_ids", Tensor(DType::F32, {1, 2})}, {"attention_mask", mask}}); });
  expectError("expected past + seq = 2",
              [&] { engine.infer({{"input_ids", tokens}, {"attention_mask", ones({1, 3})}}); });
  expectError("dimension 'batch' is 2, but 1 by input 'input_ids'",
              [&] { engine.infer({{"input_ids", tokens}, {"attention_mask", ones({2, 2})}}); });
  expectError("has shape [2], expected [batch, seq]",
              [&] { engine.infer({{"input_ids", ids({2}, {1, 2})}, {"attention_mask", mask}}); });
  expectError("the program was compiled for at most 64",
              [&] { engine.infer({{"input_ids", Tensor(DType::I64, {1, 65})}, {"attention_mask", ones({1, 65})}}); });
  expectError("the program was compiled for at most 64",
              [&] { generate(engine, ids({60}, std::vector<int64_t>(60, 1)), {5, std::nullopt, {}}); });
}

TEST_P(EngineTest, StoppedRankEndsTheOthersInTime) {
  if (tp == 1)
    GTEST_SKIP() << "one rank waits for nobody";
  ASSERT_EQ(setenv("CAAT_TEST_STOP_RANK", "1@layers.0.mlp", 1), 0);
  EngineOptions options;
  options.timeout = std::chrono::milliseconds(200);
  Engine engine(directory, options);
  unsetenv("CAAT_TEST_STOP_RANK");
  auto begin = std::chrono::steady_clock::now();
  auto run = [&] { engine.infer({{"input_ids", ids({1, 1}, {1})}, {"attention_mask", ones({1, 1})}}); };
  expectError("all_reduce 'layers.0.mlp' (collective 1) timed out after 0.2 s", run);
  expectError("waiting for rank 1 (last seen in 'embed')", run);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
}

TEST_P(EngineTest, DamagedArtifactsAreRefused) {
  auto replaced = [&](std::string from, std::string to) {
    std::string text = tinyManifest(tp);
    size_t at = text.find(from);
    ASSERT_NE(at, text.npos) << from;
    writeBytes(directory + "/manifest.json", text.replace(at, from.size(), to));
  };
  replaced("\"tiny_add\"", "\"no_such_kernel\"");
  expectError("has no function 'no_such_kernel'", [&] { Engine engine(directory); });
  replaced("\"embed\",\n   \"shape\"", "\"embedding\",\n   \"shape\"");
  expectError("no array 'embedding'", [&] { Engine engine(directory); });
  replaced("\"cpu\"", "\"tpu\"");
  expectError("compiled for 'tpu'", [&] { Engine engine(directory); });
  writeBytes(directory + "/manifest.json", tinyManifest(tp));
  std::string weights = directory + "/weights-" + std::to_string(tp - 1) + ".safetensors", good = readBytes(weights);
  writeBytes(weights, good.substr(0, good.size() - 8));
  expectError("is the file complete?", [&] { Engine engine(directory); });
  writeSafeTensors(weights, {{"embed", Tensor(DType::F32, {1, 1})}});
  expectError("the manifest says", [&] { Engine engine(directory); });
  std::filesystem::remove(weights);
  expectError("No such file", [&] { Engine engine(directory); });
  std::filesystem::remove(directory + "/code.so");
  expectError("cannot load", [&] { Engine engine(directory); });
  std::filesystem::remove(directory + "/manifest.json");
  expectError("is not an artifact", [&] { Engine engine(directory); });
}

TEST(EngineWithoutCache, GenerateRunsTheWholeSequenceAgain) {
  std::string directory = scratchDirectory("tiny-no-cache");
  writeTinyArtifact(directory, std::string(CAAT_TINY_CODE) + "-2-no-cache.so", 2, false);
  Engine without(directory), with(artifact(2));
  Tensor prompt = ids({2, 3}, {7, 2, 5, 1, 3, 3});
  Tensor a = generate(without, prompt, {6, std::nullopt, {}}), b = generate(with, prompt, {6, std::nullopt, {}});
  ASSERT_EQ(a.shape, (Shape{2, 9}));
  EXPECT_TRUE(std::equal(a.as<int64_t>(), a.as<int64_t>() + a.count(), b.as<int64_t>()));
  expectError("at most 64", [&] { generate(without, prompt, {62, std::nullopt, {}}); });
  TensorMap out = without.infer({{"input_ids", prompt}, {"attention_mask", ones({2, 3})}});
  ASSERT_EQ(out.size(), 1u);
  expectNear(out["logits"], tinyLogits(prompt), 1e-4);
}

} // namespace
