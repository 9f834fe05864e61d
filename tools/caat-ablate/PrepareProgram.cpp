// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "PrepareProgram.h"
#include "caat/Ablate/HeadGroups.h"
#include "caat/runtime/Error.h"
#include "caat/runtime/File.h"
#include "caat/runtime/Npy.h"
#include "caat/runtime/Tasks.h"
#include <filesystem>
#include <fstream>

namespace caat::ablate {

namespace fs = std::filesystem;

static std::string describeFile(const std::string &path, const std::string &flags = "") {
  return fs::absolute(path).string() + (flags.empty() ? "" : " " + flags) + "\n" + std::to_string(fs::file_size(path)) +
         " " + std::to_string(fs::last_write_time(path).time_since_epoch().count()) + "\n";
}

/// What decides the program: written beside it, so that it is compiled anew where any of it changes. The first line has
/// what decides the exact program's numbers.
static std::string describeInput(const Arguments &arguments) {
  std::string text = describeFile(arguments.model, arguments.formats.flags()) + std::to_string(arguments.tp) + " " +
                     std::to_string(arguments.maxLength()) + "\n";
  for (const auto *list : {&arguments.dims, &arguments.values})
    for (const std::string &entry : *list)
      text += entry + "\n";
  if (arguments.groupsHeads)
    text += "heads grouped on " + describeFile(arguments.inputs.empty() ? arguments.tokens : arguments.inputs) +
            std::to_string(arguments.testSamples + arguments.samples) + " " + std::to_string(arguments.length) + "\n";
  return text;
}

/// What can be said of the text without a program, which takes minutes to compile. Throws Error.
static void checkText(const Arguments &arguments) {
  int64_t all = arguments.testSamples + arguments.samples + arguments.fitSamples;
  if (!arguments.inputs.empty())
    Text::rows(runtime::readTensors(arguments.inputs), 0, all, 1);
  else
    Text::cut(runtime::readNpy(arguments.tokens), 0, all, arguments.length, 1);
}

/// Some of the text that estimates are fitted on.
static Text groupingText(const Arguments &arguments) {
  constexpr int64_t most = 4; // windows or rows
  int64_t first = arguments.testSamples + arguments.samples, count = std::min(arguments.fitSamples, most);
  if (!arguments.inputs.empty())
    return Text::rows(runtime::readTensors(arguments.inputs), first, count, 1);
  return Text::cut(runtime::readNpy(arguments.tokens), first * arguments.length, count, arguments.length, 1);
}

/// The KV heads that every attention has; 0 where they differ, or where there is nothing to group.
static size_t headsToGroup(const runtime::Manifest &manifest) {
  size_t heads = manifest.heads.empty() ? 0 : manifest.heads.begin()->second.size();
  for (const auto &[site, order] : manifest.heads)
    if (order.size() != heads)
      return 0;
  auto ranks = static_cast<size_t>(manifest.tp);
  return heads % ranks == 0 && heads <= 64 ? heads : 0;
}

/// Scatters the heads with a program of one KV head a rank, and matches the sets to MLP slices with one that has them
/// so. What is found is written to heads.json in the output folder.
static bool
groupHeads(const Arguments &arguments,
           const std::function<bool(const std::string &folder, int64_t ranks, const std::string &heads)> &compile) {
  auto say = [&](const char *what) {
    if (arguments.progress)
      arguments.progress(what);
  };
  std::string folder = arguments.output + "/heads", file = arguments.output + "/heads.json";
  if (!compile(folder, arguments.tp, ""))
    return false;
  runtime::EngineOptions settings;
  settings.threadsPerRank = arguments.threadsPerRank;
  settings.timeout = std::chrono::minutes(20);
  size_t heads = headsToGroup(runtime::Manifest::read(folder + "/manifest.json"));
  if (heads == 0)
    runtime::failInput("--group-heads: the attentions' KV heads cannot be divided into ", arguments.tp,
                       " sets of one size that are as many everywhere (at most 64)");
  Text text = groupingText(arguments);
  auto ranks = static_cast<size_t>(arguments.tp);
  if (heads > ranks) {
    say("grouping heads: scattering");
    if (!compile(folder, static_cast<int64_t>(heads), ""))
      return false;
    runtime::Engine perHead(folder, settings);
    writeHeads(scatterHeads(perHead, text, ranks), arguments.tp, file);
    if (!compile(folder, arguments.tp, file))
      return false;
  }
  say("grouping heads: matching");
  runtime::Engine scattered(folder, settings);
  writeHeads(matchHeads(scattered, text), arguments.tp, file);
  return true;
}

/// Before anything in the folder changes: results for one model, or for other numbers of it, are no use for another.
static void refuseOtherModel(const Arguments &arguments, const std::string &had, const std::string &wanted) {
  std::string results = arguments.output + "/measurements.jsonl";
  std::string before = had.substr(0, had.find('\n')), now = wanted.substr(0, wanted.find('\n'));
  if (!before.empty() && before != now && fs::exists(results))
    runtime::failInput(results, ": holds results for ", before, ", this run is for ", now,
                       "; give another folder with -o, or remove that file");
}

bool prepareProgram(Arguments &arguments) {
  if (!fs::is_regular_file(arguments.model))
    runtime::failInput(arguments.model, ": there is no such file");
  checkText(arguments);
  if (!arguments.recipes.empty() && !fs::is_regular_file(arguments.recipes))
    runtime::failInput(arguments.recipes, ": there is no such file");
  runtime::makeOutputFolder("--output", arguments.output);
  arguments.program = arguments.output + "/program";
  std::string origin = arguments.output + "/program.txt", wanted = describeInput(arguments), had;
  if (std::ifstream file(origin); file)
    had.assign(std::istreambuf_iterator<char>(file), {});
  if (had == wanted && fs::exists(arguments.program + "/manifest.json"))
    return true;
  refuseOtherModel(arguments, had, wanted);
  fs::remove(origin);
  ProgramSource source{arguments.model, arguments.maxLength(), arguments.dims, arguments.values, arguments.formats};
  auto compile = [&](const std::string &folder, int64_t ranks, const std::string &heads) {
    return compileProgram(source, folder, ranks, heads, !arguments.quiet);
  };
  if (arguments.groupsHeads) {
    bool grouped = groupHeads(arguments, compile);
    fs::remove_all(arguments.output + "/heads");
    if (!grouped)
      return false;
  }
  if (!compile(arguments.program, arguments.tp, arguments.groupsHeads ? arguments.output + "/heads.json" : ""))
    return false;
  if (!(std::ofstream(origin) << wanted << std::flush))
    runtime::failRun(origin, ": cannot be written");
  return true;
}

} // namespace caat::ablate
