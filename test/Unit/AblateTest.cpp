// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Ablate/Ablation.h"
#include "caat/Ablate/Evaluator.h"
#include "caat/Ablate/PlanFile.h"
#include "caat/Ablate/Recipes.h"
#include "caat/Ablate/ShellWord.h"
#include "caat/Ablate/Store.h"
#include "caat/runtime/Error.h"
#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>

using namespace caat;
using namespace caat::ablate;
using runtime::Policies;
using runtime::SitePolicy;

namespace {

std::string errorOf(const std::function<void()> &action) {
  try {
    action();
  } catch (const runtime::Error &e) {
    return e.what();
  }
  return "no error";
}

struct TemporaryFolder {
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("caat-ablate-test-" + std::to_string(::getpid()) + "-" +
                                                ::testing::UnitTest::GetInstance()->current_test_info()->name());
  TemporaryFolder() { std::filesystem::create_directories(path); }
  ~TemporaryFolder() { std::filesystem::remove_all(path); }
  std::string operator/(const char *name) const { return (path / name).string(); }
};

runtime::Manifest manifestOf(int sites, int64_t channels, int ranks) {
  runtime::Manifest manifest;
  manifest.tp = ranks;
  for (int i = 0; i < sites; ++i) {
    runtime::SiteSpec site;
    site.name = "layers." + std::to_string(i / 2) + (i % 2 ? ".mlp" : ".attn");
    site.channels = channels;
    manifest.sites.push_back(site);
  }
  return manifest;
}

TEST(Measure, MeansAndTheirErrors) {
  Losses losses;
  losses.append({{1, 2, 3, 4}, {}, {}}, {{2, 2, 4, 4}, {0.1, 0.2, 0.3, 0.4}, {1, 0, 1, 1}});
  Measure measure = Measure::of(losses);
  EXPECT_EQ(measure.tokens, 4);
  EXPECT_DOUBLE_EQ(measure.nll, 3);
  EXPECT_DOUBLE_EQ(measure.added, 0.5);
  EXPECT_NEAR(measure.addedError, std::sqrt(1.0 / 3) / 2, 1e-12); // of the differences, not of the losses
  EXPECT_DOUBLE_EQ(measure.kl, 0.25);
  EXPECT_DOUBLE_EQ(measure.agree, 0.75);
  EXPECT_DOUBLE_EQ(measure.ratio(), std::exp(0.5));
  EXPECT_EQ(Measure::of({}).tokens, 0);
}

TEST(Evaluator, PlansThatAgreeShareTheirWay) {
  auto full = std::make_shared<SitePolicy>(), drop = std::make_shared<SitePolicy>();
  constexpr size_t sites = 10;
  std::vector<Policies> plans;
  for (size_t site = 0; site < sites; ++site) {
    plans.emplace_back(sites, full);
    plans.back()[site] = drop;
  }
  // One run passes the sites before; each plan runs from its site to the end.
  EXPECT_EQ(countSites(plans), 9 + 10 * 11 / 2);
  EXPECT_EQ(countSites({plans[3], plans[3]}), 10); // equal plans are one
  EXPECT_EQ(countSites({}), 0);
}

TEST(Text, CutsWindows) {
  runtime::Tensor tokens(runtime::DType::I64, {20});
  for (int i = 0; i < 20; ++i)
    tokens.as<int64_t>()[i] = i;
  Text text = Text::cut(tokens, 4, 3, 5, 2);
  EXPECT_EQ(text.batches(), 2);
  EXPECT_EQ(text.tokensAt(0).shape, (runtime::Shape{2, 5}));
  EXPECT_EQ(text.tokensAt(1).shape, (runtime::Shape{1, 5}));
  EXPECT_EQ(text.tokensAt(1).as<int64_t>()[0], 14);
  EXPECT_NE(errorOf([&] { Text::cut(tokens, 6, 3, 5, 2); }).find("too few tokens"), std::string::npos);
}

TEST(Text, RowsOfInputs) {
  runtime::Tensor ids(runtime::DType::I64, {5, 2}), mask(runtime::DType::F32, {5, 3});
  for (int i = 0; i < 10; ++i)
    ids.as<int64_t>()[i] = i;
  Text text = Text::rows({{"ids", ids}, {"mask", mask}}, 1, 3, 2);
  EXPECT_FALSE(text.isTokens());
  EXPECT_EQ(text.batches(), 2);
  EXPECT_EQ(text.at(0).at("mask").shape, (runtime::Shape{2, 3}));
  EXPECT_EQ(text.at(1).at("ids").shape, (runtime::Shape{1, 2}));
  EXPECT_EQ(text.at(1).at("ids").as<int64_t>()[0], 6);
  EXPECT_NE(errorOf([&] { Text::rows({{"ids", ids}}, 3, 3, 2); }).find("'ids' has 5"), std::string::npos);
  runtime::Tensor other(runtime::DType::F32, {6, 3});
  EXPECT_NE(
      errorOf([&] { Text::rows({{"ids", ids}, {"other", other}}, 0, 3, 2); }).find("'other' has 6 rows, 'ids' has 5"),
      std::string::npos);
}

TEST(Embeddings, PoolsWhatTheMaskMarks) {
  runtime::Manifest manifest;
  manifest.outputs.resize(1);
  manifest.outputs[0].name = "hidden";
  runtime::Tensor hidden(runtime::DType::F32, {1, 3, 2}), mask(runtime::DType::I64, {1, 3});
  std::copy_n(std::array<float, 6>{1, 2, 3, 4, 50, 60}.data(), 6, hidden.as<float>());
  std::copy_n(std::array<int64_t, 3>{1, 1, 0}.data(), 3, mask.as<int64_t>());
  using Rows = std::vector<std::vector<float>>;
  EXPECT_EQ(Embeddings::of(manifest, {{"attention_mask", mask}}, {{"hidden", hidden}}), (Rows{{4, 6}}));
  EXPECT_EQ(Embeddings::of(manifest, {}, {{"hidden", hidden}}), (Rows{{54, 66}}));
  runtime::Tensor numbers(runtime::DType::I64, {1, 3});
  EXPECT_NE(errorOf([&] { Embeddings::of(manifest, {}, {{"hidden", numbers}}); }).find("could be an embedding"),
            std::string::npos);
}

TEST(Embeddings, CosinesAndWhatIsFound) {
  Embeddings exact;
  std::vector<std::vector<float>> rows;
  for (int i = 0; i < 24; ++i) // round a circle: each finds its neighbours
    rows.push_back({std::cos(0.1f * static_cast<float>(i)), std::sin(0.1f * static_cast<float>(i))});
  exact.add(rows);
  runtime::Judgement same = exact.compare(3, {rows[3]});
  EXPECT_NEAR(same.nll[0], 0, 1e-12);
  EXPECT_EQ(same.agree, std::vector<uint8_t>(Embeddings::found, 1));
  runtime::Judgement moved = exact.compare(3, {rows[20]});
  EXPECT_NEAR(moved.kl[0], 1 - std::cos(1.7), 1e-6);
  EXPECT_EQ(std::count(moved.agree.begin(), moved.agree.end(), 1), 0);
  EXPECT_EQ(Measure::of([&] {
              Losses losses;
              losses.append({{0}, {}, {}}, moved);
              losses.append({{0}, {}, {}}, same);
              return losses;
            }())
                .agree,
            0.5);
}

TEST(Store, GoesOnBehindALineThatIsCutOff) {
  TemporaryFolder folder;
  std::string path = folder / "measurements.jsonl";
  {
    Store store(path, "a model");
    store.add("plan", 0, {{0.1, 1.0 / 3}, {1e-9, 2}, {1, 0}});
    store.addTimes("a step", {512, 1.0 / 3});
  }
  std::ofstream(path, std::ios::app) << "{\"plan\": \"torn";
  Store store(path, "a model");
  const runtime::Judgement *known = store.find("plan", 0);
  ASSERT_NE(known, nullptr);
  EXPECT_EQ(known->nll, (std::vector<double>{0.1, 1.0 / 3})); // every digit
  EXPECT_EQ(known->agree, (std::vector<uint8_t>{1, 0}));
  EXPECT_EQ(store.find("torn", 0), nullptr);
  ASSERT_NE(store.findTimes("a step"), nullptr);
  EXPECT_EQ(*store.findTimes("a step"), (std::vector<double>{512, 1.0 / 3}));
  EXPECT_EQ(store.findTimes("another"), nullptr);
  store.add("next", 0, {});
  EXPECT_EQ(Store(path, "a model").size(), 2u);
}

TEST(Store, RefusesResultsOfAnotherRun) {
  TemporaryFolder folder;
  std::string path = folder / "measurements.jsonl";
  Store(path, "a model");
  EXPECT_NE(errorOf([&] { Store(path, "another"); }).find("holds results for a model, this run is for another"),
            std::string::npos);
  std::ofstream(path, std::ios::app) << "no json\n";
  EXPECT_NE(errorOf([&] { Store(path, "a model"); }).find(":2: is damaged"), std::string::npos);
}

TEST(ShellWord, QuotesWhatAShellWouldTakeApart) {
  EXPECT_EQ(shellWord("--budget=ppl:1.05"), "--budget=ppl:1.05");
  EXPECT_EQ(shellWord("--choice=drop rank 64 of both"), "'--choice=drop rank 64 of both'");
  EXPECT_EQ(shellWord("it's $HOME"), "'it'\\''s $HOME'");
  EXPECT_EQ(shellWord(""), "''");
}

TEST(Budget, Texts) {
  EXPECT_EQ(Budget::parse("ppl:1.05").kind, Budget::Kind::Quality);
  EXPECT_DOUBLE_EQ(Budget::parse("time:3ms").limit, 0.003);
  EXPECT_DOUBLE_EQ(Budget::parse("time:250us").limit, 250e-6);
  EXPECT_DOUBLE_EQ(Budget::parse("bytes:0.5").limit, 0.5);
  EXPECT_DOUBLE_EQ(Budget::parse("syncs:40").limit, 40);
  EXPECT_EQ(Budget::parse("cos:0.99").kind, Budget::Kind::Cosine);
  for (const char *text : {"ppl:1.05", "cos:0.995", "time:0.003s", "bytes:0.5", "syncs:40"})
    EXPECT_EQ(Budget::parse(text).text(), text);
  for (const char *text :
       {"", "ppl", "ppl:", "ppl:0.9", "time:3h", "bytes:0", "bytes:x", "quality:1", "ppl:nan", "ppl:1.05x", "cos:1.1"})
    EXPECT_NE(errorOf([&] { Budget::parse(text); }).find("expected ppl:RATIO"), std::string::npos) << text;
}

TEST(Search, LagrangianFindsTheConvexPlans) {
  // Site 0 saves much for little, site 1 little for much, site 2 cannot.
  Prices prices = {{Price{0, 1}, Price{0.01, 0}}, {Price{0, 1}, Price{1, 0.5}}, {Price{0, 1}, std::nullopt}};
  auto plans = lagrangian(prices, 10);
  EXPECT_EQ(plans, (std::vector<std::vector<size_t>>{{0, 0, 0}, {1, 0, 0}, {1, 1, 0}}));
  EXPECT_EQ(lagrangian(prices, 2), (std::vector<std::vector<size_t>>{{0, 0, 0}, {1, 1, 0}}));
  EXPECT_EQ(lagrangian(prices, 1), (std::vector<std::vector<size_t>>{{0, 0, 0}}));
  EXPECT_TRUE(lagrangian(prices, 0).empty());
}

TEST(Search, LagrangianKeepsNeighboursApart) {
  // Four sites alike, of which neighbours lose three times as much together: a pair is worth it only at the end.
  Prices prices(4, {Price{0, 1}, Price{0.1, 0}});
  prices[1][1]->loss = prices[3][1]->loss = 0.101;
  Neighbours neighbours{{2, 2, 2, 0}, std::vector<std::vector<bool>>(4, {false, true})};
  EXPECT_EQ(lagrangian(prices, 10, neighbours), (std::vector<Picks>{{0, 0, 0, 0}, {1, 0, 1, 0}}));
  prices.push_back({Price{0, 1}, Price{1, 0}}); // a weight at which all go
  neighbours.factors.push_back(0);
  neighbours.deferred.push_back({false, true});
  auto plans = lagrangian(prices, 10, neighbours);
  EXPECT_EQ(plans.back(), (Picks{1, 1, 1, 1, 1}));
  neighbours.deferred.assign(5, {false, false}); // as without
  EXPECT_EQ(lagrangian(prices, 10, neighbours), lagrangian(prices, 10));
}

TEST(Search, NearestToALimit) {
  Prices prices(5, {Price{0, 1}, Price{0.1, 0}});
  std::vector<Picks> plans = {{0, 0, 0, 0, 0}, {1, 0, 0, 0, 0}, {1, 1, 0, 0, 0}, {1, 1, 1, 1, 0}, {1, 1, 1, 1, 1}};
  EXPECT_EQ(nearest(plans, prices, 2, 1), (std::vector<Picks>{plans[2], plans[3]}));
  EXPECT_EQ(nearest(plans, prices, 3, 1), (std::vector<Picks>{plans[1], plans[2]}));
  EXPECT_EQ(nearest(plans, prices, 9, 2), (std::vector<Picks>{plans[0], plans[1]}));
  EXPECT_EQ(nearest(plans, prices, -1, 1), (std::vector<Picks>{plans[4]}));
}

/// Plans of four sites whose losses add up to three times what single sites say.
struct Interacting {
  static constexpr double alone = 0.01, together = 0.03;
  Choices options{Choice::full(), Choice::drop()};
  size_t measured = 0;

  Candidate measure(const Choices &plan) {
    Candidate candidate{plan, {}, {}};
    for (const Choice &choice : plan) {
      candidate.measure.added += choice.isFull() ? 0 : together;
      candidate.cost.seconds += choice.isFull() ? 1 : 0;
      candidate.cost.syncs += choice.isFull();
    }
    candidate.measure.kl = candidate.measure.added;
    ++measured;
    return candidate;
  }

  Candidate search(const Budget &budget, size_t trust) {
    Measuring measuring;
    measuring.prices = [&](const Candidate &centre, const std::vector<Choices> &moves) {
      Prices prices;
      for (size_t site = 0; site < moves.size(); ++site) {
        auto &row = prices.emplace_back();
        for (const Choice &choice : moves[site]) {
          double change = (choice.isFull() ? 0 : 1) - (centre.choices[site].isFull() ? 0 : 1);
          row.push_back(Price{centre.measure.kl + alone * change, choice.isFull() ? 1.0 : 0.0});
        }
      }
      return prices;
    };
    measuring.plans = [&](const std::vector<Choices> &plans) {
      std::vector<Candidate> result;
      for (const Choices &plan : plans)
        result.push_back(measure(plan));
      return result;
    };
    std::vector<Candidate> seen{measure(Choices(4))};
    PlanCost exact = seen.front().cost;
    improve(std::vector<Choices>(4, options), Prices(4, {Price{0, 1}, Price{alone, 0}}), budget, exact, {10, 2, trust},
            measuring, seen);
    return *std::min_element(seen.begin(), seen.end(),
                             [&](const Candidate &a, const Candidate &b) { return isBetter(a, b, budget, exact); });
  }
};

TEST(Search, MeasuresWhatPricesPromise) {
  // Two dropped: exp(0.06) <= 1.07 < exp(0.09), though prices promise seven.
  EXPECT_EQ(Interacting().search({Budget::Kind::Quality, 1.07}, 4).cost.syncs, 2);
  EXPECT_EQ(Interacting().search({Budget::Kind::Quality, 1.07}, 1).cost.syncs, 2);
  EXPECT_EQ(Interacting().search({Budget::Kind::Quality, 1.0}, 4).cost.syncs, 4);
}

TEST(Search, GoesToALimitStepByStep) {
  EXPECT_EQ(Interacting().search({Budget::Kind::Syncs, 1}, 1).cost.syncs, 1);
  EXPECT_EQ(Interacting().search({Budget::Kind::Syncs, 3}, 4).cost.syncs, 3);
}

TEST(Search, FrontierOfAResource) {
  auto candidate = [](double added, int64_t syncs, double bytes) {
    Candidate result;
    result.measure.added = added;
    result.cost = {syncs, bytes, 1};
    return result;
  };
  std::vector<Candidate> all{candidate(0, 4, 4), candidate(0.5, 2, 4), candidate(0.1, 4, 1), candidate(0.6, 3, 3)};
  auto losses = [&](Budget::Kind kind) {
    std::vector<double> result;
    for (const Candidate &kept : frontier(all, {kind, 0}))
      result.push_back(kept.measure.added);
    return result;
  };
  EXPECT_EQ(losses(Budget::Kind::Syncs), (std::vector<double>{0.5, 0}));
  EXPECT_EQ(losses(Budget::Kind::Bytes), (std::vector<double>{0.1, 0}));
}

TEST(PlanCost, CountsBytesSyncsAndTime) {
  runtime::Manifest manifest = manifestOf(4, 100, 2);
  CostModel model(manifest, {1e-3, 1e6}, {10, 0.5});
  PlanCost exact = model.of(Choices(4));
  EXPECT_EQ(exact.syncs, 4);
  EXPECT_DOUBLE_EQ(exact.bytesPerToken, 4 * 200);
  // One-shot between two ranks: one message of all bytes.
  EXPECT_NEAR(exact.seconds, 0.5 + 4 * (1e-3 + 2000 / 1e6), 1e-12);
  PlanCost plan = model.of({Choice::drop(), Choice::defer(0.255, Estimate::None), Choice::full(), Choice::full()});
  EXPECT_EQ(plan.syncs, 3);
  EXPECT_DOUBLE_EQ(plan.bytesPerToken, 25 * 2 + 2 * 200); // int(0.255 * 100)
  // An estimate computes: 2 * 10 tokens * rank 3 * (100 channels + 200 features) operations.
  CostModel slow(manifest, {1e-3, 1e6}, {10, 0.5, 1e-6});
  EXPECT_NEAR(slow.of(0, Choice::guess(Feature::Both, 3)).seconds, 2 * 10 * 3 * 300 * 1e-6, 1e-12);
  EXPECT_EQ(slow.of(0, Choice::guess(Feature::Both, 3)).syncs, 0);
  // What sites do beside their messages.
  CostModel busy(manifest, {1e-3, 1e6}, {10, 0.5, 0, 0.01, 0.02, 0.04});
  EXPECT_NEAR(busy.of(Choices(4)).seconds - exact.seconds, 4 * 0.01, 1e-12);
  EXPECT_NEAR(busy.of(0, Choice::drop()).seconds, 0.02, 1e-12);
  EXPECT_NEAR(busy.of(0, Choice::round(4, 8, true)).seconds - model.of(0, Choice::round(4, 8, true)).seconds, 0.04,
              1e-12);
  // 100 channels of 4 bits, eight at a time, 4 scales of a byte, 8 channels in bf16.
  EXPECT_DOUBLE_EQ(model.bytesPerToken(0, Choice::round(4, 8, true)), 13 * 4 + 4 + 8 * 2);
}

/// Two sites of 100 channels, ten tokens, a link of 1 MB/s without latency: a half's sum of bf16 takes 1 ms.
TEST(PlanCost, HalvesTakeTurns) {
  runtime::Manifest manifest = manifestOf(2, 100, 2);
  auto model = [&](double compute, double head, double firstHalf = 0.5, double latency = 0) {
    return CostModel(manifest, {latency, 1e6}, {10, compute, 0, 0, 0, 0.004, head, firstHalf});
  };
  EXPECT_FALSE(model(0.01, 0, 0).of(Choices(2)).halvedSeconds);
  // 2 ms of each half before each sum: all sums but the last one of the second half are hidden.
  EXPECT_NEAR(*model(0.008, 0).of(Choices(2)).halvedSeconds, 0.008 + 0.001, 1e-12);
  // The first half's head, 0.5 ms, goes on beside that sum.
  EXPECT_NEAR(*model(0.009, 0.001).of(Choices(2)).halvedSeconds, 0.008 + 0.001 + 0.0005, 1e-12);
  // 0.25 ms before each sum: the link is never free from the first one on, and the second half's head comes behind it.
  EXPECT_NEAR(*model(0.002, 0.001).of(Choices(2)).halvedSeconds, 0.00025 + 4 * 0.001 + 0.0005, 1e-12);
  // Every message has its latency.
  EXPECT_NEAR(*model(0.002, 0.001, 0.5, 0.003).of(Choices(2)).halvedSeconds, 0.00025 + 4 * 0.004 + 0.0005, 1e-12);
  // A half of 60 %: its messages are 1.2 ms.
  EXPECT_NEAR(*model(0.002, 0, 0.6).of(Choices(2)).halvedSeconds, 0.0006 + 2 * 0.0012 + 2 * 0.0008, 1e-12);
  // Without sums a half goes on; rounding, 4 ms a site, is work.
  EXPECT_NEAR(*model(0.008, 0).of({Choice::drop(), Choice::drop()}).halvedSeconds, 0.008, 1e-12);
  EXPECT_NEAR(*model(0.008, 0).of({Choice::round(8, 0, true), Choice::drop()}).halvedSeconds, 0.012, 1e-12);
  // What is hidden costs nothing: dropping it saves no more than the other half's wait.
  PlanCost exact = model(0.008, 0.004).of(Choices(2)),
           dropped = model(0.008, 0.004).of({Choice::drop(), Choice::drop()});
  EXPECT_NEAR(exact.fastest(), dropped.fastest(), 1e-12);
  EXPECT_GT(exact.seconds, dropped.seconds + 0.003);
}

/// Against what was measured (docs/performance.md): prefill of 512 tokens, two ranks, 61 sums of 512 x 576 floats. In
/// bf16 compute is the median of what whole runs took without waiting, and the head the share of it that it has in f32.
TEST(PlanCost, HalvesAreAsFastAsMeasured) {
  runtime::Manifest manifest = manifestOf(61, 576, 2);
  struct Row {
    double compute, head, bandwidth, whole, halved;
  };
  for (const Row &row : {Row{0.518, 0.064, 1e9, 0.561, 0.534}, Row{0.518, 0.064, 250e6, 0.7645, 0.5515},
                         Row{0.518, 0.064, 100e6, 1.268, 0.830}, Row{0.2, 0.025, 250e6, 0.529, 0.332},
                         Row{0.2, 0.025, 100e6, 0.999, 0.747}}) {
    cost::Link link{20e-6, row.bandwidth};
    CostModel model(manifest, link, {512, row.compute, 0, 0, 0, 0, row.head, 0.5}, sizeof(float), /*rings=*/true);
    PlanCost cost = model.of(Choices(61));
    EXPECT_NEAR(cost.seconds / row.whole, 1, 0.1) << row.compute << " " << row.bandwidth;
    EXPECT_NEAR(*cost.halvedSeconds / row.halved, 1, 0.1) << row.compute << " " << row.bandwidth;
  }
}

TEST(Choice, WhatASiteCanDo) {
  runtime::SiteSpec site = manifestOf(1, 10, 2).sites[0];
  EXPECT_TRUE(isPossible(Choice::drop(), site));
  site.flushes = true;
  EXPECT_FALSE(isPossible(Choice::drop(), site));
  EXPECT_TRUE(isPossible(Choice::keep(0.5, true, Order::Index), site));
  site.notPrivate = "x";
  EXPECT_FALSE(isPossible(Choice::keep(0.5, true, Order::Index), site));
  EXPECT_TRUE(isPossible(Choice::full(), site));
  EXPECT_EQ(Choice::defer(0.25, Estimate::Affine).text(), "defer 0.25 affine");
  EXPECT_EQ(Choice::round(4, 8, true).text(), "4 bits, 8 exact");
  EXPECT_EQ(Choice::round(8, 0, false, Order::Index).text(), "8 bits, plain index");
  EXPECT_FALSE(isPossible(Choice::round(4, 8, true), site)); // its error would have to be summed at once
  EXPECT_TRUE(isPossible(Choice::round(4, 8, false), site));
  site.flushes = false;
  EXPECT_NE(whyNot(Choice::guess(Feature::Input, 4), site).find("not known"), std::string::npos);
  EXPECT_TRUE(isPossible(Choice::guess(Feature::Pending, 4), site));
  EXPECT_EQ(splitName("layers.12.attn"), (std::pair<int64_t, std::string>{12, "attn"}));
  EXPECT_EQ(splitName("odd").first, -1);
}

TEST(Choice, NamesAreRead) {
  for (const char *text :
       {"full", "drop", "drop mean", "drop affine", "drop rank 64 of both", "drop rank 8 of pending", "defer 0.25",
        "defer 0.25 energy affine", "defer 0.5 4 bits, 8 exact affine", "defer 0.5 gain rank 16 of input", "8 bits",
        "4 bits in 64, 8 exact, plain index", "private 0.9", "private 0.98 sqrt energy", "private 0.9 common",
        "defer 0.25 shares", "rate 3.5", "rate 3 affine", "rate 2.5 rank 64 of both"})
    EXPECT_EQ(Choice::parse(text).text(), text);
  EXPECT_EQ(Choice::parse("drop rank 64 of both"), Choice::guess(Feature::Both, 64));
  EXPECT_EQ(Choice::parse("4 bits, 8 exact"), Choice::round(4, 8, true));
  for (const char *text : {"", "defer", "defer 1", "defer 2 affine", "drop rank 0 of both", "drop rank 4", "5 bits",
                           "full 8 bits", "drop 8 bits", "private 0.5 affine", "4 bits in 7", "drop nothing", "rate",
                           "rate 0", "rate 3 4 bits", "rate 3 energy"})
    EXPECT_NE(errorOf([&] { Choice::parse(text); }).find("expected for example"), std::string::npos) << text;
}

TEST(Recipes, PatternsAndRefusals) {
  TemporaryFolder folder;
  runtime::Manifest manifest = manifestOf(4, 10, 2);
  manifest.sites[3].flushes = true;
  std::string path = folder / "recipes.json";
  auto read = [&](const char *text) {
    std::ofstream(path) << text;
    return readRecipes(path, manifest);
  };
  auto recipes =
      read(R"({"plans": [{"label": "a", "sites": {"layers.*.attn": "drop", "*.1.*": "full", "*.1.attn": "8 bits"}}]})");
  EXPECT_EQ(recipes.at(0).choices, (Choices{Choice::drop(), {}, Choice::round(8, 0, true), {}}));
  auto error = [&](const char *text) { return errorOf([&] { read(text); }); };
  EXPECT_NE(error(R"({"plans": [{"label": "a", "sites": {"layers.7.*": "drop"}}]})").find("no site is called"),
            std::string::npos);
  EXPECT_NE(error(R"({"plans": [{"label": "a", "sites": {"*.mlp": "drop"}}]})").find("layers.1.mlp cannot do 'drop'"),
            std::string::npos);
  EXPECT_NE(error("[]").find("expected {\"plans\""), std::string::npos);
  EXPECT_NE(errorOf([&] { readRecipes(folder / "none", manifest); }).find("cannot be read"), std::string::npos);
}

/// Two ranks whose T = t0 + t1 is a line in each t.
runtime::Snapshot lines(int64_t rows) {
  runtime::Snapshot there;
  there.rows = rows, there.channels = 2;
  there.ranks.resize(2);
  for (int64_t r = 0; r < rows; ++r) {
    auto x = static_cast<float>(r);
    // Channel 0: t0 = x, t1 = 3 x + 2. Channel 1: t0 = 0.1 x, t1 = 0, half of it pending.
    there.ranks[0].partial.insert(there.ranks[0].partial.end(), {x, 0.05f * x});
    there.ranks[0].pending.insert(there.ranks[0].pending.end(), {0, 0.05f * x});
    there.ranks[1].partial.insert(there.ranks[1].partial.end(), {3 * x + 2, 0});
  }
  return there;
}

TEST(Fit, LinesAreFound) {
  SiteMoments moments(2, 2);
  moments.add(lines(50));
  moments.add(lines(50));
  runtime::SiteEstimate affine = moments.estimate(Estimate::Affine, {});
  EXPECT_NEAR(affine.a[0], 4, 1e-4); // T = 4 x + 2 from t0 = x
  EXPECT_NEAR(affine.b[0], 2, 1e-3);
  EXPECT_NEAR(affine.a[2], 4.0 / 3, 1e-4); // from t1 = 3 x + 2
  EXPECT_NEAR(affine.b[2], 2 - 8.0 / 3, 1e-3);
  EXPECT_EQ(affine.a[3], 1); // a rank that has nothing there: the mean only
  EXPECT_NEAR(affine.b[3], 0.1 * 24.5, 1e-4);
  std::vector<double> energy = moments.energy(), left = moments.residual(Estimate::Affine);
  EXPECT_GT(energy[0], energy[1]);
  EXPECT_NEAR(left[0] / energy[0], 0, 1e-6);
  EXPECT_GT(left[1], left[0]); // after the estimate the other channel is what is left
  EXPECT_EQ(orderOf(Choice::defer(0.5, Estimate::None, Order::Energy), moments, 2), (std::vector<int64_t>{0, 1}));
  EXPECT_EQ(orderOf(Choice::defer(0.5, Estimate::Affine), moments, 2), (std::vector<int64_t>{1, 0}));
  EXPECT_EQ(orderOf(Choice::defer(0.5, Estimate::None, Order::Common), moments, 2, {1, 2}),
            (std::vector<int64_t>{1, 0}));
  runtime::SiteEstimate some = moments.estimate(Estimate::Affine, {0});
  EXPECT_EQ(some.a[0], 1);
  EXPECT_EQ(some.b[0], 0);
}

TEST(PlanFile, IsReadAsItWasWritten) {
  TemporaryFolder folder;
  runtime::Manifest manifest = manifestOf(6, 6, 2);
  auto full = std::make_shared<SitePolicy>(), drop = std::make_shared<SitePolicy>(),
       defer = std::make_shared<SitePolicy>(), keep = std::make_shared<SitePolicy>();
  drop->full = defer->full = keep->full = false;
  defer->shared = {4, 1};
  defer->estimate.emplace();
  defer->estimate->a.assign(12, 0.5f);
  defer->estimate->b.assign(12, 0.25f);
  auto guess = std::make_shared<SitePolicy>(*drop);
  guess->estimate = defer->estimate;
  guess->estimate->inner = 3;
  guess->estimate->feature = Feature::Both;
  guess->estimate->u.assign(2 * 6 * 3, 0.125f);
  guess->estimate->v.assign(2 * 3 * 12, 2.0f);
  manifest.sites[5].input = 6;
  keep->shared = {5, 0, 1};
  keep->isPrivate = true;
  keep->scale = 1.5f;
  auto round = std::make_shared<SitePolicy>();
  round->shared = {3, 1, 2, 0, 5, 4};
  round->rounding = {6, 4, 16, {0, 1}};
  round->feedback = false;
  writePlan({full, drop, defer, keep, round, guess}, manifest, folder.path.string(), "plan");
  Policies read = readPolicies(runtime::readPlan(folder / "plan.json"), manifest);
  EXPECT_TRUE(read[0]->full);
  EXPECT_TRUE(!read[1]->full && read[1]->shared.empty() && !read[1]->estimate);
  EXPECT_EQ(read[2]->shared, defer->shared);
  ASSERT_TRUE(read[2]->estimate);
  EXPECT_EQ(read[2]->estimate->a, defer->estimate->a);
  EXPECT_EQ(read[2]->estimate->b, defer->estimate->b);
  EXPECT_EQ(read[3]->shared, keep->shared);
  EXPECT_TRUE(read[3]->isPrivate);
  EXPECT_FLOAT_EQ(read[3]->scale, 1.5f);
  EXPECT_TRUE(read[4]->full && !read[4]->feedback);
  EXPECT_EQ(read[4]->shared, round->shared);
  ASSERT_TRUE(read[4]->rounding);
  EXPECT_EQ(read[4]->rounding->bits, 4);
  EXPECT_EQ(read[4]->rounding->block, 16);
  EXPECT_EQ(read[4]->rounding->exact, (std::vector<int64_t>{0, 1}));
  ASSERT_TRUE(read[5]->estimate);
  EXPECT_EQ(read[5]->estimate->u, guess->estimate->u);
  EXPECT_EQ(read[5]->estimate->v, guess->estimate->v);
  EXPECT_EQ(read[5]->estimate->feature, Feature::Both);
}

} // namespace
