// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Ablate/Ablation.h"
#include "caat/Ablate/PlanFile.h"
#include "caat/Ablate/Store.h"
#include "caat/runtime/Error.h"
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
  EXPECT_EQ(text.at(0).shape, (runtime::Shape{2, 5}));
  EXPECT_EQ(text.at(1).shape, (runtime::Shape{1, 5}));
  EXPECT_EQ(text.at(1).as<int64_t>()[0], 14);
  EXPECT_NE(errorOf([&] { Text::cut(tokens, 6, 3, 5, 2); }).find("too few tokens"), std::string::npos);
}

TEST(Store, GoesOnBehindALineThatIsCutOff) {
  TemporaryFolder folder;
  std::string path = folder / "measurements.jsonl";
  {
    Store store(path, "a model");
    store.add("plan", 0, {{0.1, 1.0 / 3}, {1e-9, 2}, {1, 0}});
  }
  std::ofstream(path, std::ios::app) << "{\"plan\": \"torn";
  Store store(path, "a model");
  const runtime::Judgement *known = store.find("plan", 0);
  ASSERT_NE(known, nullptr);
  EXPECT_EQ(known->nll, (std::vector<double>{0.1, 1.0 / 3})); // every digit
  EXPECT_EQ(known->agree, (std::vector<uint8_t>{1, 0}));
  EXPECT_EQ(store.find("torn", 0), nullptr);
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

TEST(Budget, Texts) {
  EXPECT_EQ(Budget::parse("ppl:1.05").kind, Budget::Kind::Perplexity);
  EXPECT_DOUBLE_EQ(Budget::parse("time:3ms").limit, 0.003);
  EXPECT_DOUBLE_EQ(Budget::parse("time:250us").limit, 250e-6);
  EXPECT_DOUBLE_EQ(Budget::parse("bytes:0.5").limit, 0.5);
  EXPECT_DOUBLE_EQ(Budget::parse("syncs:40").limit, 40);
  for (const char *text :
       {"", "ppl", "ppl:", "ppl:0.9", "time:3h", "bytes:0", "bytes:x", "quality:1", "ppl:nan", "ppl:1.05x"})
    EXPECT_NE(errorOf([&] { Budget::parse(text); }).find("expected ppl:RATIO"), std::string::npos) << text;
}

TEST(Search, LagrangianFindsTheConvexPlans) {
  // Site 0 saves much for little, site 1 little for much, site 2 cannot.
  Prices prices = {{Price{0, 1}, Price{0.01, 0}}, {Price{0, 1}, Price{1, 0.5}}, {Price{0, 1}, std::nullopt}};
  auto plans = lagrangian(prices, 10);
  EXPECT_EQ(plans, (std::vector<std::vector<size_t>>{{0, 0, 0}, {1, 0, 0}, {1, 1, 0}}));
  EXPECT_EQ(lagrangian(prices, 2), (std::vector<std::vector<size_t>>{{0, 0, 0}, {1, 1, 0}}));
}

TEST(Search, RefineStopsAtTheBudget) {
  // Losses add up to three times what single sites say: the search must measure, not reckon.
  Prices prices(4, {Price{0, 1}, Price{0.01, 0}});
  Choices options = {Choice::full(), Choice::drop()};
  MeasureFunction measure = [&](const std::vector<Choices> &plans) {
    std::vector<Candidate> result;
    for (const Choices &plan : plans) {
      Candidate candidate{plan, {}, {}};
      for (const Choice &choice : plan) {
        candidate.measure.added += choice.isFull() ? 0 : 0.03;
        candidate.cost.seconds += choice.isFull() ? 1 : 0;
      }
      candidate.measure.kl = candidate.measure.added;
      result.push_back(candidate);
    }
    return result;
  };
  std::vector<Candidate> seen;
  Candidate start = measure({Choices(4)}).front();
  Candidate best = refine(start, options, prices, {Budget::Kind::Perplexity, 1.07}, {}, 2, 10, measure, seen);
  EXPECT_DOUBLE_EQ(best.cost.seconds, 2); // two dropped: exp(0.06) <= 1.07 < exp(0.09)
  EXPECT_EQ(seen.size(), 6u);             // two rounds that helped, one that did not
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
  // 100 channels of 4 bits, eight at a time, 4 scales of a byte, 8 channels in bf16.
  EXPECT_DOUBLE_EQ(model.bytesPerToken(0, Choice::round(4, 8, true)), 13 * 4 + 4 + 8 * 2);
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
  EXPECT_EQ(splitName("layers.12.attn"), (std::pair<int64_t, std::string>{12, "attn"}));
  EXPECT_EQ(splitName("odd").first, -1);
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
  runtime::SiteEstimate some = moments.estimate(Estimate::Affine, {0});
  EXPECT_EQ(some.a[0], 1);
  EXPECT_EQ(some.b[0], 0);
}

TEST(PlanFile, IsReadAsItWasWritten) {
  TemporaryFolder folder;
  runtime::Manifest manifest = manifestOf(5, 6, 2);
  auto full = std::make_shared<SitePolicy>(), drop = std::make_shared<SitePolicy>(),
       defer = std::make_shared<SitePolicy>(), keep = std::make_shared<SitePolicy>();
  drop->full = defer->full = keep->full = false;
  defer->shared = {4, 1};
  defer->estimate.emplace();
  defer->estimate->a.assign(12, 0.5f);
  defer->estimate->b.assign(12, 0.25f);
  keep->shared = {5, 0, 1};
  keep->isPrivate = true;
  keep->scale = 1.5f;
  auto round = std::make_shared<SitePolicy>();
  round->shared = {3, 1, 2, 0, 5, 4};
  round->rounding = {6, 4, 16, {0, 1}};
  round->feedback = false;
  writePlan({full, drop, defer, keep, round}, manifest, folder.path.string(), "plan");
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
}

} // namespace
