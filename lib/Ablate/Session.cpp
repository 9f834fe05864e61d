// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Session.h"
#include "caat/runtime/Error.h"
#include "caat/runtime/Fnv.h"
#include "caat/runtime/Npy.h"
#include "caat/runtime/Tasks.h"
#include <algorithm>
#include <cmath>
#include <cstdio>

namespace caat::ablate {

double secondsSince(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

static std::string duration(double seconds) {
  char text[32];
  if (seconds < 90)
    std::snprintf(text, sizeof text, "%.0f s", seconds);
  else
    std::snprintf(text, sizeof text, "%.0f min", seconds / 60);
  return text;
}

static std::string_view bytesOf(const std::byte *data, size_t bytes) {
  return {reinterpret_cast<const char *>(data), bytes};
}

int64_t Session::chooseBatch() const {
  if (options.batch > 0)
    return options.batch;
  if (!options.inputs.empty())
    return 32;
  const runtime::ArraySpec &logits = manifest().outputs[runtime::logitsOutput(manifest())];
  constexpr int64_t room = int64_t{1} << 30, unknown = 1 << 17;
  int64_t row = options.length * logits.shape.back().asConstant().value_or(unknown) * manifest().tp * 4;
  return std::clamp<int64_t>(room / row, 1, options.samples);
}

Text Session::cut(int64_t first, int64_t count) const {
  if (!options.inputs.empty())
    return Text::rows(data, first, count, batch);
  return Text::cut(data.begin()->second, first * options.length, count, options.length, batch);
}

std::string Session::identity() const {
  uint64_t text = runtime::fnvBasis;
  for (const auto &[name, tensor] : data)
    text = runtime::fnv(bytesOf(tensor.data.get(), tensor.bytes()), runtime::fnv(name, text));
  if (manifest().weights.empty())
    runtime::failInput(options.program, ": its manifest has no digests of weights; remove the folder, and it is "
                                        "compiled anew");
  uint64_t weights = runtime::fnvBasis;
  for (const std::string &digest : manifest().weights)
    weights = runtime::fnv(digest, weights);
  std::string flags = options.programFlags.empty() ? "" : options.programFlags + ", ";
  char buffer[200];
  std::snprintf(buffer, sizeof buffer,
                "program %s, weights %016llx, text %016llx, %lld+%lld+%lld windows of %lld, %lld together",
                manifest().digest.c_str(), static_cast<unsigned long long>(weights),
                static_cast<unsigned long long>(text), static_cast<long long>(options.testSamples),
                static_cast<long long>(options.samples), static_cast<long long>(options.fitSamples),
                static_cast<long long>(options.inputs.empty() ? options.length : 0), static_cast<long long>(batch));
  return flags + buffer;
}

runtime::EngineOptions engineOptions(const Options &options) {
  runtime::EngineOptions result;
  result.threadsPerRank = options.threadsPerRank;
  // Ranks are threads of this process: one that is late on a busy machine has not failed, and the run may be long.
  result.timeout = std::chrono::minutes(20);
  return result;
}

static runtime::TensorMap readData(const Options &options) {
  if (options.inputs.empty())
    return {{"tokens", runtime::readNpy(options.tokens)}};
  runtime::TensorMap inputs = runtime::readTensors(options.inputs);
  if (inputs.empty())
    runtime::failInput(options.inputs, ": holds no array");
  return inputs;
}

/// What a site that cannot defer may do instead.
static Choice withoutDeferring(Choice choice, const runtime::SiteSpec &site) {
  if (choice.bits && choice.shared >= 1 && !isPossible(choice, site))
    choice.feedback = false;
  else if (choice.shared > 0 && choice.shared < 1 && !choice.isPrivate && !site.notDeferrable.empty())
    return Choice::keep(std::max(choice.shared, 0.9), false, Order::Energy);
  return choice;
}

Session::Session(const Options &given)
    : options(given), engine(options.program, engineOptions(options)), data(readData(options)), batch(chooseBatch()),
      store(options.output + "/measurements.jsonl", identity()), testText(cut(0, options.testSamples)),
      searchText(cut(options.testSamples, options.samples)),
      // Prices around a plan only say where to look, and divergences are known well from few tokens.
      priceText(cut(options.testSamples, (options.samples + 3) / 4)),
      fitText(cut(options.testSamples + options.samples, options.fitSamples)),
      searcher(engine, searchText, size_t{4} << 30, store, "search: "),
      pricer(engine, priceText, size_t{1} << 30, store, "price: "),
      tester(engine, testText, size_t{1} << 30, store, "test: "), fitter(engine, fitText) {
  if (manifest().sites.empty())
    runtime::failInput(options.program, ": the program has no switchable sync points; compile the model for at least "
                                        "2 ranks with --switchable");
  for (const runtime::SiteSpec &site : manifest().sites) {
    Choices &all = choices.emplace_back();
    for (const Choice &choice : options.choices.empty() ? defaultChoices() : options.choices) {
      Choice possible = withoutDeferring(choice, site);
      if (std::find(all.begin(), all.end(), possible) == all.end())
        all.push_back(possible);
    }
  }
}

std::function<void(const Work &)> Session::watch(const std::string &what) {
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

std::function<void(size_t)> Session::watchSites(const std::string &what) {
  return [this, what](size_t done) {
    if (options.progress)
      options.progress(what + ": site " + std::to_string(done) + " of " + std::to_string(numSites()));
  };
}

std::vector<Measure> Session::measure(Evaluator &evaluator, const std::vector<Evaluator::Plan> &plans,
                                      const std::string &what) {
  std::vector<Measure> measures;
  for (const Losses &losses : evaluator.run(plans, watch(what)))
    measures.push_back(Measure::of(losses));
  return measures;
}

Evaluator::Plan Session::planOf(const Choices &plan) { return {describe(plan, manifest()), fitter.fit(plan)}; }

std::vector<Candidate> Session::measureAll(const std::vector<Choices> &plans, const std::string &what) {
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

} // namespace caat::ablate
