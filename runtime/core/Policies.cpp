// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// From a plan to what switchable sites do.
#include "SiteRunner.h"
#include "caat/runtime/Error.h"
#include <algorithm>

namespace caat::runtime {

void checkPolicy(const SitePolicy &policy, const SiteSpec &site, int ranks) {
  if (policy.full && !policy.rounding)
    return;
  auto channels = static_cast<size_t>(site.channels);
  bool keeps = !policy.full && policy.shared.size() < channels;
  if (policy.full && policy.shared.size() != channels)
    failInput("site ", site.name, ": a full sum that is rounded needs the order of all ", site.channels, " channels");
  if (policy.rounding && policy.rounding->channels != static_cast<int64_t>(policy.shared.size()))
    failInput("site ", site.name, ": rounds ", policy.rounding->channels, " of ", policy.shared.size(), " channels");
  if (keeps && !policy.isPrivate && !site.notDeferrable.empty())
    failInput("site ", site.name, " cannot defer: ", site.notDeferrable);
  if (keeps && policy.isPrivate && !site.notPrivate.empty())
    failInput("site ", site.name, " cannot be private: ", site.notPrivate);
  std::vector<bool> seen(channels);
  for (int64_t channel : policy.shared) {
    if (channel < 0 || channel >= site.channels || seen[static_cast<size_t>(channel)])
      failInput("site ", site.name, ": ", channel, " is no channel below ", site.channels, ", or occurs twice");
    seen[static_cast<size_t>(channel)] = true;
  }
  if (!policy.estimate)
    return;
  const SiteEstimate &guess = *policy.estimate;
  size_t all = channels * static_cast<size_t>(ranks), inner = static_cast<size_t>(guess.inner);
  if (guess.a.size() != all || guess.b.size() != all || guess.u.size() != all * inner)
    failInput("site ", site.name, ": an estimate needs a row of ", site.channels, " channels for each of ", ranks,
              " ranks");
  if (guess.readsInput() && site.input != site.channels)
    failInput("site ", site.name, ": its estimate reads the module's input, which is not known here");
}

static std::shared_ptr<const SitePolicy> readPolicy(const Plan &plan, const PlanEntry &entry, const SiteSpec &site,
                                                    int ranks) {
  auto policy = std::make_shared<SitePolicy>();
  if (entry.isFull && !entry.isRounded())
    return policy;
  checkChannels(plan, entry, site.name, site.channels);
  policy->full = entry.isFull;
  policy->isPrivate = entry.isPrivate;
  policy->scale = static_cast<float>(entry.isPrivate ? entry.getScale(ranks) : 1.0);
  for (int64_t place = 0; place < entry.getShared(site.channels); ++place)
    policy->shared.push_back(entry.channelAt(place));
  if (entry.isRounded()) {
    WireFormat &wire = policy->rounding.emplace();
    wire.channels = static_cast<int64_t>(policy->shared.size());
    wire.bits = entry.bits;
    wire.block = entry.block;
    for (int64_t place = 0; place < wire.channels; ++place)
      if (std::find(entry.exact.begin(), entry.exact.end(), policy->shared[static_cast<size_t>(place)]) !=
          entry.exact.end())
        wire.exact.push_back(place);
    policy->feedback = entry.feedback.value_or(site.notDeferrable.empty());
    if (policy->feedback && !site.notDeferrable.empty())
      failInput(plan.file, ": ", entry.path, ".feedback: site ", site.name, " cannot defer: ", site.notDeferrable);
  }
  if (!entry.estimate.empty())
    policy->estimate = readEstimate(plan, entry, site.name, ranks, site.channels);
  try {
    checkPolicy(*policy, site, ranks);
  } catch (const Error &e) {
    failInput(plan.file, ": ", entry.path, ": ", e.what());
  }
  return policy;
}

/// Sums are the same however heads are dealt out; what a rank lacks of one, and estimates of that, are not.
static void checkHeads(const Plan &plan, const Manifest &manifest) {
  bool isFitted =
      std::any_of(plan.sites.begin(), plan.sites.end(), [](auto &site) { return !site.second.estimate.empty(); });
  if (plan.heads.empty() && !isFitted)
    return;
  bool isSame = std::all_of(plan.heads.begin(), plan.heads.end(),
                            [&](auto &entry) { return manifest.heads.contains(entry.first); });
  for (const auto &[site, order] : manifest.heads) {
    auto wanted = plan.heads.find(site);
    isSame &= wanted == plan.heads.end() ? std::is_sorted(order.begin(), order.end()) : wanted->second == order;
  }
  if (!isSame)
    failInput(plan.file,
              ": heads: the program deals its heads out in another order; compile it with --switchable "
              "--heads=",
              plan.file);
}

Policies readPolicies(const Plan &plan, const Manifest &manifest) {
  if (plan.tp && *plan.tp != manifest.tp)
    failInput(plan.file, ": tp: the plan is for ", *plan.tp, " ranks, the program for ", manifest.tp);
  for (const auto &[name, entry] : plan.sites)
    if (std::none_of(manifest.sites.begin(), manifest.sites.end(),
                     [&, &name = name](const SiteSpec &site) { return site.name == name; }))
      failInput(plan.file, ": ", entry.path, ": there is no such site; the program has ", manifest.sites.size(),
                manifest.sites.empty() ? ""
                                       : " from " + manifest.sites.front().name + " to " + manifest.sites.back().name);
  checkHeads(plan, manifest);
  Policies policies;
  for (const SiteSpec &site : manifest.sites)
    policies.push_back(readPolicy(plan, plan.lookup(site.name), site, manifest.tp));
  return policies;
}

} // namespace caat::runtime
