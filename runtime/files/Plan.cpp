// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Plans, and the forms of their readers that do not throw. PlanReader.cpp and Estimate.cpp read.
#include "caat/runtime/Plan.h"
#include "caat/runtime/Error.h"
#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>

namespace caat::runtime {

double PlanEntry::getScale(int64_t ranks) const {
  switch (scale) {
  case Scale::One:
    return 1.0;
  case Scale::Sqrt:
    return std::sqrt(double(ranks));
  case Scale::Number:
    return scaleValue;
  }
  __builtin_unreachable();
}

int64_t PlanEntry::getShared(int64_t channels) const { return isFull ? channels : int64_t(shared * double(channels)); }

const PlanEntry &Plan::lookup(std::string_view site) const {
  auto found = sites.find(std::string(site));
  return found == sites.end() ? defaults : found->second;
}

std::string readPlanText(const std::string &file) {
  auto fail = [&] { failArtifact(file, ": cannot read the plan: ", std::strerror(errno)); };
  std::unique_ptr<FILE, int (*)(FILE *)> in(std::fopen(file.c_str(), "rbe"), [](FILE *f) { return std::fclose(f); });
  if (!in)
    fail();
  std::string text;
  char buffer[1 << 14];
  while (size_t bytes = std::fread(buffer, 1, sizeof buffer, in.get()))
    text.append(buffer, bytes);
  if (std::ferror(in.get()))
    fail();
  return text;
}

Plan readPlan(const std::string &file) { return parsePlan(readPlanText(file), file); }

void checkChannels(const Plan &plan, const PlanEntry &entry, const std::string &site, int64_t channels) {
  auto fail = [&](const auto &...parts) { failArtifact(plan.file, ": ", entry.path, parts...); };
  if (!entry.order.empty() && int64_t(entry.order.size()) != channels)
    fail(".order: lists ", entry.order.size(), " channels, site ", site, " has ", channels);
  int64_t shared = entry.getShared(channels);
  for (size_t i = 0; i < entry.exact.size(); ++i) {
    int64_t channel = entry.exact[i];
    if (channel >= channels)
      fail(".exact[", i, "]: channel ", channel, " is outside [0, ", channels, "), the channels of site ", site);
    bool isReduced = shared == channels;
    for (int64_t place = 0; place < shared && !isReduced; ++place)
      isReduced = entry.channelAt(place) == channel;
    if (!isReduced)
      fail(".exact[", i, "]: channel ", channel, " is not among the ", shared, " channels that site ", site,
           " reduces");
  }
}

/// The result of a function that throws, or nothing and the error's text.
template <typename F> static auto attempt(std::string &error, F &&run) -> std::optional<decltype(run())> {
  try {
    return run();
  } catch (const std::exception &e) {
    error = e.what();
    return std::nullopt;
  }
}

std::optional<Plan> tryParsePlan(std::string_view text, const std::string &file, std::string &error) {
  return attempt(error, [&] { return parsePlan(text, file); });
}

std::optional<std::string> tryReadPlanText(const std::string &file, std::string &error) {
  return attempt(error, [&] { return readPlanText(file); });
}

std::optional<SiteEstimate> tryReadEstimate(const Plan &plan, const PlanEntry &entry, const std::string &site,
                                            int64_t ranks, int64_t channels, std::string &error) {
  return attempt(error, [&] { return readEstimate(plan, entry, site, ranks, channels); });
}

std::string tryCheckChannels(const Plan &plan, const PlanEntry &entry, const std::string &site, int64_t channels) {
  std::string error;
  attempt(error, [&] {
    checkChannels(plan, entry, site, channels);
    return true;
  });
  return error;
}

} // namespace caat::runtime
