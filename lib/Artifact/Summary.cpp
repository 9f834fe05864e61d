// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Artifact/Compile.h"
#include "caat/Support/SafeStream.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"

using namespace caat;

/// Sites of one policy and size, in the order in which the first of each appears.
static void printSites(const CompileSummary &summary, llvm::raw_ostream &os) {
  struct Group {
    const CompileSummary::Site *first;
    int64_t count = 0;
  };
  llvm::SmallVector<Group> groups;
  int64_t total = 0;
  for (const CompileSummary::Site &site : summary.sites) {
    total += site.bytesPerToken;
    auto group = llvm::find_if(groups, [&](const Group &g) {
      return g.first->policy == site.policy && g.first->bytesPerToken == site.bytesPerToken;
    });
    if (group == groups.end())
      group = &groups.emplace_back(Group{&site});
    ++group->count;
  }
  os << llvm::formatv("{0,-40} {1,6} {2,12}\n", "sync points", "sites", "bytes/token");
  for (const Group &group : groups)
    os << llvm::formatv("  {0,-38} {1,6} {2,12}\n", group.first->policy, group.count,
                        group.count * group.first->bytesPerToken);
  os << llvm::formatv("  {0,-38} {1,6} {2,12}\n", "total", summary.sites.size(), total);
}

/// Of programs with matrices of few bits, or that were asked for.
static void printMatrices(const CompileSummary &summary, llvm::raw_ostream &os) {
  llvm::ListSeparator separator;
  os << "matrices of products: ";
  for (auto [name, matrices] : {std::pair("4 bits", summary.fourBits), std::pair("8 bits", summary.eightBits),
                                std::pair("floats", summary.floats)})
    if (matrices.count > 0)
      os << separator
         << llvm::formatv("{0} in {1} ({2:F1} MiB a rank)", matrices.count, name, matrices.bytes / 1048576.0);
  os << "\n";
  if (summary.roundedMatrices > 0)
    os << llvm::formatv("{0} of them {1} rounded (--weights), which changes results: compare `caat-run score` with a "
                        "program without\n",
                        summary.roundedMatrices, summary.roundedMatrices == 1 ? "is" : "are");
}

void caat::printSummary(const CompileOptions &options, const CompileSummary &summary, bool timing) {
  SafeStream os(llvm::outs());
  if (!summary.sites.empty())
    printSites(summary, os);
  if (summary.cost && options.tp > 1)
    summary.cost->print(os, options.tokens, options.link);
  if (!summary.reason.empty())
    os << "strategy " << summary.strategy << ": " << summary.reason << "\n";
  os << llvm::formatv("{0}: {1} rank{2}, {3} collectives, {4} kernels, {5} parameters, {6:F1} MiB of weights a rank, "
                      "{7:F0} KiB of code\n",
                      options.output, options.tp, options.tp == 1 ? "" : "s", summary.collectives, summary.kernels,
                      summary.parameters, summary.weightBytes / 1048576.0, summary.codeBytes / 1024.0);
  if (summary.fourBits.count + summary.eightBits.count > 0 || !options.weightRules.empty())
    printMatrices(summary, os);
  if (!timing)
    return;
  double total = 0;
  for (const auto &[name, seconds] : summary.stages) {
    os << llvm::formatv("  {0,-10} {1,8:F3} s\n", name, seconds);
    total += seconds;
  }
  os << llvm::formatv("  {0,-10} {1,8:F3} s\n", "total", total);
}
