// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Ablate/Report.h"
#include <cmath>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <stdexcept>

using caat::ablate::renderReport;
using Json = nlohmann::ordered_json;

namespace {

/// Data with every part, for a model of so many layers with two sites each, the last of which cannot defer.
Json fullData(int layers) {
  Json data = {{"version", 1}, {"tp", 3}};
  data["model"] = {{"file", "model.onnx"},
                   {"sites", 2 * layers},
                   {"layers", layers},
                   {"channels", 576},
                   {"compiled_with", "--weights=i4 --dtype=bf16"}};
  data["text"] = {{"file", "corpus.npy"}, {"length", 512}, {"samples", 8}, {"fit_samples", 6}, {"test_samples", 7}};
  data["exact"] = {{"perplexity", 26.59},       {"nll", 3.2805},       {"nll_error", 0.05}, {"tokens", 4088},
                   {"bytes_per_token", 138240}, {"syncs", 2 * layers}, {"seconds", 0.0042}};
  data["link"] = {{"text", "10GB/s,5us"}, {"bandwidth", 1e10}, {"latency", 5e-6}};
  data["workload"] = {{"tokens", 512}, {"text", "prefill of 512 tokens"}};
  data["thresholds"] = {{"tau1", 0.01}, {"tau2", 0.1}, {"why", "as proposed"}};
  for (int i = 0; i < 2 * layers; ++i) {
    std::string name = "layers." + std::to_string(i / 2) + (i % 2 ? ".mlp" : ".attn");
    bool isLast = i == 2 * layers - 1;
    double added = 0.7 * std::exp(-0.2 * i);
    data["sites"].push_back({{"name", name},
                             {"layer", i / 2},
                             {"kind", i % 2 ? "mlp" : "attn"},
                             {"deferrable", !isLast},
                             {"reason", isLast ? "it is the last" : ""},
                             {"class", added > 0.1    ? "ESB"
                                       : added > 0.01 ? "SB"
                                                      : "ISB"},
                             {"chosen", "drop"}});
    if (!isLast)
      data["sensitivity"].push_back({{"site", name},
                                     {"choice", "drop"},
                                     {"added", added},
                                     {"added_error", 0.004},
                                     {"kl", added},
                                     {"kl99", 5 * added},
                                     {"agree", 0.9}});
    for (const char *order : {"leave_one_out", "algorithm1", "greedy"})
      data["orders"][order].push_back({{"site", name}, {"value", added}, {"perplexity", 26.59 + i}});
  }
  for (int i = 0; i < 4; ++i)
    data["plans"].push_back({{"id", "plan-" + std::to_string(i)},
                             {"family", i < 2 ? "search" : "spd"},
                             {"label", std::to_string(i + 1) + " dropped"},
                             {"words", "layers.0.attn drop"},
                             {"perplexity", 26.59 * (1.02 + i)},
                             {"ratio", 1.02 + i},
                             {"added", std::log(1.02 + i)},
                             {"added_error", 0.003},
                             {"kl", 0.03},
                             {"kl99", 0.2},
                             {"agree", 0.93},
                             {"bytes_per_token", 110000 - 9000 * i},
                             {"bytes_share", 0.8 - 0.1 * i},
                             {"syncs", 2 * layers - 1 - i},
                             {"seconds", 0.0031 - 1e-4 * i},
                             {"chosen", i == 0},
                             {"frontier", i < 2}});
  data["links"] = {{{"name", "NVLink"},
                    {"bandwidth", 3e11},
                    {"latency", 3e-6},
                    {"exact_seconds", 0.1},
                    {"chosen_seconds", 0.0999},
                    {"measured", false}},
                   {{"name", "1 Gb/s"},
                    {"bandwidth", 1.25e8},
                    {"latency", 5e-5},
                    {"exact_seconds", 1.0},
                    {"chosen_seconds", 0.6},
                    {"measured", true},
                    {"measured_exact_seconds", 1.1},
                    {"measured_chosen_seconds", 0.7}}};
  data["samples"] = {{{"prompt", "Once"}, {"exact", "upon a time"}, {"chosen", "upon a tide"}}};
  data["warnings"] = {"not trained so"};
  data["commands"] = {"caat-ablate model.onnx"};
  return data;
}

bool has(const std::string &page, const std::string &text) { return page.find(text) != std::string::npos; }

size_t occurrences(const std::string &page, const std::string &text) {
  size_t count = 0;
  for (size_t at = page.find(text); at != std::string::npos; at = page.find(text, at + text.size()))
    ++count;
  return count;
}

/// The embedded data, as it was given.
Json dataOf(const std::string &page) {
  std::string begin = "<script type=\"application/json\" id=\"data\">";
  size_t from = page.find(begin) + begin.size();
  return Json::parse(page.substr(from, page.find("</script>", from) - from));
}

/// Every element that is opened is closed, in order.
void expectWellFormed(const std::string &page) {
  std::vector<std::string> open;
  for (size_t at = 0; (at = page.find('<', at)) != std::string::npos;) {
    size_t end = page.find('>', at);
    ASSERT_NE(end, std::string::npos);
    std::string tag = page.substr(at + 1, end - at - 1), name = tag.substr(0, tag.find_first_of(" /", 1));
    at = end;
    if (name == "!DOCTYPE" || name == "meta" || tag.back() == '/')
      continue;
    if (tag[0] != '/') {
      open.push_back(name);
      if (name == "script" || name == "style") // their text is no markup
        at = page.find("</" + name + ">", end);
      continue;
    }
    ASSERT_FALSE(open.empty()) << tag;
    ASSERT_EQ(tag, "/" + open.back());
    open.pop_back();
  }
  EXPECT_TRUE(open.empty());
}

TEST(Report, HasEveryPart) {
  std::string page = renderReport(fullData(3).dump());
  expectWellFormed(page);
  for (const char *id :
       {"plan", "frontier", "links", "sites", "sensitivity", "orders", "samples", "commands", "terms"}) {
    EXPECT_EQ(occurrences(page, "<section id=\"" + std::string(id) + "\">"), 1u) << id;
    EXPECT_EQ(occurrences(page, "href=\"#" + std::string(id) + "\""), 1u) << id;
  }
  EXPECT_TRUE(has(page, "<title>Ablation of model.onnx on 3\u00a0ranks</title>"));
  EXPECT_TRUE(has(page, "compiled with --weights=i4 --dtype=bf16;"));
  // Chosen beside exact, with errors.
  EXPECT_TRUE(has(page, "26.59 ±\u00a01.3"));
  EXPECT_TRUE(has(page, "+2\u00a0%"));
  EXPECT_TRUE(has(page, "+0.0198 ±\u00a00.003") || has(page, "+0.02 ±\u00a00.003"));
  EXPECT_TRUE(has(page, "waits at 5 sync points instead of 6"));
  // Six sites, of which one cannot; the reason is told.
  EXPECT_EQ(occurrences(page, "<td class=\"pt h"), 5u);
  EXPECT_TRUE(has(page, "layers.2.mlp cannot do this: it is the last"));
  // What is saved where, and whether it pays.
  EXPECT_TRUE(has(page, "<td>no faster</td>"));
  EXPECT_TRUE(has(page, "<td>faster</td>"));
  // Where the continuations part.
  EXPECT_TRUE(has(page, "upon a ti<mark>me</mark>"));
  EXPECT_TRUE(has(page, "upon a ti<mark>de</mark>"));
  EXPECT_EQ(dataOf(page), fullData(3));
}

TEST(Report, NeedsNothingElse) {
  std::string page = renderReport(fullData(3).dump());
  for (const char *text :
       {"http:", "https:", " src=", "url(", "@import", "<link", "<iframe", "<img", "fetch(", "XMLHttp"})
    EXPECT_FALSE(has(page, text)) << text;
  EXPECT_EQ(occurrences(page, "href=\""), occurrences(page, "href=\"#"));
  EXPECT_TRUE(has(page, "Content-Security-Policy\" content=\"default-src 'none';"));
}

/// Puts `text` in place of all texts, names of sites kept apart.
void replaceTexts(Json &json, const std::string &text) {
  if (json.is_string())
    json = text + json.get<std::string>();
  else if (json.is_structured())
    for (Json &part : json)
      replaceTexts(part, text);
}

TEST(Report, ShowsTextAsText) {
  std::string evil = "</script><script>alert(1)</script><img onerror='x' title=\"{{data}}\">&amp;<!--\x01";
  Json data = fullData(2);
  replaceTexts(data, evil);
  std::string page = renderReport(data.dump());
  expectWellFormed(page);
  EXPECT_EQ(occurrences(page, "<script"), 2u);
  EXPECT_EQ(occurrences(page, "</script>"), 2u);
  EXPECT_FALSE(has(page, "<img"));
  EXPECT_FALSE(has(page, "<!--"));
  EXPECT_FALSE(has(page, "\x01"));
  EXPECT_TRUE(has(page, "&lt;img onerror=&#39;x&#39; title=&quot;{{data}}&quot;&gt;&amp;amp;"));
  EXPECT_EQ(dataOf(page), data);
}

TEST(Report, LeavesOutWhatIsAbsent) {
  std::string page = renderReport(R"({"version": 1})");
  expectWellFormed(page);
  EXPECT_EQ(occurrences(page, "<section"), 1u); // the terms
  const Json full = fullData(2);
  for (const auto &[key, value] : full.items()) {
    if (key == "version")
      continue;
    Json data = full;
    data.erase(key);
    expectWellFormed(renderReport(data.dump()));
    Json alone = {{"version", 1}, {key, value}};
    expectWellFormed(renderReport(alone.dump()));
    for (const Json &wrong : {Json(), Json("text"), Json(7), Json::array({1, nullptr, "x"}), Json{{"a", 1}}}) {
      data[key] = wrong;
      expectWellFormed(renderReport(data.dump()));
    }
  }
  EXPECT_FALSE(has(renderReport(Json{{"version", 1}, {"plans", full["plans"]}}.dump()), "nan"));
}

TEST(Report, HoldsWhateverNumbers) {
  for (double value : {0.0, -1.0, 1e-300, 1e300, -1e300, 1.0}) {
    Json data = fullData(2);
    for (const char *list : {"plans", "sensitivity", "links", "sites"})
      for (Json &entry : data[list])
        for (auto &[key, member] : entry.items())
          if (member.is_number())
            member = value;
    for (auto &[key, order] : data["orders"].items())
      for (Json &entry : order)
        entry["value"] = entry["perplexity"] = value;
    for (auto &[key, member] : data["exact"].items())
      member = value;
    data["thresholds"]["tau1"] = data["thresholds"]["tau2"] = data["tp"] = value;
    std::string page = renderReport(data.dump());
    expectWellFormed(page);
    for (const char *text : {"\"nan", "\"inf", "\"-nan", "\"-inf", "Mnan", ">nan", ">inf"})
      EXPECT_FALSE(has(page, text)) << text << " of " << value;
  }
}

TEST(Report, CopesWithManySites) {
  Json data = fullData(200);
  replaceTexts(data["model"], std::string(400, 'x'));
  std::string page = renderReport(data.dump());
  expectWellFormed(page);
  EXPECT_EQ(occurrences(page, "<td class=\"pt h"), 399u);
  EXPECT_LT(page.size(), 4u << 20);
}

TEST(Report, KeepsSitesThatShareALayer) {
  Json data = fullData(2);
  for (Json &site : data["sites"])
    site["layer"] = 0, site["kind"] = "moe";
  EXPECT_EQ(occurrences(renderReport(data.dump()), "<td class=\"pt h"), 3u);
  for (Json &site : data["sites"])
    site.erase("layer");
  EXPECT_EQ(occurrences(renderReport(data.dump()), "<td class=\"pt h"), 3u);
}

TEST(Report, ComparesBetterTimes) {
  Json data = fullData(2);
  EXPECT_FALSE(has(renderReport(data.dump()), "in halves"));
  EXPECT_EQ(occurrences(renderReport(data.dump()), "<td>faster</td>"), 1u);
  data["links"][1]["exact_halved_seconds"] = 0.61; // hides what the plan drops: 0.6 whole, 0.7 as measured
  data["links"][1]["chosen_halved_seconds"] = 0.605;
  std::string page = renderReport(data.dump());
  EXPECT_TRUE(has(page, "Exact, in halves"));
  EXPECT_EQ(occurrences(page, "<td>no faster</td>"), 2u);
  EXPECT_FALSE(has(page, "<td>faster</td>"));
}

TEST(Report, RefusesOtherData) {
  for (const char *text : {"", "{", "[]", "7", "{}", R"({"version": 2})", R"({"version": "1"})", "{\"version\": 1} x"})
    EXPECT_THROW(renderReport(text), std::invalid_argument) << text;
}

} // namespace
