// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Finds out which sync points of a model need to synchronise, and the best plan for a budget. Results go to files and,
// in short, to stdout; progress and errors to stderr. Exit 0 good, 1 the input or the run failed, 2 usage.
#include "PrepareProgram.h"
#include "caat/Ablate/ShellWord.h"
#include "caat/runtime/Error.h"
#include "caat/runtime/SafeOutput.h"
#include <CLI/CLI.hpp>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <unistd.h>

using namespace caat;
using ablate::Arguments;

namespace {

/// One line on stderr that is overwritten; where stderr is no terminal, a line every few seconds.
class Progress {
public:
  explicit Progress(bool quiet) : quiet(quiet), terminal(isatty(STDERR_FILENO)) {}
  ~Progress() {
    if (terminal && shown)
      clearLine();
  }
  void operator()(const std::string &text) {
    auto now = std::chrono::steady_clock::now();
    if (quiet || (shown && now - last < std::chrono::milliseconds(terminal ? 50 : 5000)))
      return;
    if (terminal)
      clearLine();
    std::cerr << text << (terminal ? "" : "\n") << std::flush;
    shown = true;
    last = now;
  }

private:
  /// Not through std::cerr, which lets no escape sequence pass.
  static void clearLine() { std::fputs("\r\x1b[K", stderr); }

  bool quiet, terminal, shown = false;
  std::chrono::steady_clock::time_point last{};
};

/// What the chosen plan saves over the link, by the cost model: nothing where it only drops sums that halves hide.
void printChosenTime(const Arguments &arguments, const ablate::Result &result) {
  auto text = [](const ablate::PlanCost &cost) {
    char line[80];
    if (cost.halvedSeconds)
      std::snprintf(line, sizeof line, "%.4f s whole, %.4f s in halves", cost.seconds, *cost.halvedSeconds);
    else
      std::snprintf(line, sizeof line, "%.4f s", cost.seconds);
    return std::string(line);
  };
  for (const ablate::NamedPlan &named : result.plans)
    if (named.isChosen) {
      double saved = 1 - named.plan.cost.fastest() / result.exactCost.fastest();
      std::printf("a step of %lld tokens over %s, predicted: exact %s; plan.json %s: %.1f%% %s\n",
                  static_cast<long long>(result.workload.tokens), arguments.linkText.c_str(),
                  text(result.exactCost).c_str(), text(named.plan.cost).c_str(), 100 * std::abs(saved),
                  saved < 0 ? "slower" : "saved");
    }
}

void printSummary(const Arguments &arguments, const ablate::Result &result) {
  if (!arguments.programFlags.empty())
    std::printf("program compiled with %s, against whose exact plan all others are measured\n",
                arguments.programFlags.c_str());
  const ablate::Measure &exact = result.exactTest;
  // Of a language model its perplexity, of an encoder the mean cosine to the exact embeddings.
  auto print = [&](const std::string &named, const ablate::Measure &measure, const ablate::PlanCost &cost,
                   const char *mark) {
    std::string name = runtime::printable(named);
    if (result.hasLogits)
      std::printf("%-50s %9.3f %8.4f %8.4f", name.c_str(), measure.perplexity(), measure.ratio(), measure.kl);
    else
      std::printf("%-50s %9.6f %8.4f", name.c_str(), 1 - measure.added, measure.kl99);
    std::printf(" %6.1f%% %6lld %8.1f%%%s\n", 100 * measure.agree, static_cast<long long>(cost.syncs),
                100 * cost.bytesPerToken / result.exactCost.bytesPerToken, mark);
  };
  if (result.hasLogits)
    std::printf("%-50s %9s %8s %8s %7s %6s %9s\n", "plan (held-out text)", "ppl", "ratio", "kl", "agree", "syncs",
                "bytes");
  else
    std::printf("%-50s %9s %8s %7s %6s %9s\n", "plan (held-out sentences)", "cosine", "worst1%", "found", "syncs",
                "bytes");
  ablate::Measure perfect = exact;
  perfect.agree = 1;
  print("exact", perfect, result.exactCost, "");
  for (const ablate::NamedPlan &named : result.plans)
    print(named.family + ": " + named.label, named.plan.measure, named.plan.cost,
          named.isChosen ? "  <- plan.json" : "");
  for (const std::string &warning : result.warnings)
    std::printf("warning: %s\n", runtime::printable(warning).c_str());
  printChosenTime(arguments, result);
  if (result.exactOverLink) {
    std::printf("%-50s %11s %11s%s\n", ("a step over " + arguments.linkText + ", f32 on the wire").c_str(), "measured",
                "predicted", result.exactOverLink->halved ? "   in halves" : "");
    auto printTime = [](const std::string &name, const ablate::StepTime &time) {
      std::printf("%-50s %9.4f s %9.4f s", runtime::printable(name).c_str(), time.measured, time.predicted);
      std::printf(time.halved ? " %9.4f s\n" : "\n", time.halved.value_or(0));
    };
    printTime("exact", *result.exactOverLink);
    for (const ablate::NamedPlan &named : result.plans)
      if (named.overLink)
        printTime(named.family + ": " + named.label, *named.overLink);
  }
  std::printf("%zu plans measured", result.measured);
  if (!result.sensitivity.empty())
    std::printf("; the sweep over single sites passed %.2f of the sites that whole evaluations would",
                result.sweepRatio);
  if (result.evaluationSeconds > 0)
    std::printf(" (%.1f s, one evaluation %.2f s)", result.sweepSeconds, result.evaluationSeconds);
  std::printf("\n%s: %s, sensitivity.json, frontier.csv, report.html, report.json\n", arguments.output.c_str(),
              arguments.recipes.empty() ? "plan.json" : "recipe-N.json");
}

/// Throws Error also where what it limits is not measured.
ablate::Budget parseBudget(const std::string &text, const Arguments &arguments) {
  using Kind = ablate::Budget::Kind;
  ablate::Budget budget = ablate::Budget::parse(text);
  if (budget.kind == Kind::Cosine && arguments.inputs.empty())
    runtime::failInput("--budget=", text, ": embeddings are measured with --inputs; with --tokens say ppl:RATIO");
  if (budget.kind == Kind::Quality && !arguments.inputs.empty())
    runtime::failInput("--budget=", text, ": there is no perplexity with --inputs, which say cos:COSINE");
  return budget;
}

/// What caat-compile must be told of the model's inputs, as in a shell.
std::string inputFlags(const Arguments &arguments) {
  std::string flags;
  for (const std::string &dim : arguments.dims)
    flags += (flags.empty() ? "" : " ") + ablate::shellWord("--dim=" + dim);
  for (const std::string &value : arguments.values)
    flags += (flags.empty() ? "" : " ") + ablate::shellWord("--set=" + value);
  return flags;
}

} // namespace

int main(int argc, char **argv) {
  runtime::SafeOutput output(std::cout), errors(std::cerr);
  Arguments arguments;
  CLI::App app(
      "Measures which sync points of a tensor-parallel model need to synchronise, and finds the best plan for a "
      "budget.",
      "caat-ablate");
  app.set_version_flag("--version", std::string("caat-ablate ") + CAAT_VERSION);
  app.add_option("MODEL", arguments.model, "The model, .onnx")->required();
  app.add_option("--tp", arguments.tp, "Number of ranks")->check(CLI::Range(2, 64))->capture_default_str();
  CLI::Option *tokens =
      app.add_option("--tokens", arguments.tokens, "Text: int64 .npy of shape [n], tokens of the model's tokenizer");
  app.add_option("--inputs", arguments.inputs,
                 "For a model without logits: .npz or .safetensors with all its inputs, one sentence a row; plans are "
                 "judged by the cosine of their embeddings to the exact ones")
      ->excludes(tokens);
  app.add_option("-o,--output", arguments.output, "Directory for results; an interrupted run goes on there")
      ->required();
  app.add_option("--length", arguments.length, "Tokens of a window")
      ->check(CLI::Range(int64_t{2}, int64_t{1} << 20))
      ->capture_default_str();
  app.add_option("--recipes", arguments.recipes,
                 "Instead of searching, fit and measure the plans of this file (docs/ablation.md)");
  auto positive = CLI::Range(int64_t{1}, int64_t{1} << 20);
  app.add_option("--samples", arguments.samples, "Windows that sites and plans are measured on while searching")
      ->check(positive)
      ->capture_default_str();
  app.add_option("--fit-samples", arguments.fitSamples, "Windows that orders of channels and estimates are fitted on")
      ->check(positive)
      ->capture_default_str();
  app.add_option("--test-samples", arguments.testSamples,
                 "Windows that final plans are measured on; used for nothing else")
      ->check(positive)
      ->capture_default_str();
  auto count = CLI::Range(int64_t{0}, int64_t{1} << 20);
  app.add_option("--batch", arguments.batch, "Windows run together (0: chosen)")->check(count)->capture_default_str();
  app.add_option("--budget", arguments.budgetTexts,
                 "ppl:RATIO, cos:COSINE, time:3ms, bytes:SHARE or syncs:COUNT; several: one search each, the first "
                 "decides plan.json")
      ->capture_default_str();
  app.add_option(
      "--choice", arguments.choiceTexts,
      "What a site may do beside a full sum, e.g. --choice='drop rank 64 of both' --choice='4 bits, 8 exact' "
      "(default: a range of all kinds, see docs/ablation.md)");
  app.add_option("--link", arguments.linkText, "Between the ranks: bandwidth, latency")->capture_default_str();
  app.add_flag(
      "--measure-link", arguments.measuresLink,
      "Also run the exact program and the chosen plan, or all recipes, with messages delayed as over the link");
  app.add_option("--step-tokens", arguments.stepTokens, "Tokens of the step that time is reckoned for")
      ->check(positive)
      ->capture_default_str();
  app.add_option("--starts", arguments.starts, "Plans from the prices of single sites that the search begins with")
      ->check(count)
      ->capture_default_str();
  app.add_option("--rounds", arguments.rounds, "Rounds of the search for each budget")
      ->check(count)
      ->capture_default_str();
  app.add_option("--width", arguments.width, "Plans of a round that are measured as wholes")
      ->check(count)
      ->capture_default_str();
  app.add_option("--greedy-steps", arguments.greedySteps, "Sites that the greedy order gives up, three plans each")
      ->check(count)
      ->capture_default_str();
  app.add_option(
         "--thresholds", arguments.thresholds,
         "Divergence between insensitive, sensitive and extremely sensitive sites: TAU1 TAU2 (default: proposed)")
      ->expected(2);
  app.add_option("--threads-per-rank", arguments.threadsPerRank, "Threads of each rank")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_flag("--group-heads", arguments.groupsHeads,
               "Deal heads out to the ranks as SPD's head grouping does, instead of as they are numbered");
  CLI::IsMember types({"f32", "bf16", "f16"});
  app.add_option("--weights", arguments.formats.weights,
                 "Compile the program with matrices of 4 or 8 bits, as caat-compile does: [GLOB=]i4|i8|float; may be "
                 "repeated");
  app.add_option("--dtype", arguments.formats.dtype, "What its matrices of f32 are stored and multiplied as")
      ->check(types)
      ->capture_default_str();
  app.add_option("--cache", arguments.formats.cache, "What its caches are stored as (default: what --dtype says)")
      ->check(types);
  app.add_option("--dim", arguments.dims, "Fixed value of a named dimension of the model: NAME=SIZE");
  app.add_option("--set", arguments.values, "Fixed value of an input of the model: NAME=VALUE");
  app.add_flag("--quiet,-q", arguments.quiet, "No progress on stderr");
  app.failure_message([](const CLI::App *, const CLI::Error &e) {
    return "caat-ablate: error: " + std::string(e.what()) + "\nTry 'caat-ablate --help'.\n";
  });
  app.footer(
      "Examples:\n"
      "  caat-ablate model.onnx --tp=3 --tokens=corpus.npy --length=512 --samples=8 --budget=ppl:1.05 -o out/\n"
      "  caat-ablate model.onnx --tp=2 --tokens=corpus.npy --budget=syncs:40 --link=1.25GB/s,20us -o out/\n"
      "  caat-ablate model.onnx --tp=2 --tokens=corpus.npy --weights=i4 --dtype=bf16 -o out/\n"
      "Writes plan.json (+ plan.safetensors) for caat-compile --plan, sensitivity.json, frontier.csv, report.html.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError &e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  for (int i = 0; i < argc; ++i)
    arguments.command += i ? " " + ablate::shellWord(argv[i]) : "caat-ablate";
  try {
    if (arguments.tokens.empty() && arguments.inputs.empty())
      runtime::failInput("--tokens or --inputs is required");
    if (arguments.budgetTexts.empty())
      arguments.budgetTexts = {arguments.inputs.empty() ? "ppl:1.05" : "cos:0.995"};
    arguments.budgets.clear();
    for (const std::string &text : arguments.budgetTexts)
      arguments.budgets.push_back(parseBudget(text, arguments));
    if (!arguments.choiceTexts.empty())
      arguments.choices = {ablate::Choice::full()};
    for (const std::string &text : arguments.choiceTexts)
      arguments.choices.push_back(ablate::Choice::parse(text));
    std::string error;
    std::optional<cost::Link> link = cost::Link::parse(arguments.linkText, error);
    if (!link)
      runtime::failInput("--link=", arguments.linkText, ": ", error);
    arguments.link = *link;
    if (std::string wrong = arguments.formats.check(); !wrong.empty())
      runtime::failInput(wrong);
    arguments.programFlags = arguments.formats.flags();
    arguments.inputFlags = inputFlags(arguments);
  } catch (const runtime::Error &e) {
    std::cerr << "caat-ablate: error: " << e.what() << "\nTry 'caat-ablate --help'.\n";
    return 2;
  }
  try {
    ablate::Result result;
    {
      Progress progress(arguments.quiet);
      arguments.progress = std::ref(progress);
      if (!ablate::prepareProgram(arguments))
        return 1;
      result = ablate::ablate(arguments);
    }
    printSummary(arguments, result);
    if (std::fflush(stdout) != 0 || std::ferror(stdout))
      runtime::failRun("cannot write to stdout: ", std::strerror(errno));
  } catch (const std::exception &e) {
    std::cerr << "caat-ablate: error: " << e.what() << '\n';
    return 1;
  }
  return 0;
}
