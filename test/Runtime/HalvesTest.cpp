// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Runs in two halves that take turns: the results of whole ones, whichever way they are divided.
#include "../../runtime/core/Rank.h"
#include "Expect.h"
#include "TinyModel.h"
#include "caat/runtime/Engine.h"
#include "caat/runtime/Error.h"
#include "caat/runtime/Tasks.h"
#include <array>
#include <atomic>
#include <cstdlib>
#include <thread>

using namespace caat::runtime;
using namespace caat::test;

namespace {

std::string artifact(int tp, bool cache = true) {
  std::string name = std::to_string(tp) + (cache ? "" : "-no-cache"), directory = scratchDirectory("halves-" + name);
  writeTinyArtifact(directory, std::string(CAAT_TINY_CODE) + "-" + name + ".so", tp, cache);
  return directory;
}

EngineOptions in(HalvesMode mode, const char *link = nullptr) {
  EngineOptions options;
  options.halves = mode;
  if (link)
    options.link = parseLink(link);
  return options;
}

Tensor someTokens(int64_t batch, int64_t length) {
  Tensor tokens(DType::I64, {batch, length});
  for (int64_t i = 0; i < batch * length; ++i)
    tokens.as<int64_t>()[i] = (7 * i + 3) % 11; // 12 is none to begin with
  return tokens;
}

TensorMap inputs(const Tensor &tokens) {
  Tensor mask(DType::I64, tokens.shape);
  std::fill_n(mask.as<int64_t>(), mask.count(), 1);
  return {{"input_ids", tokens}, {"attention_mask", mask}};
}

class HalvesTest : public testing::TestWithParam<int> {
protected:
  int tp = GetParam();
  int64_t runs(int64_t expected) const { return tp > 1 ? expected : 0; } // one rank has nobody to wait for
};

INSTANTIATE_TEST_SUITE_P(Ranks, HalvesTest, testing::Values(1, 2, 3, 4));

TEST_P(HalvesTest, OfRowsAreTheWhole) {
  Engine engine(artifact(tp), in(HalvesMode::On));
  for (int64_t batch : {2, 3, 5}) {
    Tensor tokens = someTokens(batch, 6), cache;
    TensorMap out = engine.infer(inputs(tokens));
    expectNear(out["logits"], tinyLogits(tokens, &cache), 1e-4);
    // With what they left as past.
    TensorMap again = inputs(someTokens(batch, 2));
    again["past.0"] = out["present.0"];
    again["attention_mask"] = inputs(someTokens(batch, 8))["attention_mask"];
    Engine whole(artifact(tp), in(HalvesMode::Off));
    TensorMap halved = engine.infer(again), expected = whole.infer(again);
    expectNear(halved["logits"], expected["logits"], 1e-5);
    expectNear(halved["present.0"], expected["present.0"], 1e-5);
    EXPECT_EQ(whole.halvedRuns(), 0);
  }
  EXPECT_EQ(engine.halvedRuns(), runs(6));
}

TEST_P(HalvesTest, OfTokensAreTheWhole) {
  for (int64_t length : {2, 7, 40}) {
    std::string directory = artifact(tp);
    Engine halved(directory, in(HalvesMode::On)), whole(directory, in(HalvesMode::Off));
    Tensor prompt = someTokens(1, length);
    // What the halves leave in the caches is what the next step reads.
    Tensor expected = generate(whole, prompt, {2, std::nullopt, {}}),
           made = generate(halved, prompt, {2, std::nullopt, {}});
    EXPECT_TRUE(std::equal(made.as<int64_t>(), made.as<int64_t>() + made.count(), expected.as<int64_t>()));
    EXPECT_EQ(halved.halvedRuns(), runs(1)); // one token cannot be divided
    // The logits of all positions are there, those of a step upon a past as well.
    Tensor flat = someTokens(1, length + 1);
    flat.shape = {length + 1};
    ScoreOptions all;
    all.length = length + 1;
    EXPECT_NEAR(score(halved, flat, all).nll, score(whole, flat, all).nll, 1e-5);
    halved.start(length + 8);
    halved.step(prompt);
    halved.step(someTokens(1, 5)); // upon a past
    EXPECT_EQ(halved.past(), length + 5);
    EXPECT_EQ(halved.halvedRuns(), runs(4));
  }
}

/// Of the last token alone: what was there before stays in all other rows, whole or in halves of either kind.
TEST_P(HalvesTest, LeaveOutLogitsThatNobodyReads) {
  for (HalvesMode mode : {HalvesMode::Off, HalvesMode::On})
    for (int64_t batch : {1, 3}) {
      Engine engine(artifact(tp), in(mode));
      constexpr int64_t length = 7;
      auto logits = [&](const Tensor &tokens, Results read) {
        Tensor all(DType::F32, {batch, length, vocabulary});
        engine.start(length);
        engine.step(tokens, read, [&](Rank &rank) { return [&] { rank.collectOutput(0, all); }; });
        return all;
      };
      Tensor first = someTokens(batch, length), second = someTokens(batch, length);
      second.as<int64_t>()[0] = 5;
      for (int64_t b = 0; b < batch; ++b)
        second.as<int64_t>()[b * length + 3] = 8;
      Tensor want = tinyLogits(first), after = tinyLogits(second);
      expectNear(logits(first, Results::All), want, 1e-4);
      for (int64_t b = 0; b < batch; ++b)
        std::copy_n(after.as<float>() + ((b + 1) * length - 1) * vocabulary, vocabulary,
                    want.as<float>() + ((b + 1) * length - 1) * vocabulary);
      expectNear(logits(second, Results::LastToken), want, 1e-4);
      EXPECT_EQ(engine.halvedRuns(), mode == HalvesMode::On ? runs(2) : 0);
      expectNear(logits(second, Results::All), after, 1e-4);
    }
}

TEST(Halves, OfTokensNeedCaches) {
  Engine engine(artifact(2, false), in(HalvesMode::On));
  Tensor one = someTokens(1, 6), three = someTokens(3, 6);
  engine.start(6);
  engine.step(one);
  EXPECT_EQ(engine.halvedRuns(), 0);
  expectNear(engine.infer(inputs(three))["logits"], tinyLogits(three), 1e-4);
  EXPECT_EQ(engine.halvedRuns(), 1);
}

TEST_P(HalvesTest, CountWhatTheyExchange) {
  std::string directory = artifact(tp);
  Engine halved(directory, in(HalvesMode::On, "100MB/s,100us")), whole(directory, in(HalvesMode::Off, "100MB/s,100us"));
  Tensor tokens = someTokens(4, 16);
  halved.infer(inputs(tokens)), whole.infer(inputs(tokens));
  Profile two = halved.slowestProfile(), one = whole.slowestProfile();
  EXPECT_EQ(two.runs, 1);
  for (size_t i = 0; i < one.collectives.size(); ++i) {
    EXPECT_EQ(two.collectives[i].bytes, one.collectives[i].bytes);
    EXPECT_EQ(two.collectives[i].calls, one.collectives[i].calls * (tp > 1 ? 2 : 1));
  }
}

TEST_P(HalvesTest, PayOverSlowLinksWithManyRows) {
  std::string directory = artifact(tp);
  struct {
    const char *link;
    int64_t batch, length, runs;
  } cases[] = {
      {nullptr, 8, 40, 0}, {"1MB/s", 8, 40, 1}, {"1MB/s", 8, 1, 0}, {"1000GB/s", 8, 40, 0}, {"1GB/s,20ms", 8, 40, 0}};
  for (const auto &c : cases) {
    Engine engine(directory, in(HalvesMode::Auto, c.link));
    engine.infer(inputs(someTokens(c.batch, c.length)));
    EXPECT_EQ(engine.halvedRuns(), runs(c.runs)) << (c.link ? c.link : "no link");
  }
}

TEST_P(HalvesTest, AnErrorOfOneEndsBothAndTheEngineGoesOn) {
  Engine engine(artifact(tp), in(HalvesMode::On));
  for (int64_t row : {0, 2}) { // of the first and of the second half
    Tensor tokens = someTokens(4, 3), good = someTokens(4, 3);
    tokens.as<int64_t>()[row * 3] = 12;
    if (row == 0 || tp > 1)
      expectError("must not start with token 12", [&] { engine.infer(inputs(tokens)); });
    expectNear(engine.infer(inputs(good))["logits"], tinyLogits(good), 1e-4);
  }
}

TEST_P(HalvesTest, StoppedRankEndsTheOthersInTime) {
  if (tp == 1)
    return;
  for (const char *stop : {"1@layers.0.mlp", "1@heads"}) {
    setenv("CAAT_TEST_STOP_RANK", stop, 1);
    EngineOptions options = in(HalvesMode::On);
    options.timeout = std::chrono::milliseconds(200);
    Engine engine(artifact(tp), options);
    unsetenv("CAAT_TEST_STOP_RANK");
    expectError("timed out", [&] { engine.infer(inputs(someTokens(4, 3))); });
  }
}

/// Writes the manifest with one text in the place of another.
void replaceInManifest(const std::string &directory, const std::string &from, const std::string &to) {
  std::string text = readBytes(directory + "/manifest.json");
  size_t at = text.find(from);
  ASSERT_NE(at, text.npos) << from;
  writeBytes(directory + "/manifest.json", text.replace(at, from.size(), to));
}

TEST(Halves, ThatWereNotProvedAreRefused) {
  std::string directory = artifact(2);
  replaceInManifest(directory, R"("dim": "seq")", R"("refused": "node 'pool' sums over them")");
  replaceInManifest(directory, R"("dim": "batch")", R"("refused": "fixed")");
  expectError("the program cannot run in halves: of its tokens: node 'pool' sums over them; of its batch: fixed",
              [&] { Engine engine(directory, in(HalvesMode::On)); });
  replaceInManifest(directory, R"("refused": "fixed")", R"("dim": "rows")");
  expectError("'rows' is no dimension of the program", [&] { Engine engine(directory); });
  replaceInManifest(directory, R"("dim": "rows")", R"("why": "not")");
  expectError(".halves.batch: 'refused' is missing", [&] { Engine engine(directory); });
}

/// What a manifest claims is checked against the shapes.
TEST(Halves, ThatAreNoPartsOfTheWholeAreRefused) {
  std::string directory = artifact(2);
  replaceInManifest(directory, R"("dim": "batch")", R"("dim": "seq")");
  Engine engine(directory, in(HalvesMode::On));
  for (int64_t batch : {1, 2})
    expectError("'input_ids' of half a run has shape " + toString(Shape{batch, 4}) + " instead of " +
                    toString(Shape{batch, 2}),
                [&] { engine.infer(inputs(someTokens(batch, 4))); });
  replaceInManifest(directory, R"("batch": {
   "dim": "seq")",
                    R"("batch": {
   "dim": "max_length")");
  Engine caches(directory, in(HalvesMode::On));
  expectError("'past.0' of shape [2, 1, 4, 6] is not made of", [&] { caches.infer(inputs(someTokens(2, 4))); });
}

/// A half has its rows of what each rank has a part of.
TEST(Halves, TakeRowsOfShardedInputs) {
  std::string directory = artifact(2);
  replaceInManifest(directory, R"("past + seq"
   ])",
                    R"(2], "shard": {"dim": 1, "global": 4, "pieces": [[[0, 2]], [[2, 2]]]})");
  Engine engine(directory, in(HalvesMode::On));
  Tensor tokens = someTokens(5, 4);
  expectNear(engine.infer(inputs(tokens))["logits"], tinyLogits(tokens), 1e-4);
  EXPECT_EQ(engine.halvedRuns(), 1);
}

TEST(Turns, AlternateAndKeepExchangesInOrder) {
  Turns turns;
  std::atomic<int> computing = 0, exchanging = 0;
  std::vector<int> order;
  auto work = [&](int half) {
    turns.enter(half);
    for (int round = 0; round < 200; ++round) {
      EXPECT_EQ(computing.fetch_add(1), 0);
      computing.fetch_sub(1);
      turns.leave(half);
      {
        Turns::Exchange exchange(turns, half);
        EXPECT_EQ(exchanging.fetch_add(1), 0);
        order.push_back(half);
        exchanging.fetch_sub(1);
      }
      turns.enter(half);
    }
    turns.end(half);
  };
  std::thread second([&] { work(1); });
  work(0);
  second.join();
  ASSERT_EQ(order.size(), 400u);
  for (size_t i = 0; i < order.size(); ++i)
    EXPECT_EQ(order[i], static_cast<int>(i % 2));
}

TEST(Turns, TheSecondHalfIsNeverAhead) {
  Turns turns;
  turns.enter(0);
  turns.leave(0);
  turns.enter(1);
  turns.leave(1);
  expectError("before the first one", [&] { turns.leave(1); });
  turns.end(0);
  turns.leave(1); // the first one needs nothing more
}

} // namespace
