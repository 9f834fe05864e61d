// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Ablate/Ablation.h"
#include "caat/runtime/Error.h"
#include "caat/runtime/File.h"
#include "caat/runtime/Npy.h"
#include "caat/runtime/Tasks.h"
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>

namespace caat::ablate {

using runtime::Policies;

namespace {

using Clock = std::chrono::steady_clock;

double secondsSince(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

std::string duration(double seconds) {
  char text[32];
  if (seconds < 90)
    std::snprintf(text, sizeof text, "%.0f s", seconds);
  else
    std::snprintf(text, sizeof text, "%.0f min", seconds / 60);
  return text;
}

/// FNV-1a, enough to tell texts and programs apart.
uint64_t hashBytes(const void *data, size_t bytes, uint64_t hash = 0xcbf29ce484222325) {
  auto *at = static_cast<const unsigned char *>(data);
  for (size_t i = 0; i < bytes; ++i)
    hash = (hash ^ at[i]) * 0x100000001b3;
  return hash;
}

/// What an option at every site is tried with; option 0 is full.
Choices makeOptions() {
  return {Choice::full(),
          Choice::round(8, 0, true),
          Choice::round(4, 8, true),
          Choice::round(3, 8, true),
          Choice::round(8, 0, false),
          Choice::defer(0.25, Estimate::Affine),
          Choice::drop(),
          Choice::drop(Estimate::Affine)};
}

class Ablation {
public:
  explicit Ablation(const Options &options);
  Result run();
  const runtime::Manifest &manifest() const { return engine.manifest(); }

private:
  static runtime::EngineOptions engineOptions(const Options &options);
  int64_t chooseBatch() const;
  std::string identity(const runtime::Tensor &tokens) const;
  std::function<void(const Work &)> watch(const std::string &what);
  std::vector<Measure> measure(Evaluator &evaluator, const std::vector<Evaluator::Plan> &plans,
                               const std::string &what);
  Evaluator::Plan planOf(const Choices &choices);
  std::vector<Candidate> measureAll(const std::vector<Choices> &plans, const std::string &what);
  Workload measureStep();

  void sweep(Result &result);
  void algorithm1(Result &result);
  void greedy(Result &result);
  void proposeThresholds(Result &result);
  void search(Result &result);
  void test(Result &result);
  void addPlan(Result &result, const std::string &family, const std::string &label, const Choices &choices);

  Options options;
  runtime::Engine engine;
  runtime::Tensor tokens;
  int64_t batch;
  Store store;
  Text testText, searchText, fitText;
  Evaluator searcher, tester;
  Fitter fitter;
  std::optional<CostModel> cost;
  Choices choices; // options of a site
  Prices prices;
  std::vector<Candidate> seen; // measured on the search text
  size_t numSites() const { return manifest().sites.size(); }
};

runtime::EngineOptions Ablation::engineOptions(const Options &options) {
  runtime::EngineOptions result;
  result.threadsPerRank = options.threadsPerRank;
  return result;
}

int64_t Ablation::chooseBatch() const {
  if (options.batch > 0)
    return options.batch;
  const runtime::ArraySpec &logits = manifest().outputs[runtime::logitsOutput(manifest())];
  constexpr int64_t room = int64_t{1} << 30, unknown = 1 << 17;
  int64_t row = options.length * logits.shape.back().asConstant().value_or(unknown) * manifest().tp * 4;
  return std::clamp<int64_t>(room / row, 1, options.samples);
}

std::string Ablation::identity(const runtime::Tensor &all) const {
  uint64_t text = hashBytes(all.data.get(), all.bytes());
  uint64_t weights = hashBytes("", 0);
  for (int rank = 0; rank < manifest().tp; ++rank) {
    // Some pages from all over the file: reading gigabytes would take longer than what they guard.
    runtime::MappedFile file = runtime::MappedFile::open(engine.program().weightsPath(rank));
    constexpr size_t page = 4096, pages = 512;
    for (size_t i = 0; i < pages && file.size() > 0; ++i) {
      size_t at = file.size() / pages * i;
      weights = hashBytes(file.data() + at, std::min(page, file.size() - at), weights);
    }
  }
  char buffer[160];
  std::snprintf(buffer, sizeof buffer, "program %s, weights %016llx, text %016llx, %lld+%lld+%lld windows of %lld",
                manifest().digest.c_str(), static_cast<unsigned long long>(weights),
                static_cast<unsigned long long>(text), static_cast<long long>(options.testSamples),
                static_cast<long long>(options.samples), static_cast<long long>(options.fitSamples),
                static_cast<long long>(options.length));
  return buffer;
}

Ablation::Ablation(const Options &given)
    : options(given), engine(options.program, engineOptions(options)), tokens(runtime::readNpy(options.tokens)),
      batch(chooseBatch()), store(options.output + "/measurements.jsonl", identity(tokens)),
      testText(Text::cut(tokens, 0, options.testSamples, options.length, batch)),
      searchText(Text::cut(tokens, options.testSamples * options.length, options.samples, options.length, batch)),
      fitText(Text::cut(tokens, (options.testSamples + options.samples) * options.length, options.fitSamples,
                        options.length, batch)),
      searcher(engine, searchText, size_t{4} << 30, store, "search: "),
      tester(engine, testText, size_t{1} << 30, store, "test: "), fitter(engine, fitText), choices(makeOptions()) {
  if (manifest().sites.empty())
    runtime::failInput(options.program, ": the program has no switchable sync points; compile the model for at least "
                                        "2 ranks with --switchable");
}

std::function<void(const Work &)> Ablation::watch(const std::string &what) {
  auto begin = Clock::now();
  return [this, what, begin](const Work &work) {
    if (!options.progress)
      return;
    double seconds = secondsSince(begin);
    double left =
        work.done > 0 ? seconds / static_cast<double>(work.done) * static_cast<double>(work.total - work.done) : 0;
    options.progress(what + ": " + std::to_string(work.total > 0 ? 100 * work.done / work.total : 100) + " %, " +
                     duration(left) + " left");
  };
}

std::vector<Measure> Ablation::measure(Evaluator &evaluator, const std::vector<Evaluator::Plan> &plans,
                                       const std::string &what) {
  std::vector<Measure> measures;
  for (const Losses &losses : evaluator.run(plans, watch(what)))
    measures.push_back(Measure::of(losses));
  return measures;
}

Evaluator::Plan Ablation::planOf(const Choices &plan) { return {describe(plan, manifest()), fitter.fit(plan)}; }

std::vector<Candidate> Ablation::measureAll(const std::vector<Choices> &plans, const std::string &what) {
  std::vector<Evaluator::Plan> fitted;
  for (const Choices &plan : plans) {
    if (options.progress)
      options.progress(what + ": fitting plan " + std::to_string(fitted.size() + 1) + " of " +
                       std::to_string(plans.size()));
    fitted.push_back(planOf(plan));
  }
  std::vector<Measure> measures = measure(searcher, fitted, what);
  std::vector<Candidate> result;
  for (size_t i = 0; i < plans.size(); ++i)
    result.push_back({plans[i], measures[i], cost->of(plans[i])});
  return result;
}

/// The step's compute on the rank that needs most, waiting left out; the least of three runs.
Workload Ablation::measureStep() {
  engine.setPolicies({});
  int64_t length = std::min(options.stepTokens, tokens.shape[0]);
  if (manifest().maxLength)
    length = std::min(length, *manifest().maxLength);
  runtime::Tensor step = tokens;
  step.shape = {1, length};
  double least = INFINITY;
  for (int run = 0; run < 4; ++run) { // the first one warms up
    engine.resetProfile();
    engine.start(length);
    engine.step(step);
    double most = 0;
    for (int rank = 0; rank < engine.size(); ++rank)
      most = std::max(most, engine.profile(rank).total - engine.profile(rank).communication);
    if (run > 0)
      least = std::min(least, most);
  }
  return {length, least};
}

/// Every option at every site, all others full.
void Ablation::sweep(Result &result) {
  std::vector<Policies> fitted = fitter.fitEach(choices, [&](size_t sites) {
    if (options.progress)
      options.progress("fitting orders and estimates: site " + std::to_string(sites) + " of " +
                       std::to_string(numSites()));
  });
  std::vector<Evaluator::Plan> plans;
  std::vector<std::pair<size_t, size_t>> which; // site, option
  auto full = std::make_shared<runtime::SitePolicy>();
  for (size_t site = 0; site < numSites(); ++site)
    for (size_t option = 1; option < choices.size(); ++option)
      if (fitted[site][option]) {
        Choices plan(numSites());
        plan[site] = choices[option];
        Policies policies(numSites(), full);
        policies[site] = fitted[site][option];
        plans.push_back({describe(plan, manifest()), std::move(policies)});
        which.emplace_back(site, option);
      }
  auto begin = Clock::now();
  std::vector<Policies> all;
  for (const Evaluator::Plan &plan : plans)
    all.push_back(plan.policies);
  std::vector<Measure> measures = measure(searcher, plans, "single sites");
  result.sweepSeconds = secondsSince(begin);
  result.sweepRatio =
      static_cast<double>(countSites(all)) / static_cast<double>(numSites() * std::max<size_t>(plans.size(), 1));
  prices.assign(numSites(), std::vector<std::optional<Price>>(choices.size()));
  for (size_t site = 0; site < numSites(); ++site)
    prices[site][0] = Price{0, cost->seconds(site, choices[0])};
  for (size_t i = 0; i < which.size(); ++i) {
    auto [site, option] = which[i];
    result.sensitivity.push_back({site, choices[option], measures[i]});
    prices[site][option] = Price{std::max(measures[i].kl, 0.0), cost->seconds(site, choices[option])};
  }
}

/// SPD's Algorithm 1: attention sites dropped from the last to the first, each with all behind it.
void Ablation::algorithm1(Result &result) {
  std::vector<size_t> sites;
  for (size_t site = numSites(); site-- > 0;)
    if (splitName(manifest().sites[site].name).second != "mlp" && isPossible(Choice::drop(), manifest().sites[site]))
      sites.push_back(site);
  std::vector<Evaluator::Plan> plans;
  Choices plan(numSites());
  for (size_t site : sites) {
    plan[site] = Choice::drop();
    plans.push_back(planOf(plan));
  }
  std::vector<Measure> measures = measure(searcher, plans, "Algorithm 1");
  double before = 0;
  for (size_t i = 0; i < sites.size(); ++i) {
    result.algorithm1.push_back({sites[i], measures[i].added - before, measures[i]});
    before = measures[i].added;
  }
}

/// Sites dropped one after another, always the one that costs least with those dropped already. Losses mostly grow with
/// the others dropped, so only the most promising few are measured in each step.
void Ablation::greedy(Result &result) {
  constexpr size_t width = 3;
  constexpr double enough = 1.5; // times the exact perplexity
  Choice drop = Choice::drop();
  std::vector<std::pair<double, size_t>> open; // the least that a site is known to cost, and the site
  for (const Sensitivity &figure : result.sensitivity)
    if (figure.choice == drop)
      open.emplace_back(figure.measure.kl, figure.site);
  Choices plan(numSites());
  Measure before = result.exactSearch;
  before.kl = before.added = 0;
  for (size_t step = 0; step < options.greedySteps && !open.empty() && before.ratio() < enough; ++step) {
    std::sort(open.begin(), open.end());
    size_t tried = std::min(width, open.size());
    std::vector<Choices> plans;
    for (size_t i = 0; i < tried; ++i) {
      plans.push_back(plan);
      plans.back()[open[i].second] = drop;
    }
    std::vector<Candidate> measured = measureAll(plans, "greedy order, site " + std::to_string(step + 1));
    size_t best = 0;
    for (size_t i = 0; i < tried; ++i) {
      open[i].first = measured[i].measure.kl - before.kl;
      if (measured[i].measure.kl < measured[best].measure.kl)
        best = i;
    }
    plan = plans[best];
    result.greedy.push_back({open[best].second, measured[best].measure.added - before.added, measured[best].measure});
    before = measured[best].measure;
    open.erase(open.begin() + static_cast<std::ptrdiff_t>(best));
    for (Candidate &candidate : measured)
      seen.push_back(std::move(candidate));
  }
}

/// Thresholds between insensitive, sensitive and extremely sensitive sites, where the user gives none: the sorted
/// losses of dropping one site are cut at their two widest gaps, in logarithms.
void Ablation::proposeThresholds(Result &result) {
  if (options.thresholds.size() == 2) {
    result.tau1 = options.thresholds[0], result.tau2 = options.thresholds[1];
    result.tauReason = "given";
    return;
  }
  std::vector<double> losses;
  for (const Sensitivity &figure : result.sensitivity)
    if (figure.choice == Choice::drop())
      losses.push_back(std::max(figure.measure.kl, 1e-6));
  std::sort(losses.begin(), losses.end());
  if (losses.size() < 3) {
    result.tauReason = "too few sites to propose any";
    return;
  }
  // tau1: three times the median, below which a site hides among its like; tau2: the widest gap above that.
  result.tau1 = 3 * losses[losses.size() / 2];
  double widest = 0;
  result.tau2 = 10 * losses[losses.size() / 2];
  for (size_t i = 0; i + 1 < losses.size(); ++i)
    if (losses[i] > result.tau1 && losses[i + 1] / losses[i] > widest) {
      widest = losses[i + 1] / losses[i];
      result.tau2 = std::sqrt(losses[i] * losses[i + 1]);
    }
  char text[200];
  std::snprintf(text, sizeof text,
                "proposed: tau1 is three times the median divergence of a dropped site, tau2 lies in the widest gap "
                "above it");
  result.tauReason = text;
}

void Ablation::search(Result &result) {
  std::vector<Choices> plans;
  for (const std::vector<size_t> &picked : lagrangian(prices, 24)) {
    Choices plan;
    for (size_t option : picked)
      plan.push_back(choices[option]);
    plans.push_back(std::move(plan));
  }
  for (Candidate &candidate : measureAll(plans, "search"))
    seen.push_back(std::move(candidate));
  const Candidate *start = nullptr;
  for (const Candidate &candidate : seen)
    if (fits(candidate, options.budget, result.exactCost) && (!start || isBetter(candidate, *start, options.budget)))
      start = &candidate;
  if (!start) {
    result.warnings.push_back("no plan of the search keeps to the budget; the exact plan is written");
    result.plans.push_back({"search", "the exact plan", {Choices(numSites()), {}, result.exactCost}, {}, true, false});
    return;
  }
  Candidate first = *start; // seen grows
  size_t round = 0;
  Candidate best = refine(
      first, choices, prices, options.budget, result.exactCost, 4, options.rounds,
      [&](const std::vector<Choices> &moves) {
        return measureAll(moves, "refining, round " + std::to_string(++round));
      },
      seen);
  std::vector<Candidate> kept = frontier(seen);
  for (Candidate &candidate : kept) {
    bool chosen = candidate.choices == best.choices;
    result.plans.push_back({"search", "", std::move(candidate), {}, chosen, true});
  }
  if (std::none_of(result.plans.begin(), result.plans.end(), [](const NamedPlan &plan) { return plan.isChosen; }))
    result.plans.push_back({"search", "", best, {}, true, false});
}

void Ablation::addPlan(Result &result, const std::string &family, const std::string &label, const Choices &plan) {
  for (size_t site = 0; site < numSites(); ++site)
    if (!plan[site].isFull() && !isPossible(plan[site], manifest().sites[site]))
      return;
  result.plans.push_back({family, label, {plan, {}, cost->of(plan)}, {}, false, false});
}

/// What others do, and every plan on text that was used for nothing else.
void Ablation::test(Result &result) {
  std::vector<size_t> bySensitivity; // attention sites, as Algorithm 1 ranks them
  for (const OrderStep &step : result.algorithm1)
    bySensitivity.push_back(step.site);
  std::vector<double> value(numSites());
  for (const OrderStep &step : result.algorithm1)
    value[step.site] = step.value;
  std::sort(bySensitivity.begin(), bySensitivity.end(),
            [&](size_t a, size_t b) { return std::tie(value[a], a) < std::tie(value[b], b); });
  for (double share : {0.3, 0.5, 0.7, 1.0}) {
    Choices plan(numSites());
    auto count = static_cast<size_t>(std::lround(share * static_cast<double>(bySensitivity.size())));
    for (size_t i = 0; i < count; ++i)
      plan[bySensitivity[i]] = Choice::drop();
    if (count > 0)
      addPlan(result, "spd", "SPD, " + std::to_string(count) + " attention sites", plan);
  }
  for (double p : {0.9, 0.75}) {
    Choices plan;
    for (const runtime::SiteSpec &site : manifest().sites) {
      Choice keep = Choice::keep(p, false, Order::Index);
      plan.push_back(isPossible(keep, site) ? keep : Choice::full());
    }
    char label[64];
    std::snprintf(label, sizeof label, "CAAT-Net's rule, p = %g", p);
    if (std::any_of(plan.begin(), plan.end(), [](const Choice &choice) { return !choice.isFull(); }))
      addPlan(result, "caat", label, plan);
  }
  for (int bits : {8, 4, 3})
    for (bool feedback : {true, false}) {
      Choices plan;
      for (const runtime::SiteSpec &site : manifest().sites) {
        Choice rounded = Choice::round(bits, feedback ? 8 : 0, feedback, feedback ? Order::Magnitude : Order::Index);
        plan.push_back(isPossible(rounded, site) ? rounded : Choice::round(8, 0, false));
      }
      addPlan(result, feedback ? "bits, feedback" : "bits, plain",
              std::to_string(bits) + " bits" + (feedback ? ", 8 exact, with feedback" : " without feedback"), plan);
    }
  std::vector<Evaluator::Plan> plans;
  for (NamedPlan &named : result.plans) {
    if (options.progress)
      options.progress("held-out text: fitting plan " + std::to_string(plans.size() + 1) + " of " +
                       std::to_string(result.plans.size()));
    plans.push_back(planOf(named.plan.choices));
    named.policies = plans.back().policies;
  }
  plans.push_back(
      {describe(Choices(numSites()), manifest()), Policies(numSites(), std::make_shared<runtime::SitePolicy>())});
  std::vector<Measure> measures = measure(tester, plans, "held-out text");
  for (size_t i = 0; i < result.plans.size(); ++i) {
    NamedPlan &named = result.plans[i];
    named.plan.measure = measures[i];
    if (named.label.empty())
      named.label = std::to_string(result.exactCost.syncs - named.plan.cost.syncs) + " of " +
                    std::to_string(result.exactCost.syncs) + " syncs dropped";
  }
  result.exactTest = measures.back();
}

Result Ablation::run() {
  Result result;
  result.workload = measureStep();
  cost.emplace(manifest(), options.link, result.workload);
  result.exactCost = cost->of(Choices(numSites()));
  Choices exact(numSites());
  auto begin = Clock::now();
  bool known = store.find("search: exact", 0) != nullptr;
  result.exactSearch =
      measure(searcher, {{describe(exact, manifest()), Policies(numSites(), std::make_shared<runtime::SitePolicy>())}},
              "exact program")
          .front();
  if (!known) // the reference and the plan that is equal to it
    result.evaluationSeconds = secondsSince(begin) / 2;
  sweep(result);
  algorithm1(result);
  greedy(result);
  proposeThresholds(result);
  search(result);
  test(result);
  result.measured = store.size();
  return result;
}

} // namespace

std::pair<int64_t, std::string> splitName(const std::string &site) {
  size_t first = site.find('.'), last = site.rfind('.');
  if (first == std::string::npos || first == last)
    return {-1, site};
  int64_t layer = 0;
  for (size_t i = first + 1; i < last; ++i) {
    if (site[i] < '0' || site[i] > '9' || layer > 1'000'000)
      return {-1, site};
    layer = layer * 10 + (site[i] - '0');
  }
  return {layer, site.substr(last + 1)};
}

Result ablate(const Options &options) {
  Ablation ablation(options);
  Result result = ablation.run();
  writeResults(options, result, ablation.manifest());
  return result;
}

} // namespace caat::ablate
