// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Commands.h"
#include "caat/runtime/Error.h"
#include "caat/runtime/Tasks.h"
#include <algorithm>
#include <iomanip>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sys/resource.h>

namespace caat::run {

namespace {

using Json = nlohmann::ordered_json;

struct BenchOptions : Common {
  int64_t prefill = 512, decode = 64, batch = 1;
  int repeats = 5;
  std::optional<uint32_t> randomWeights;
  bool collectives = false, limits = false, sites = false, lastLogits = false;
  std::vector<int64_t> products; // rows
};

double median(std::vector<double> values) {
  size_t middle = values.size() / 2;
  std::nth_element(values.begin(), values.begin() + middle, values.end());
  double upper = values[middle];
  if (values.size() % 2)
    return upper;
  return (upper + *std::max_element(values.begin(), values.begin() + middle)) / 2;
}

/// Where the time of the profiled steps went, as shares of the slowest rank's, and the bytes on the wire.
Json shares(const runtime::Profile &p, int64_t tokens) {
  double total = std::max(p.total, 1e-12), other = p.total - p.linear - p.matmul - p.kernels - p.communication;
  int64_t bytes = 0, calls = 0;
  for (const runtime::CollectiveStats &stats : p.collectives) {
    bytes += stats.bytes;
    calls += stats.calls;
  }
  double count = static_cast<double>(std::max<int64_t>(tokens, 1));
  return {{"linear", p.linear / total},
          {"matmul", p.matmul / total},
          {"kernels", p.kernels / total},
          {"communication", p.communication / total},
          {"other", std::max(0.0, other / total)},
          {"collective_bytes_per_token", static_cast<double>(bytes) / count},
          {"collectives_per_run", p.runs ? static_cast<double>(calls) / static_cast<double>(p.runs) : 0.0}};
}

/// Of each collective and rotation that was called, in the manifest's order, for a run on the slowest rank. What is
/// hidden went beside the rank's work; the rank has waited for what is exposed.
Json sitesOf(const runtime::Engine &engine, const runtime::Profile &p) {
  auto runs = static_cast<double>(std::max<int64_t>(p.runs, 1));
  Json rows = Json::array();
  auto add = [&](const std::string &name, std::string_view kind, const runtime::CollectiveStats &stats) {
    if (stats.calls > 0)
      rows.push_back({{"site", name},
                      {"kind", std::string(kind)},
                      {"bytes", static_cast<double>(stats.bytes) / runs},
                      {"product_seconds", stats.product / runs},
                      {"exposed_seconds", stats.seconds / runs},
                      {"hidden_seconds", stats.hidden / runs}});
  };
  for (size_t i = 0; i < p.collectives.size(); ++i)
    add(engine.manifest().collectives[i].name, nameOf(engine.manifest().collectives[i].kind), p.collectives[i]);
  for (size_t i = 0; i < p.rotations.size(); ++i)
    add(engine.manifest().rotations[i].name, "rotation", p.rotations[i]);
  return rows;
}

void printSites(const char *what, const Json &rows) {
  constexpr double micro = 1e-6;
  constexpr const char *columns[] = {"product_seconds", "exposed_seconds", "hidden_seconds"};
  double bytes = 0, sums[3] = {};
  auto line = [](const std::string &site, const std::string &kind, double bytes, const double (&seconds)[3]) {
    std::cout << std::left << std::setw(36) << site << std::setw(22) << kind << std::right << std::fixed
              << std::setprecision(0) << std::setw(12) << bytes << std::setprecision(1);
    for (double s : seconds)
      std::cout << std::setw(14) << s / micro;
    std::cout << '\n';
  };
  std::cout << what
            << ", a run, slowest rank\nsite                                collective                   bytes   "
            << "product (us)  exposed (us)   hidden (us)\n";
  for (const Json &row : rows) {
    double seconds[3];
    for (size_t i = 0; i < 3; ++i)
      sums[i] += seconds[i] = row[columns[i]];
    line(row["site"], row["kind"], row["bytes"], seconds);
    bytes += row["bytes"].get<double>();
  }
  line("all", "", bytes, sums);
}

runtime::Tensor someTokens(int64_t batch, int64_t length, int64_t vocabulary) {
  runtime::Tensor tokens(runtime::DType::I64, {batch, length});
  uint64_t state = 1; // the same numbers in every run
  for (int64_t i = 0; i < batch * length; ++i) {
    state = state * 6364136223846793005 + 1442695040888963407;
    tokens.as<int64_t>()[i] = static_cast<int64_t>((state >> 33) % static_cast<uint64_t>(vocabulary));
  }
  return tokens;
}

/// Times a prompt, and steps behind it.
class Measurement {
public:
  Measurement(runtime::Engine &engine, const BenchOptions &options, Progress &progress)
      : engine(engine), options(options), progress(progress), vocabulary(engine.manifest().vocabulary.value_or(1)),
        isHost(engine.isHost()) {}

  Json run() {
    Json result;
    result["prefill"] = prefill();
    if (options.decode > 0)
      result["decode"] = decode();
    if (options.limits)
      result["limits"] = limits(result);
    if (std::string who = engine.attentionInfo(); !who.empty())
      result["attention"] = who;
    return result;
  }

private:
  double timed(const runtime::Tensor &tokens) {
    using Clock = std::chrono::steady_clock;
    auto begin = Clock::now();
    runtime::nextTokens(engine, tokens, nullptr,
                        options.lastLogits ? runtime::Results::LastToken : runtime::Results::All);
    return std::chrono::duration<double>(Clock::now() - begin).count();
  }

  /// A device with a time of its own is asked for it in one run more, which takes longer.
  void profile(const runtime::Tensor &tokens) {
    engine.setTiming(true);
    engine.resetProfile();
    timed(tokens);
    engine.setTiming(false);
  }

  void start() { engine.start(options.prefill + options.decode); } // refuses what the program has no room for

  Json prefill() {
    start();
    runtime::Tensor prompt = someTokens(options.batch, options.prefill, vocabulary);
    timed(prompt); // prepares the products for this length
    engine.resetProfile();
    int64_t halved = engine.halvedRuns();
    std::vector<double> seconds;
    for (int i = 0; i < options.repeats; ++i) {
      progress("prefill " + std::to_string(i + 1) + " of " + std::to_string(options.repeats));
      start();
      seconds.push_back(timed(prompt));
    }
    if (!isHost) {
      start();
      profile(prompt);
    }
    int64_t runs = isHost ? options.repeats : 1, tokens = options.prefill * options.batch;
    double each = median(seconds);
    runtime::Profile slowest = engine.slowestProfile();
    Json result = {{"tokens", options.prefill},
                   {"batch", options.batch},
                   {"seconds", each},
                   {"tokens_per_second", static_cast<double>(tokens) / each},
                   {"logits", options.lastLogits ? "last" : "all"},
                   {"in_halves", engine.halvedRuns() > halved},
                   {"share", shares(slowest, runs * tokens)}};
    if (options.sites)
      result["sites"] = sitesOf(engine, slowest);
    return result;
  }

  Json decode() {
    runtime::Tensor next = someTokens(options.batch, 1, vocabulary);
    engine.resetProfile();
    double first = timed(next);
    if (options.decode > 1)
      engine.resetProfile();
    std::vector<double> seconds;
    int64_t last = isHost ? options.decode : options.decode - 1, graphs = engine.graphs();
    for (int64_t i = 1; i < last; ++i) {
      progress("decode " + std::to_string(i + 1) + " of " + std::to_string(options.decode));
      seconds.push_back(timed(next));
    }
    if (seconds.empty())
      seconds.push_back(first); // there is no other
    graphs = engine.graphs() - graphs;
    if (!isHost && options.decode > 1)
      profile(next);
    int64_t runs = isHost ? std::max<int64_t>(options.decode - 1, 1) : 1;
    double each = median(seconds);
    runtime::Profile slowest = engine.slowestProfile();
    Json result = {{"context", options.prefill},
                   {"tokens", options.decode},
                   {"seconds_per_token", each},
                   {"tokens_per_second", static_cast<double>(options.batch) / each},
                   {"weight_bytes_per_token_and_rank", engine.productBytes()},
                   {"graphs_per_step", static_cast<double>(graphs) / static_cast<double>(seconds.size())},
                   {"share", shares(slowest, runs * options.batch)}};
    if (options.sites)
      result["sites"] = sitesOf(engine, slowest);
    return result;
  }

  /// What the program cannot be faster than: its products alone, and its weights read once; and how near it comes.
  Json limits(const Json &measured) {
    Json result = prefillLimit();
    if (!measured.contains("decode"))
      return result;
    const Json &decode = measured["decode"];
    runtime::RepeatedWork products = runtime::productsAlone(engine, options.batch);
    std::vector<double> alone;
    for (int i = 0; i < options.repeats; ++i)
      alone.push_back(products.seconds());
    double rate = runtime::timeReads(engine, options.repeats);
    double weights = decode["weight_bytes_per_token_and_rank"].get<double>() / rate;
    result.update({{"read_bytes_per_second", rate},
                   {"decode_products_seconds", median(alone)},
                   {"decode_weights_seconds", weights},
                   {"decode_reached", weights / decode["seconds_per_token"].get<double>()}});
    return result;
  }

  /// By turns with the whole, since a GPU's speed depends on how long it has been busy.
  Json prefillLimit() {
    runtime::Tensor prompt = someTokens(options.batch, options.prefill, vocabulary);
    runtime::RepeatedWork products = runtime::productsAlone(engine, options.prefill * options.batch);
    std::vector<double> alone, whole;
    for (int i = 0; i < options.repeats; ++i) {
      progress("limits of prefill, " + std::to_string(i + 1) + " of " + std::to_string(options.repeats));
      alone.push_back(products.seconds());
      start();
      whole.push_back(timed(prompt));
    }
    return {{"prefill_products_seconds", median(alone)},
            {"prefill_seconds", median(whole)},
            {"prefill_reached", median(alone) / median(whole)}};
  }

  runtime::Engine &engine;
  const BenchOptions &options;
  Progress &progress;
  int64_t vocabulary;
  bool isHost; // the device's time is the host's
};

void printLimits(const Json &limits) {
  auto milliseconds = [&](const char *key) { return limits[key].get<double>() * 1e3; };
  auto percent = [&](const char *key) { return limits[key].get<double>() * 100; };
  std::cout << std::fixed << std::setprecision(2) << "limits  prefill: its products alone take "
            << milliseconds("prefill_products_seconds") << " ms, " << std::setprecision(1) << percent("prefill_reached")
            << " % of it\n";
  if (limits.contains("decode_reached"))
    std::cout << std::setprecision(2) << "limits  decode: its weights can be read in "
              << milliseconds("decode_weights_seconds") << " ms (" << std::setprecision(0)
              << limits["read_bytes_per_second"].get<double>() / 1e9 << " GB/s), " << std::setprecision(1)
              << percent("decode_reached") << " % of it; its products alone take " << std::setprecision(2)
              << milliseconds("decode_products_seconds") << " ms\n";
}

void print(const Json &json) {
  auto line = [](const char *name, const Json &part, double seconds, const char *unit) {
    const Json &share = part["share"];
    auto percent = [&](const char *key) { return share[key].get<double>() * 100; };
    std::cout << std::fixed << std::setprecision(2) << name << seconds * 1000 << " ms" << unit << ", "
              << std::setprecision(1) << part["tokens_per_second"].get<double>() << " tokens/s; linear "
              << percent("linear") << " %, matmul " << percent("matmul") << " %, kernels " << percent("kernels")
              << " %, communication " << percent("communication") << " %, other " << percent("other") << " %; "
              << std::setprecision(0) << share["collective_bytes_per_token"].get<double>() << " bytes/token in "
              << share["collectives_per_run"].get<double>() << " collectives"
              << (part.value("in_halves", false) ? ", in two halves\n" : "\n");
  };
  line("prefill ", json["prefill"], json["prefill"]["seconds"], "");
  if (json.contains("decode")) {
    const Json &decode = json["decode"];
    line("decode  ", decode, decode["seconds_per_token"], " a token");
    double bytes = decode["weight_bytes_per_token_and_rank"], seconds = decode["seconds_per_token"];
    std::cout << "weights " << std::setprecision(2) << bytes / 1e9 << " GB a rank and token, read at "
              << std::setprecision(1) << bytes / std::max(seconds, 1e-12) / 1e9 << " GB/s";
    if (double graphs = decode["graphs_per_step"]; graphs > 0)
      std::cout << "; " << graphs << " graphs a step";
    std::cout << '\n';
  }
  if (json.contains("attention"))
    std::cout << "attention of many tokens by " << json["attention"].get<std::string>() << '\n';
  if (json.contains("limits"))
    printLimits(json["limits"]);
  for (const char *part : {"prefill", "decode"})
    if (json.contains(part) && json[part].contains("sites"))
      printSites(part, json[part]["sites"]);
  std::cout << "memory  " << json["peak_rss_bytes"].get<double>() / 1e6 << " MB peak of " << json["ranks_in_process"]
            << " ranks in one process\n";
}

/// In the words of nccl-tests.
void benchCollectives(runtime::Engine &engine, const BenchOptions &options) {
  std::vector<int64_t> sizes;
  for (int64_t bytes = 1 << 10; bytes <= 64 << 20; bytes *= 4)
    sizes.push_back(bytes);
  constexpr double giga = 1e9, micro = 1e-6;
  Json rows = Json::array();
  std::vector<std::string> ways;
  for (const runtime::CollectiveTiming &timing : runtime::timeAllReduce(engine, sizes, 20, ways))
    rows.push_back({{"bytes", timing.bytes},
                    {"way", timing.way < 0 ? "chosen" : ways[static_cast<size_t>(timing.way)]},
                    {"seconds", timing.seconds},
                    {"algbw", timing.algorithmBandwidth()},
                    {"busbw", timing.busBandwidth(engine.size())},
                    {"wrong", timing.wrong}});
  if (options.json) {
    std::cout << Json{{"tp", engine.size()}, {"all_reduce", rows}}.dump() << '\n';
    return;
  }
  std::cout << "all_reduce, float, sum, in place, " << engine.size() << " ranks\n"
            << "    size (B)    time (us)  algbw (GB/s)  busbw (GB/s)   #wrong" << (ways.empty() ? "" : "  way")
            << '\n';
  for (const Json &row : rows)
    std::cout << std::fixed << std::setprecision(2) << std::setw(12) << row["bytes"].get<int64_t>() << std::setw(13)
              << row["seconds"].get<double>() / micro << std::setw(14) << row["algbw"].get<double>() / giga
              << std::setw(14) << row["busbw"].get<double>() / giga << std::setw(9) << row["wrong"].get<int64_t>()
              << (ways.empty() ? "" : "  " + row["way"].get<std::string>()) << '\n';
}

void benchProducts(runtime::Engine &engine, const BenchOptions &options) {
  Json rows = Json::array();
  for (int64_t m : options.products)
    for (const runtime::ProductTiming &t : runtime::timeProductsByShape(engine, m, options.repeats))
      rows.push_back({{"rows", m},
                      {"k", t.k},
                      {"n", t.n},
                      {"weights", t.weights},
                      {"seconds", t.seconds},
                      {"untimed_seconds", t.untimed},
                      {"weight_bytes_per_second", static_cast<double>(t.bytes) / t.seconds},
                      {"operations_per_second", 2.0 * static_cast<double>(m * t.k * t.n) / t.seconds}});
  if (options.json) {
    std::cout << Json{{"tp", engine.size()}, {"products", rows}}.dump() << '\n';
    return;
  }
  // By the algorithm that was timed, and by the one that the library proposes first.
  bool hasChoice = std::any_of(rows.begin(), rows.end(), [](const Json &row) { return row["untimed_seconds"] != 0.0; });
  std::cout << "products of m rows [m, k] with weights [k, n]\n"
            << "     m       k       n  weights   time (us)   weight GB/s      TFLOP/s"
            << (hasChoice ? "   untimed (us)" : "") << '\n';
  for (const Json &row : rows) {
    std::cout << std::fixed << std::setprecision(2) << std::setw(6) << row["rows"].get<int64_t>() << std::setw(8)
              << row["k"].get<int64_t>() << std::setw(8) << row["n"].get<int64_t>() << std::setw(9)
              << row["weights"].get<int64_t>() << std::setw(12) << row["seconds"].get<double>() * 1e6 << std::setw(14)
              << row["weight_bytes_per_second"].get<double>() / 1e9 << std::setw(13)
              << row["operations_per_second"].get<double>() / 1e12;
    if (hasChoice)
      std::cout << std::setw(15) << row["untimed_seconds"].get<double>() * 1e6;
    std::cout << '\n';
  }
}

void bench(const BenchOptions &options) {
  Progress progress(options.quiet);
  runtime::EngineOptions engineOptions = options.engineOptions();
  engineOptions.progress = std::ref(progress);
  engineOptions.randomWeights = options.randomWeights;
  auto begin = std::chrono::steady_clock::now();
  runtime::Engine engine(options.directory, engineOptions);
  options.applyPlan(engine);
  if (options.collectives)
    return benchCollectives(engine, options);
  if (!options.products.empty())
    return benchProducts(engine, options);
  double load = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  Json json = {{"tp", engine.size()},
               {"ranks_in_process", options.world() ? 1 : engine.size()},
               {"threads_per_rank", options.threadsPerRank},
               {"load_seconds", load}};
  json.update(Measurement(engine, options, progress).run());
  engine.writeTrace();
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  json["peak_rss_bytes"] = usage.ru_maxrss * 1024L;
  if (options.json)
    std::cout << json.dump() << '\n';
  else
    print(json);
}

} // namespace

void addBench(CLI::App &app, Action &run) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App *command = app.add_subcommand("bench", "Measure prefill and decode");
  options->addTo(*command);
  command->add_option("--prefill", options->prefill, "Tokens of the prompt")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))
      ->capture_default_str();
  command->add_option("--decode", options->decode, "Tokens to add one by one (0: none)")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 30))
      ->capture_default_str();
  command->add_option("--batch", options->batch, "Sequences at once")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20))
      ->capture_default_str();
  command->add_option("--repeats", options->repeats, "Runs of the prompt; the median counts")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  command
      ->add_option("--random-weights", options->randomWeights,
                   "Make the weights up from this seed: measures a program without its weights")
      ->type_name("SEED");
  command->add_flag("--collectives", options->collectives, "Measure all-reduces of the ranks instead of the program");
  command
      ->add_option("--products", options->products,
                   "Measure products of so many rows, by the weights' shapes: 1,16,512")
      ->delimiter(',')
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20))
      ->type_name("ROWS");
  command->add_flag(
      "--sites", options->sites,
      "Print for each sync point what it sends, its product's time, the time that the rank waits for it, and "
      "that in which it went beside the rank's work");
  CLI::Option *limits =
      command->add_flag("--limits", options->limits,
                        "Measure too what the program cannot be faster than: its products alone, reading its weights");
  command
      ->add_option_function<std::string>(
          "--logits", [options](const std::string &which) { options->lastLogits = which == "last"; },
          "Of the prompt: all of them, as for scoring, or those of its last token, as for generating text")
      ->check(CLI::IsMember({"all", "last"}))
      ->default_str("all")
      ->excludes(limits);
  command->footer(
      "Examples:\n  caat-run bench model/ --prefill=512 --decode=64 --json\n"
      "  caat-run bench model/ --link=250MB/s,20us --sites --halves=off  # what sums cost that nothing hides");
  command->callback([options, &run] { run = [options] { bench(*options); }; });
}

} // namespace caat::run
