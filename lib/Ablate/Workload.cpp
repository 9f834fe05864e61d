// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The step that time is reckoned for: what it takes on this machine, without messages.
#include "Session.h"
#include "caat/runtime/Tasks.h"
#include <algorithm>
#include <cmath>

namespace caat::ablate {

int64_t Session::step(runtime::Engine &on) const {
  if (searchText.isTokens()) {
    runtime::Tensor tokens = data.begin()->second;
    int64_t length = std::min({options.stepTokens, tokens.shape[0], manifest().maxLength.value_or(options.stepTokens)});
    tokens.shape = {1, length};
    on.start(length);
    on.step(tokens);
    return length;
  }
  const runtime::TensorMap inputs = searchText.at(0);
  on.infer(inputs);
  int64_t rows = 0;
  for (const auto &[name, tensor] : inputs)
    rows = std::max(rows, tensor.shape.size() > 1 ? tensor.shape[0] * tensor.shape[1] : tensor.shape[0]);
  return rows;
}

namespace {

/// The program with all sites alike.
struct Variant {
  runtime::Policies policies;
  double others;             // sites that do something else than sum in full
  double seconds = INFINITY; // of the step
};

} // namespace

/// The step's compute on the rank that needs most, without its sites, and what sites do there beside their messages:
/// from the exact program, one with half of the channels deferred at every site, and one with all of them rounded. Of
/// three runs the least. A run that goes on takes what the first one measured: plans are chosen by it.
Workload Session::measureStep() {
  std::string what = "a step of at most " + std::to_string(options.stepTokens) + " tokens";
  if (const std::vector<double> *known = store.findTimes(what); known && known->size() == 6) {
    const std::vector<double> &k = *known;
    return {static_cast<int64_t>(k[0]), k[1], k[2], k[3], k[4], k[5]};
  }
  std::vector<Variant> variants;
  for (Choice choice :
       {Choice::full(), Choice::defer(0.5, Estimate::None, Order::Index), Choice::round(8, 0, true, Order::Index)}) {
    Choices plan;
    for (const runtime::SiteSpec &site : manifest().sites) {
      Choice mine = choice;
      mine.feedback = isPossible(choice, site);
      plan.push_back(isPossible(mine, site) ? mine : Choice::full());
    }
    auto others = std::count_if(plan.begin(), plan.end(), [](const Choice &c) { return !c.isFull(); });
    variants.push_back({fitter.fit(plan), static_cast<double>(others)});
  }
  int64_t tokens = 0;
  double compute = INFINITY;
  for (int run = 0; run < 4; ++run)
    for (Variant &variant : variants) {
      engine.setPolicies(variant.policies);
      engine.resetProfile();
      auto begin = Clock::now();
      tokens = step(engine);
      double seconds = secondsSince(begin);
      if (run == 0) // warms up
        continue;
      variant.seconds = std::min(variant.seconds, seconds);
      runtime::Profile profile = engine.slowestProfile();
      compute = std::min(compute, profile.total - profile.communication);
    }
  auto sites = static_cast<double>(numSites());
  double sum = std::max(variants[0].seconds - compute, 0.0) / sites;
  // What is neither compute nor the work of full sums.
  auto work = [&](const Variant &variant) {
    double rest = variant.seconds - compute - (sites - variant.others) * sum;
    return variant.others > 0 ? std::max(rest / variant.others, 0.0) : 0;
  };
  // Estimates are products like the model's own.
  double flops = 0;
  for (const runtime::ParameterSpec &spec : engine.manifest().parameters)
    if (spec.linear)
      flops += 2 * static_cast<double>(tokens * spec.k() * spec.n());
  Workload workload{tokens, compute, flops > 0 ? compute / flops : 0, sum, work(variants[1]), work(variants[2])};
  store.addTimes(what, {static_cast<double>(tokens), compute, workload.flopSeconds, workload.sumSeconds,
                        workload.deferredSeconds, workload.roundedSeconds});
  return workload;
}

} // namespace caat::ablate
