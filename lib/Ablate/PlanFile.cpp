// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Ablate/PlanFile.h"
#include "WriteJson.h"
#include "caat/runtime/Error.h"
#include "caat/runtime/SafeTensors.h"
#include <algorithm>
#include <nlohmann/json.hpp>

namespace caat::ablate {

using Json = nlohmann::ordered_json;

/// A complete order: the reduced channels, then the others as they are numbered.
static std::vector<int64_t> completed(const std::vector<int64_t> &shared, int64_t channels) {
  std::vector<int64_t> order = shared;
  std::vector<bool> isShared(static_cast<size_t>(channels));
  for (int64_t channel : shared)
    isShared[static_cast<size_t>(channel)] = true;
  for (int64_t channel = 0; channel < channels; ++channel)
    if (!isShared[static_cast<size_t>(channel)])
      order.push_back(channel);
  return order;
}

/// As docs/plan.schema.json names it.
static const char *featureName(runtime::SiteEstimate::Feature feature) {
  using Feature = runtime::SiteEstimate::Feature;
  return feature == Feature::Pending ? "pending" : feature == Feature::Input ? "input" : "pending+input";
}

void writePlan(const runtime::Policies &policies, const runtime::Manifest &manifest, const std::string &folder,
               const std::string &name) {
  Json sites = Json::object();
  runtime::TensorMap estimates;
  std::map<std::string, std::string> features;
  int64_t ranks = manifest.tp;
  for (size_t i = 0; i < policies.size(); ++i) {
    const runtime::SitePolicy &policy = *policies[i];
    const runtime::SiteSpec &site = manifest.sites[i];
    auto width = static_cast<int64_t>(policy.shared.size());
    bool isWhole = policy.full || width == site.channels;
    if (isWhole && !policy.rounding)
      continue;
    Json entry;
    entry["sync"] = isWhole ? "full" : "partial";
    if (!isWhole) {
      // A share that truncates to the right number of channels.
      entry["shared"] = width == 0 ? 0.0 : (static_cast<double>(width) + 0.5) / static_cast<double>(site.channels);
      entry["rest"] = policy.isPrivate ? "private" : "deferred";
      if (policy.isPrivate)
        entry["scale"] = policy.scale;
    }
    if (width > 0)
      entry["order"] = completed(policy.shared, site.channels);
    if (policy.rounding) {
      entry["bits"] = policy.rounding->bits;
      entry["block"] = policy.rounding->block;
      for (int64_t place : policy.rounding->exact)
        entry["exact"].push_back(policy.shared[static_cast<size_t>(place)]);
      entry["feedback"] = policy.feedback;
    }
    if (policy.estimate) {
      entry["estimate"] = name + ".safetensors";
      const runtime::SiteEstimate &guess = *policy.estimate;
      auto add = [&](const char *suffix, const std::vector<float> &values, const runtime::Shape &shape) {
        runtime::Tensor tensor(runtime::DType::F32, shape);
        std::copy(values.begin(), values.end(), tensor.as<float>());
        estimates.emplace(site.name + suffix, tensor);
      };
      add(".a", guess.a, {ranks, site.channels});
      add(".b", guess.b, {ranks, site.channels});
      if (guess.inner > 0) {
        add(".u", guess.u, {ranks, site.channels, guess.inner});
        add(".v", guess.v, {ranks, guess.inner, guess.getFeatures(site.channels)});
        features[site.name + ".f"] = featureName(guess.feature);
      }
    }
    if (width == 0 && !policy.isPrivate && !policy.estimate)
      entry = {{"sync", "drop"}};
    sites[site.name] = std::move(entry);
  }
  Json plan = {{"version", 1}, {"tp", ranks}, {"default", {{"sync", "full"}}}, {"sites", std::move(sites)}};
  for (const auto &[site, order] : manifest.heads)
    if (!std::is_sorted(order.begin(), order.end()))
      plan["heads"][site] = order;
  std::string path = folder + "/" + name + ".json";
  if (!estimates.empty())
    runtime::writeSafeTensors(folder + "/" + name + ".safetensors", estimates, features);
  writeJson(plan, path);
}

} // namespace caat::ablate
