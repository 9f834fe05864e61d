// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One ablation: the program, its texts, and what has been measured.
#ifndef CAAT_LIB_ABLATE_SESSION_H
#define CAAT_LIB_ABLATE_SESSION_H

#include "caat/Ablate/Ablation.h"
#include "caat/Ablate/Evaluator.h"
#include <chrono>

namespace caat::ablate {

using Clock = std::chrono::steady_clock;
double secondsSince(Clock::time_point begin);
runtime::EngineOptions engineOptions(const Options &options);

class Session {
public:
  explicit Session(const Options &options);
  Result run();
  const runtime::Manifest &manifest() const { return engine.manifest(); }

private:
  // Session.cpp: measuring.
  int64_t chooseBatch() const;
  std::string identity() const;
  /// Samples from the first one on.
  Text cut(int64_t first, int64_t count) const;
  std::function<void(const Work &)> watch(const std::string &what);
  std::function<void(size_t)> watchSites(const std::string &what);
  std::vector<Measure> measure(Evaluator &evaluator, const std::vector<Evaluator::Plan> &plans,
                               const std::string &what);
  Evaluator::Plan planOf(const Choices &choices);
  std::vector<Candidate> measureAll(const std::vector<Choices> &plans, const std::string &what);
  size_t numSites() const { return manifest().sites.size(); }

  // Workload.cpp: time.
  /// The step that time is reckoned for.
  struct Step {
    int64_t tokens;
    double firstHalf; // share of them that the first of two halves has; 0: it cannot be divided, or is too short
  };
  Step describeStep() const;
  /// Runs it.
  void step(runtime::Engine &engine, const runtime::SiteRange &range = {}) const;
  Workload measureStep();
  double measureHead();

  // Orders.cpp: what sites tell alone, and one after another.
  void sweep(Result &result);
  void algorithm1(Result &result);
  void greedy(Result &result);
  void proposeThresholds(Result &result);

  // Plans.cpp: what is found, and what others do.
  Prices alone(const Result &result, const Budget &budget) const;
  Prices around(const Candidate &centre, const std::vector<Choices> &moves, const Budget &budget);
  Neighbours neighbours(const Result &result);
  void search(Result &result);
  void keepFrontiers(Result &result);
  void addOthers(Result &result);
  void addPlan(Result &result, const std::string &family, const std::string &label, const Choices &choices);
  void measureHeldOut(Result &result);

  // Chosen.cpp: the chosen plan at work.
  void continueSamples(Result &result);
  void timeOverLink(Result &result);
  void warn(Result &result);

  Options options;
  runtime::Engine engine;
  runtime::TensorMap data; // all tokens, or all inputs
  int64_t batch;
  Store store;
  Text testText, searchText, priceText, fitText;
  Evaluator searcher, pricer, tester;
  Fitter fitter;
  std::optional<CostModel> cost;
  std::vector<Choices> choices; // options of each site; the first is full
  std::vector<Candidate> seen;  // plans measured as wholes on the search text
};

} // namespace caat::ablate

#endif
