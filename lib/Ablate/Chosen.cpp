// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The chosen plan at work: what it writes, and how long it takes over the link.
#include "Session.h"
#include "caat/Ablate/Vocabulary.h"
#include "caat/runtime/Tasks.h"
#include <algorithm>
#include <cmath>
#include <filesystem>

namespace caat::ablate {

using runtime::Policies;

static NamedPlan *chosenOf(Result &result) {
  auto found = std::find_if(result.plans.begin(), result.plans.end(), [](auto &plan) { return plan.isChosen; });
  return found == result.plans.end() ? nullptr : &*found;
}

/// Greedy continuations of the beginnings of held-out windows.
void Session::continueSamples(Result &result) {
  constexpr int64_t most = 3, promptLength = 32, newLength = 48;
  NamedPlan *chosen = chosenOf(result);
  int64_t prompt = std::min(promptLength, options.length / 2);
  int64_t room = manifest().maxLength.value_or(prompt + newLength) - prompt;
  if (!chosen || !result.hasLogits || room < 1)
    return;
  std::optional<Vocabulary> vocabulary =
      Vocabulary::read((std::filesystem::path(options.model).parent_path() / "tokenizer.json").string());
  auto textOf = [&](std::span<const int64_t> tokens) {
    if (vocabulary)
      return vocabulary->decode(tokens);
    std::string text;
    for (int64_t token : tokens)
      text += (text.empty() ? "" : " ") + std::to_string(token);
    return text;
  };
  for (int64_t sample = 0; sample < std::min(most, options.testSamples); ++sample) {
    if (options.progress)
      options.progress("continuations: " + std::to_string(sample + 1) + " of " + std::to_string(most));
    const int64_t *first = data.begin()->second.as<int64_t>() + sample * options.length;
    runtime::Tensor tokens(runtime::DType::I64, {1, prompt});
    std::copy_n(first, prompt, tokens.as<int64_t>());
    auto write = [&](const Policies &policies) {
      engine.setPolicies(policies);
      runtime::Tensor all = runtime::generate(engine, tokens, {std::min(newLength, room), {}, {}});
      return textOf({all.as<int64_t>() + prompt, static_cast<size_t>(all.shape[1] - prompt)});
    };
    result.samples.push_back({textOf({first, static_cast<size_t>(prompt)}), write({}), write(chosen->policies)});
  }
}

/// The step of the workload over a link whose messages are really delayed, beside what the model of time says for the
/// f32 that travels there: of the exact program and the chosen plan, or of every plan that was written down.
void Session::timeOverLink(Result &result) {
  if (!options.measuresLink)
    return;
  runtime::EngineOptions settings = engineOptions(options);
  settings.link = options.link;
  runtime::Engine slow(options.program, settings);
  CostModel model(manifest(), options.link, result.workload, sizeof(float), /*rings=*/true);
  auto time = [&](const Choices &plan, const Policies &policies) {
    slow.setPolicies(policies);
    double least = INFINITY;
    for (int run = 0; run < 4; ++run) { // the first one warms up
      slow.resetProfile();
      auto begin = Clock::now();
      step(slow);
      if (run > 0)
        least = std::min(least, secondsSince(begin));
    }
    runtime::Profile profile = slow.slowestProfile();
    double common = 0; // collectives that no plan changes
    for (const runtime::CollectiveStats &stats : profile.collectives)
      if (stats.calls > 0) {
        double bytes = static_cast<double>(stats.bytes) / static_cast<double>(stats.calls);
        common += static_cast<double>(stats.calls) * model.seconds(bytes, false, options.link);
      }
    PlanCost cost = model.of(plan);
    if (cost.halvedSeconds)
      *cost.halvedSeconds += common;
    return StepTime{cost.seconds + common, least, cost.halvedSeconds};
  };
  result.exactOverLink = time(Choices(numSites()), {});
  for (NamedPlan &named : result.plans)
    if (named.isChosen || !options.recipes.empty()) {
      if (options.progress)
        options.progress("over the link: " + named.label);
      named.overLink = time(named.plan.choices, named.policies);
    }
}

/// What should not be used as it is.
void Session::warn(Result &result) {
  auto keepsPrivate = [](const NamedPlan &plan) {
    return std::any_of(plan.plan.choices.begin(), plan.plan.choices.end(), [](const Choice &c) { return c.isPrivate; });
  };
  for (const NamedPlan &plan : result.plans) {
    constexpr double much = 0.02;
    if (!keepsPrivate(plan) || (plan.family == "caat" && plan.plan.measure.added < much))
      continue;
    char text[400];
    std::snprintf(text, sizeof text,
                  "%s (%s) keeps channels private, which needs weights that were trained with it. Here it adds %.3g to "
                  "the loss. %s",
                  plan.isChosen ? "the chosen plan" : "a plan", plan.label.c_str(), plan.plan.measure.added,
                  plan.isChosen ? "Check it on your own task before you use it." : "It is there to compare.");
    result.warnings.push_back(text);
    if (!plan.isChosen)
      break; // one is enough
  }
}

} // namespace caat::ablate
