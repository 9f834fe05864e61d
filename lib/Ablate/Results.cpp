// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What an ablation leaves behind.
#include "caat/Ablate/Ablation.h"
#include "caat/Ablate/PlanFile.h"
#include "caat/Ablate/Report.h"
#include "caat/Ablate/ShellWord.h"
#include "caat/runtime/Error.h"
#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

namespace caat::ablate {

using Json = nlohmann::ordered_json;

namespace {

void append(Json &to, const Json &more) {
  for (const auto &[key, value] : more.items())
    to[key] = value;
}

/// Seconds that are known only where a step may run in halves.
void append(Json &to, const char *key, std::optional<double> seconds) {
  if (seconds)
    to[key] = *seconds;
}

Json figures(const Measure &measure, const Result &result) {
  Json json = Json::object();
  if (result.hasLogits)
    json = {{"perplexity", measure.perplexity()}, {"ratio", measure.ratio()}};
  append(json, {{"added", measure.added},
                {"added_error", measure.addedError},
                {"kl", measure.kl},
                {"kl_error", measure.klError},
                {"kl99", measure.kl99},
                {"agree", measure.agree},
                {"tokens", measure.tokens}});
  return json;
}

/// ISB, SB, ESB: insensitive, sensitive, extremely sensitive block.
std::string classOf(double loss, const Result &result) {
  return loss <= result.tau1 ? "ISB" : loss <= result.tau2 ? "SB" : "ESB";
}

const NamedPlan *chosenPlan(const Result &result) {
  for (const NamedPlan &named : result.plans)
    if (named.isChosen)
      return &named;
  return nullptr;
}

Json sitesJson(const Result &result, const runtime::Manifest &manifest) {
  const NamedPlan *chosen = chosenPlan(result);
  std::vector<double> dropped(manifest.sites.size(), -1);
  for (const Sensitivity &figure : result.sensitivity)
    if (figure.choice == Choice::drop())
      dropped[figure.site] = figure.measure.kl;
  Json sites = Json::array();
  for (size_t i = 0; i < manifest.sites.size(); ++i) {
    const runtime::SiteSpec &site = manifest.sites[i];
    auto [layer, kind] = splitName(site.name);
    std::string reason = whyNot(Choice::drop(), site);
    Json entry = {
        {"name", site.name}, {"layer", layer}, {"kind", kind}, {"deferrable", reason.empty()}, {"reason", reason}};
    if (dropped[i] >= 0 && result.tau1 > 0)
      entry["class"] = classOf(dropped[i], result);
    if (chosen)
      entry["chosen"] = chosen->plan.choices[i].text();
    sites.push_back(std::move(entry));
  }
  return sites;
}

Json sensitivityJson(const Result &result, const runtime::Manifest &manifest) {
  Json list = Json::array();
  for (const Sensitivity &figure : result.sensitivity) {
    Json entry = {{"site", manifest.sites[figure.site].name}, {"choice", figure.choice.text()}};
    append(entry, figures(figure.measure, result));
    list.push_back(std::move(entry));
  }
  for (const Refusal &refusal : result.refusals)
    list.push_back(
        {{"site", manifest.sites[refusal.site].name}, {"choice", refusal.choice.text()}, {"reason", refusal.reason}});
  return list;
}

Json orderJson(const std::vector<OrderStep> &steps, const Result &result, const runtime::Manifest &manifest) {
  Json list = Json::array();
  for (const OrderStep &step : steps) {
    Json entry = {{"site", manifest.sites[step.site].name}, {"value", step.value}};
    if (result.hasLogits)
      entry["perplexity"] = step.measure.perplexity();
    list.push_back(std::move(entry));
  }
  return list;
}

Json ordersJson(const Result &result, const runtime::Manifest &manifest) {
  Json orders;
  std::vector<const Sensitivity *> alone;
  for (const Sensitivity &figure : result.sensitivity)
    if (figure.choice == Choice::drop())
      alone.push_back(&figure);
  std::sort(alone.begin(), alone.end(),
            [](auto *a, auto *b) { return std::tie(a->measure.added, a->site) < std::tie(b->measure.added, b->site); });
  orders["leave_one_out"] = Json::array();
  for (const Sensitivity *figure : alone)
    orders["leave_one_out"].push_back({{"site", manifest.sites[figure->site].name}, {"value", figure->measure.added}});
  orders["algorithm1"] = orderJson(result.algorithm1, result, manifest);
  if (!result.greedy.empty())
    orders["greedy"] = orderJson(result.greedy, result, manifest);
  return orders;
}

Json plansJson(const Result &result, const runtime::Manifest &manifest) {
  Json list = Json::array();
  std::map<std::string, int> numbers;
  for (const NamedPlan &named : result.plans) {
    Json entry = {{"id", named.family + "-" + std::to_string(++numbers[named.family])},
                  {"family", named.family},
                  {"label", named.label},
                  {"words", describe(named.plan.choices, manifest)}};
    append(entry, figures(named.plan.measure, result));
    append(entry, {{"bytes_per_token", named.plan.cost.bytesPerToken},
                   {"bytes_share", named.plan.cost.bytesPerToken / result.exactCost.bytesPerToken},
                   {"syncs", named.plan.cost.syncs},
                   {"seconds", named.plan.cost.seconds},
                   {"chosen", named.isChosen},
                   {"frontier", named.isFrontier}});
    append(entry, "halved_seconds", named.plan.cost.halvedSeconds);
    if (named.overLink)
      append(entry, {{"link_seconds", named.overLink->predicted}, {"measured_link_seconds", named.overLink->measured}});
    if (named.overLink)
      append(entry, "halved_link_seconds", named.overLink->halved);
    list.push_back(std::move(entry));
  }
  return list;
}

/// What makes these results again, and the program of the chosen plan or of the first recipe.
Json commandsJson(const Options &options, const Result &result, const runtime::Manifest &manifest) {
  Json commands = {options.command};
  std::string plan = chosenPlan(result) ? "plan.json" : options.recipes.empty() ? "" : "recipe-1.json";
  if (plan.empty())
    return commands;
  std::string compile = "caat-compile " + shellWord(options.model) + " --tp=" + std::to_string(manifest.tp);
  for (const std::string &flags : {options.programFlags, options.inputFlags})
    compile += flags.empty() ? "" : " " + flags;
  commands.push_back(compile + " " + shellWord("--plan=" + options.output + "/" + plan) + " -o program");
  return commands;
}

void write(const std::string &path, const std::string &text) {
  std::ofstream file(path);
  file << text;
  file.close();
  if (!file)
    runtime::failRun(path, ": cannot be written");
}

} // namespace

static Json report(const Options &options, const Result &result, const runtime::Manifest &manifest) {
  int64_t layers = 0;
  for (const runtime::SiteSpec &site : manifest.sites)
    layers = std::max(layers, splitName(site.name).first + 1);
  Json json = {{"version", 1}};
  json["model"] = {{"file", options.model},
                   {"sites", manifest.sites.size()},
                   {"layers", layers},
                   {"channels", manifest.sites.front().channels}};
  if (!options.programFlags.empty())
    json["model"]["compiled_with"] = options.programFlags;
  json["tp"] = manifest.tp;
  for (const auto &[site, order] : manifest.heads)
    if (!std::is_sorted(order.begin(), order.end()))
      json["heads"][site] = order;
  json["text"] = {{"file", result.hasLogits ? options.tokens : options.inputs}};
  if (result.hasLogits)
    json["text"]["length"] = options.length;
  append(json["text"],
         {{"samples", options.samples}, {"fit_samples", options.fitSamples}, {"test_samples", options.testSamples}});
  json["exact"] = {{"tokens", result.exactTest.tokens},
                   {"bytes_per_token", result.exactCost.bytesPerToken},
                   {"syncs", result.exactCost.syncs},
                   {"seconds", result.exactCost.seconds}};
  append(json["exact"], "halved_seconds", result.exactCost.halvedSeconds);
  if (result.hasLogits)
    append(json["exact"], {{"perplexity", result.exactTest.perplexity()},
                           {"nll", result.exactTest.nll},
                           {"nll_error", result.exactTest.nllError}});
  else
    json["loss"] = "1 − cosine of the embeddings";
  json["link"] = {{"text", options.linkText}, {"bandwidth", options.link.bandwidth}, {"latency", options.link.latency}};
  json["workload"] = {{"tokens", result.workload.tokens},
                      {"text", "a step of " + std::to_string(result.workload.tokens) + " tokens"},
                      {"compute_seconds", result.workload.computeSeconds},
                      {"sum_seconds", result.workload.sumSeconds},
                      {"deferred_seconds", result.workload.deferredSeconds},
                      {"rounded_seconds", result.workload.roundedSeconds},
                      {"head_seconds", result.workload.headSeconds}};
  json["sites"] = sitesJson(result, manifest);
  json["thresholds"] = {{"tau1", result.tau1}, {"tau2", result.tau2}, {"why", result.tauReason}};
  json["sensitivity"] = sensitivityJson(result, manifest);
  json["orders"] = ordersJson(result, manifest);
  json["plans"] = plansJson(result, manifest);
  Json links = Json::array();
  CostModel cost(manifest, options.link, result.workload);
  const NamedPlan *chosen = chosenPlan(result);
  for (auto [name, bandwidth, latency] : {std::tuple{"NVLink", 300e9, 5e-6},
                                          {"PCIe 4.0 x16", 25e9, 8e-6},
                                          {"100 Gb/s", 12.5e9, 10e-6},
                                          {"10 Gb/s", 1.25e9, 20e-6},
                                          {"1 Gb/s", 0.125e9, 50e-6}}) {
    cost::Link link{latency, bandwidth};
    PlanCost exact = cost.of(Choices(manifest.sites.size()), link);
    Json entry = {{"name", name}, {"bandwidth", bandwidth}, {"latency", latency}, {"exact_seconds", exact.seconds}};
    append(entry, "exact_halved_seconds", exact.halvedSeconds);
    if (chosen) {
      PlanCost plan = cost.of(chosen->plan.choices, link);
      entry["chosen_seconds"] = plan.seconds;
      append(entry, "chosen_halved_seconds", plan.halvedSeconds);
    }
    entry["measured"] = false;
    links.push_back(std::move(entry));
  }
  if (result.exactOverLink) {
    Json entry = {{"name", options.linkText + ", f32 on the wire"},
                  {"bandwidth", options.link.bandwidth},
                  {"latency", options.link.latency},
                  {"exact_seconds", result.exactOverLink->predicted},
                  {"measured_exact_seconds", result.exactOverLink->measured}};
    append(entry, "exact_halved_seconds", result.exactOverLink->halved);
    if (chosen && chosen->overLink) {
      append(entry, {{"chosen_seconds", chosen->overLink->predicted},
                     {"measured_chosen_seconds", chosen->overLink->measured}});
      append(entry, "chosen_halved_seconds", chosen->overLink->halved);
    }
    links.push_back(std::move(entry));
  }
  json["links"] = std::move(links);
  json["samples"] = Json::array();
  for (const Continuation &sample : result.samples)
    json["samples"].push_back({{"prompt", sample.prompt}, {"exact", sample.exact}, {"chosen", sample.chosen}});
  json["sweep"] = {{"plans", result.sensitivity.size()},
                   {"seconds", result.sweepSeconds},
                   {"evaluation_seconds", result.evaluationSeconds},
                   {"share_of_sites_passed", result.sweepRatio}};
  json["warnings"] = result.warnings;
  json["commands"] = commandsJson(options, result, manifest);
  return json;
}

void writeResults(const Options &options, const Result &result, const runtime::Manifest &manifest) {
  Json json = report(options, result, manifest);
  std::string text = json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
  write(options.output + "/report.json", text);
  write(options.output + "/report.html", renderReport(text));
  Json sensitivity = {{"model", json["model"]},   {"tp", json["tp"]},
                      {"text", json["text"]},     {"thresholds", json["thresholds"]},
                      {"sites", json["sites"]},   {"sensitivity", json["sensitivity"]},
                      {"orders", json["orders"]}, {"sweep", json["sweep"]}};
  write(options.output + "/sensitivity.json", sensitivity.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
  std::string csv = "id,family,label,syncs,bytes_per_token,bytes_share,seconds,perplexity,ratio,added,added_error,kl,"
                    "kl99,agree,chosen,frontier,halved_seconds\n";
  for (const Json &plan : json["plans"]) {
    std::string line;
    for (const char *key :
         {"id", "family", "label", "syncs", "bytes_per_token", "bytes_share", "seconds", "perplexity", "ratio", "added",
          "added_error", "kl", "kl99", "agree", "chosen", "frontier", "halved_seconds"})
      line += (line.empty() ? "" : ",") + (plan.contains(key) ? plan[key].dump() : "");
    csv += line + "\n";
  }
  write(options.output + "/frontier.csv", csv);
  for (size_t i = 0; i < result.plans.size(); ++i) {
    const NamedPlan &named = result.plans[i];
    if (named.isChosen)
      writePlan(named.policies, manifest, options.output, "plan");
    else if (named.family == "recipe")
      writePlan(named.policies, manifest, options.output, json["plans"][i]["id"].get<std::string>());
  }
}

} // namespace caat::ablate
