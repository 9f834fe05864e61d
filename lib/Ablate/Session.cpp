// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Session.h"
#include "caat/runtime/Error.h"
#include "caat/runtime/File.h"
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

/// FNV-1a, enough to tell texts and programs apart.
static uint64_t hashBytes(const void *data, size_t bytes, uint64_t hash = 0xcbf29ce484222325) {
  auto *at = static_cast<const unsigned char *>(data);
  for (size_t i = 0; i < bytes; ++i)
    hash = (hash ^ at[i]) * 0x100000001b3;
  return hash;
}

int64_t Session::chooseBatch() const {
  if (options.batch > 0)
    return options.batch;
  const runtime::ArraySpec &logits = manifest().outputs[runtime::logitsOutput(manifest())];
  constexpr int64_t room = int64_t{1} << 30, unknown = 1 << 17;
  int64_t row = options.length * logits.shape.back().asConstant().value_or(unknown) * manifest().tp * 4;
  return std::clamp<int64_t>(room / row, 1, options.samples);
}

std::string Session::identity(const runtime::Tensor &all) const {
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

static runtime::EngineOptions engineOptions(const Options &options) {
  runtime::EngineOptions result;
  result.threadsPerRank = options.threadsPerRank;
  return result;
}

Session::Session(const Options &given)
    : options(given), engine(options.program, engineOptions(options)), tokens(runtime::readNpy(options.tokens)),
      batch(chooseBatch()), store(options.output + "/measurements.jsonl", identity(tokens)),
      testText(Text::cut(tokens, 0, options.testSamples, options.length, batch)),
      searchText(Text::cut(tokens, options.testSamples * options.length, options.samples, options.length, batch)),
      fitText(Text::cut(tokens, (options.testSamples + options.samples) * options.length, options.fitSamples,
                        options.length, batch)),
      searcher(engine, searchText, size_t{4} << 30, store, "search: "),
      tester(engine, testText, size_t{1} << 30, store, "test: "), fitter(engine, fitText),
      choices(options.choices.empty() ? defaultChoices() : options.choices) {
  if (manifest().sites.empty())
    runtime::failInput(options.program, ": the program has no switchable sync points; compile the model for at least "
                                        "2 ranks with --switchable");
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

/// The step's compute on the rank that needs most, waiting left out; the least of three runs.
Workload Session::measureStep() {
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
  // Estimates are products like the model's own.
  double flops = 2 * static_cast<double>(length) * static_cast<double>(engine.productBytes() / sizeof(float));
  return {length, least, flops > 0 ? least / flops : 0};
}

} // namespace caat::ablate
