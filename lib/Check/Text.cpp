// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Report.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"

using namespace llvm;
using namespace caat::check;

StringRef caat::check::nameOf(Verdict::Kind kind) {
  switch (kind) {
  case Verdict::Even:
    return "even";
  case Verdict::Padded:
    return "padded";
  case Verdict::Partly:
    return "partly";
  case Verdict::Refused:
    return "refused";
  }
  llvm_unreachable("every kind returns");
}

int64_t RankReport::payload(Scenario scenario) const {
  int64_t total = 0;
  for (const Message &message : messages)
    total += message.bytes[scenario];
  return total;
}

caat::cost::Traffic RankReport::sent(Scenario scenario) const {
  cost::Traffic total;
  for (const Message &message : messages)
    total += cost::trafficOf(message.kind, ranks, static_cast<double>(message.bytes[scenario])).value();
  return total;
}

static std::string formatBytes(double bytes) {
  for (auto [unit, size] : {std::pair("GB", 1e9), std::pair("MB", 1e6), std::pair("KB", 1e3)})
    if (bytes >= size)
      return formatv("{0:F1} {1}", bytes / size, unit);
  return formatv("{0} B", int64_t(bytes));
}

static std::string formatSeconds(double seconds) {
  return seconds >= 1 ? formatv("{0:F2} s", seconds).str() : formatv("{0:F3} ms", seconds * 1e3).str();
}

static std::string pad(StringRef text, size_t width, bool toTheRight = false) {
  std::string space(width > text.size() ? width - text.size() : 0, ' ');
  return toTheRight ? space + text.str() : text.str() + space;
}

/// Columns as wide as their widest cell; the first to the left, the others to the right.
static void printTable(ArrayRef<std::vector<std::string>> rows, raw_ostream &os) {
  SmallVector<size_t> widths;
  for (const auto &row : rows)
    for (auto [column, cell] : enumerate(row)) {
      widths.resize(std::max(widths.size(), column + 1));
      widths[column] = std::max(widths[column], cell.size());
    }
  for (const auto &row : rows) {
    for (auto [column, cell] : enumerate(row))
      os << (column ? "  " : "") << pad(cell, widths[column], column > 0);
    os << "\n";
  }
}

static void printVerdicts(const Report &report, raw_ostream &os) {
  os << "ranks  verdict  what happens\n";
  for (const Verdict &verdict : report.verdicts) {
    os << pad(std::to_string(verdict.ranks), 5) << "  " << pad(nameOf(verdict.kind), 7);
    if (verdict.reasons.empty())
      os << "  nothing is padded";
    for (auto [index, reason] : enumerate(verdict.reasons))
      os << (index ? "\n" + std::string(14, ' ') : "") << "  " << reason;
    os << "\n";
  }
  os << formatv("Sizes that can be used: 1 to {0}.\n\n", report.largestSize);
}

/// Messages that are alike, in the order in which the first of each appears; "layers.3.attn" is like "layers.0.attn".
struct MessageGroup {
  const Message *first;
  std::string site;
  int64_t count = 0;
};

static std::vector<MessageGroup> group(ArrayRef<Message> messages) {
  std::vector<MessageGroup> groups;
  for (const Message &message : messages) {
    std::string site = message.site;
    StringRef text = site;
    if (text.consume_front("layers."))
      site = "layers.*" + text.drop_while(isDigit).str();
    auto known = find_if(groups, [&](const MessageGroup &group) {
      return group.site == site && group.first->kind == message.kind && group.first->bytes == message.bytes;
    });
    if (known == groups.end())
      known = groups.insert(groups.end(), {&message, site});
    ++known->count;
  }
  return groups;
}

static void printSizes(const Report &report, raw_ostream &os) {
  std::vector<std::vector<std::string>> rows;
  auto add = [&](const Twine &name, function_ref<std::string(const RankReport &)> cell) {
    std::vector<std::string> row{name.str()};
    for (const RankReport &rank : report.sizes)
      row.push_back(cell(rank));
    rows.push_back(row);
  };
  add("one rank of", [](const RankReport &rank) { return std::to_string(rank.ranks); });
  add("weights", [](const RankReport &rank) { return formatBytes(rank.weightBytes); });
  add("  of these whole on every rank", [](const RankReport &rank) { return formatBytes(rank.wholeBytes); });
  add("zeros and repeats, all ranks", [](const RankReport &rank) { return formatBytes(rank.extraBytes); });
  if (report.hasCache) {
    add("cache per position", [](const RankReport &rank) { return formatBytes(rank.cacheBytes); });
    add(formatv("cache of {0} positions, batch {1}", report.context, report.batch),
        [&](const RankReport &rank) { return formatBytes(double(rank.cacheBytes) * report.context * report.batch); });
  }
  add("messages", [](const RankReport &rank) { return std::to_string(rank.messages.size()); });
  add("bytes per token", [](const RankReport &rank) { return std::to_string(rank.payload(Token)); });
  add("sent per token in a ring",
      [](const RankReport &rank) { return std::to_string(int64_t(rank.sent(Token).bytes)); });
  std::string prompt = formatv("{0} tokens, batch {1}", report.prefill, report.batch);
  add("bytes, " + prompt, [](const RankReport &rank) { return formatBytes(rank.payload(Prefill)); });
  if (report.link) {
    add("time, " + prompt,
        [&](const RankReport &rank) { return formatSeconds(rank.sent(Prefill).seconds(*report.link)); });
    if (report.hasCache)
      add(formatv("time, one step of decoding, batch {0}", report.batch),
          [&](const RankReport &rank) { return formatSeconds(rank.sent(Decode).seconds(*report.link)); });
  }
  printTable(rows, os);
  if (report.link)
    os << formatv("Link: {0}/s, {1:F1} us. A ring all-reduce of n bytes on r ranks takes 2(r-1) (latency + n / (r "
                  "bandwidth)), an all-gather half of it.\n",
                  formatBytes(report.link->bandwidth), report.link->latency * 1e6);
}

void caat::check::printText(const Report &report, raw_ostream &os) {
  os << formatv("{0}: {1} nodes, {2} after raising, {3} attentions, {4} of weights\n", report.model, report.nodes,
                report.raisedOps, report.attentions, formatBytes(report.weightBytes));
  SmallVector<std::string> dims;
  for (auto [role, name] : {std::pair("batch", &report.dims.batch), std::pair("tokens", &report.dims.query),
                            std::pair("cached", &report.dims.past)})
    if (!name->empty())
      dims.push_back(formatv("{0} = {1}", role, *name));
  if (!dims.empty())
    os << "named dimensions: " << join(dims, ", ") << "\n";
  if (report.dims.query.empty())
    os << "the number of tokens is fixed: what is called a token or a prompt below is one pass of them\n";
  os << "\n";
  printVerdicts(report, os);
  if (report.sizes.empty())
    return;
  printSizes(report, os);
  for (const RankReport &rank : report.sizes) {
    // Sizes whose messages are those of the size before are not repeated.
    const RankReport *before = &rank == &report.sizes.front() ? nullptr : &rank - 1;
    auto same = [](const Message &a, const Message &b) { return a.site == b.site && a.bytes == b.bytes; };
    if (rank.messages.empty() || (before && std::equal(rank.messages.begin(), rank.messages.end(),
                                                       before->messages.begin(), before->messages.end(), same)))
      continue;
    os << formatv("\nmessages of a rank of {0}\n", rank.ranks);
    std::vector<std::vector<std::string>> rows{{"site", "kind", "count", "bytes/token", "bytes, prompt"}};
    for (const MessageGroup &group : group(rank.messages))
      rows.push_back({group.count > 1 ? group.site : group.first->site, group.first->kind, std::to_string(group.count),
                      std::to_string(group.first->bytes[Token]), std::to_string(group.first->bytes[Prefill])});
    printTable(rows, os);
    for (const Message &message : rank.messages)
      if (message.kind == "all_gather")
        os << formatv("warning: '{0}' needs a value whole that is split, and gathers {1} bytes a token; "
                      "tp-report-sharding says more\n",
                      message.node, message.bytes[Token]);
  }
}
