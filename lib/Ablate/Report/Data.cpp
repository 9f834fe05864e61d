// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Data.h"
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <tuple>
#include <utility>

namespace caat::ablate::report {

using Json = nlohmann::ordered_json;

/// Null where there is none.
static const Json &member(const Json &object, const char *key) {
  static const Json none;
  if (!object.is_object())
    return none;
  auto found = object.find(key);
  return found == object.end() ? none : *found;
}

static Number number(const Json &object, const char *key) {
  const Json &value = member(object, key);
  if (!value.is_number() || !std::isfinite(value.get<double>()))
    return {};
  return value.get<double>();
}

static std::string text(const Json &object, const char *key) {
  const Json &value = member(object, key);
  return value.is_string() ? value.get<std::string>() : "";
}

static bool flag(const Json &object, const char *key, bool otherwise = false) {
  const Json &value = member(object, key);
  return value.is_boolean() ? value.get<bool>() : otherwise;
}

static const Json &list(const Json &object, const char *key) {
  static const Json none = Json::array();
  const Json &value = member(object, key);
  return value.is_array() ? value : none;
}

static std::vector<std::string> texts(const Json &object, const char *key) {
  std::vector<std::string> result;
  for (const Json &value : list(object, key))
    if (value.is_string())
      result.push_back(value.get<std::string>());
  return result;
}

/// What readers call a family; one that is not known has its own name.
static std::string familyName(const std::string &family) {
  for (auto [key, name] : {std::pair{"search", "search"},
                           {"spd", "SPD"},
                           {"caat", "CAAT-Net's rule"},
                           {"bits, feedback", "few bits, with feedback"},
                           {"bits, plain", "few bits, errors lost"},
                           {"recipe", "written down"},
                           {"", "other"}})
    if (family == key)
      return name;
  return family;
}

Number lesser(Number a, Number b) { return a && b ? Number(std::min(*a, *b)) : a ? a : b; }

static Plan readPlan(const Json &json) {
  Plan plan;
  plan.id = text(json, "id"), plan.family = familyName(text(json, "family"));
  plan.label = text(json, "label"), plan.words = text(json, "words");
  if (plan.label.empty())
    plan.label = plan.id;
  plan.perplexity = number(json, "perplexity"), plan.nll = number(json, "nll");
  plan.nllError = number(json, "nll_error"), plan.ratio = number(json, "ratio");
  plan.added = number(json, "added"), plan.addedError = number(json, "added_error");
  plan.kl = number(json, "kl"), plan.kl99 = number(json, "kl99"), plan.agree = number(json, "agree");
  plan.bytes = number(json, "bytes_per_token"), plan.bytesShare = number(json, "bytes_share");
  plan.syncs = number(json, "syncs"), plan.seconds = number(json, "seconds");
  plan.halvedSeconds = number(json, "halved_seconds"), plan.measuredSeconds = number(json, "measured_seconds");
  plan.fastest = lesser(plan.seconds, plan.halvedSeconds);
  plan.chosen = flag(json, "chosen"), plan.frontier = flag(json, "frontier");
  return plan;
}

static Link readLink(const Json &json) {
  Link link{text(json, "name"),
            number(json, "bandwidth"),
            number(json, "latency"),
            number(json, "exact_seconds"),
            number(json, "chosen_seconds"),
            number(json, "measured_exact_seconds"),
            number(json, "measured_chosen_seconds"),
            number(json, "exact_halved_seconds"),
            number(json, "chosen_halved_seconds")};
  if (flag(json, "measured") && !link.measuredExact && !link.measuredChosen) {
    link.measuredExact = std::exchange(link.exactSeconds, {});
    link.measuredChosen = std::exchange(link.chosenSeconds, {});
  }
  return link;
}

/// Fills in what follows from other figures.
static void complete(Plan &plan, const Plan &exact) {
  if (!plan.ratio && plan.perplexity && exact.perplexity && *exact.perplexity > 0)
    plan.ratio = *plan.perplexity / *exact.perplexity;
  if (!plan.nll && plan.perplexity && *plan.perplexity > 0)
    plan.nll = std::log(*plan.perplexity);
  if (!plan.added && plan.ratio && *plan.ratio > 0)
    plan.added = std::log(*plan.ratio);
  if (!plan.bytesShare && plan.bytes && exact.bytes && *exact.bytes > 0)
    plan.bytesShare = *plan.bytes / *exact.bytes;
}

static void readSites(const Json &json, Data &data, std::map<std::string, size_t> &numbers) {
  for (const Json &entry : list(json, "sites")) {
    Site site;
    site.name = text(entry, "name"), site.kind = text(entry, "kind"), site.reason = text(entry, "reason");
    site.sensitivityClass = text(entry, "class"), site.chosen = text(entry, "chosen");
    site.layer = number(entry, "layer"), site.deferrable = flag(entry, "deferrable", true);
    if (site.layer && *site.layer < 0)
      site.layer.reset();
    if (!site.name.empty() && numbers.emplace(site.name, data.sites.size()).second)
      data.sites.push_back(std::move(site));
  }
}

static void readSensitivity(const Json &json, Data &data, const std::map<std::string, size_t> &numbers) {
  std::map<std::pair<size_t, std::string>, Sensitivity> entries; // of two of the same the later counts
  for (const Json &entry : list(json, "sensitivity")) {
    auto site = numbers.find(text(entry, "site"));
    std::string choice = text(entry, "choice");
    if (site == numbers.end() || choice.empty())
      continue;
    entries[{site->second, choice}] = {site->second,
                                       choice,
                                       text(entry, "reason"),
                                       number(entry, "added"),
                                       number(entry, "added_error"),
                                       number(entry, "kl"),
                                       number(entry, "kl99"),
                                       number(entry, "agree")};
    if (std::find(data.choices.begin(), data.choices.end(), choice) == data.choices.end())
      data.choices.push_back(choice);
  }
  for (auto &[key, entry] : entries)
    data.sensitivity.push_back(std::move(entry));
}

static void readOrders(const Json &json, Data &data, const std::map<std::string, size_t> &numbers) {
  for (const char *procedure : {"leave_one_out", "algorithm1", "greedy"})
    for (const Json &entry : list(member(json, "orders"), procedure))
      if (auto site = numbers.find(text(entry, "site")); site != numbers.end())
        data.orders[procedure].push_back({site->second, number(entry, "value"), number(entry, "perplexity")});
}

const Plan *Data::chosen() const {
  auto found = std::find_if(plans.begin(), plans.end(), [](const Plan &plan) { return plan.chosen; });
  return found == plans.end() ? nullptr : &*found;
}

const Sensitivity *Data::find(size_t site, const std::string &choice) const {
  auto found = std::lower_bound(
      sensitivity.begin(), sensitivity.end(), std::tie(site, choice),
      [](const Sensitivity &entry, const auto &key) { return std::tie(entry.site, entry.choice) < key; });
  return found == sensitivity.end() || found->site != site || found->choice != choice ? nullptr : &*found;
}

Data readData(std::string_view source) {
  Json json = Json::parse(source, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object())
    throw std::invalid_argument("the data of the report is no JSON object");
  if (number(json, "version") != 1)
    throw std::invalid_argument("the data of the report is not of version 1");

  Data data;
  const Json &model = member(json, "model"), &corpus = member(json, "text"), &link = member(json, "link");
  data.model = text(model, "file"), data.layers = number(model, "layers"), data.channels = number(model, "channels");
  data.compiledWith = text(model, "compiled_with");
  data.ranks = number(json, "tp"), data.lossName = text(json, "loss");
  data.text = text(corpus, "file"), data.length = number(corpus, "length"), data.samples = number(corpus, "samples");
  data.fitSamples = number(corpus, "fit_samples"), data.testSamples = number(corpus, "test_samples");
  data.link = text(link, "text"), data.workload = text(member(json, "workload"), "text");
  data.hasExact = member(json, "exact").is_object();
  data.exact = readPlan(member(json, "exact"));
  data.tokens = number(member(json, "exact"), "tokens");
  complete(data.exact, data.exact);
  const Json &thresholds = member(json, "thresholds");
  data.tau1 = number(thresholds, "tau1"), data.tau2 = number(thresholds, "tau2"), data.why = text(thresholds, "why");

  std::map<std::string, size_t> numbers;
  readSites(json, data, numbers);
  readSensitivity(json, data, numbers);
  readOrders(json, data, numbers);
  for (const Json &entry : list(json, "plans")) {
    data.plans.push_back(readPlan(entry));
    complete(data.plans.back(), data.exact);
  }
  for (const Json &entry : list(json, "links"))
    data.links.push_back(readLink(entry));
  for (const Json &entry : list(json, "samples"))
    data.continuations.push_back({text(entry, "prompt"), text(entry, "exact"), text(entry, "chosen")});
  data.warnings = texts(json, "warnings"), data.commands = texts(json, "commands");
  return data;
}

} // namespace caat::ablate::report
