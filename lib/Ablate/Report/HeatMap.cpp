// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What each site loses under each policy, as tables whose cells are coloured: layers down, sites and policies across.
#include "Parts.h"
#include <algorithm>
#include <cmath>
#include <cstdio>

namespace caat::ablate::report {

namespace {

struct Grid {
  struct Row {
    std::string name;
    std::vector<std::optional<size_t>> sites; // by kind; into Data::sites
  };
  std::vector<std::string> kinds;
  std::vector<Row> rows;
  bool hasLayers = true; // every row is one

  explicit Grid(const Data &data);
};

} // namespace

Grid::Grid(const Data &data) {
  for (const Site &site : data.sites)
    if (std::find(kinds.begin(), kinds.end(), site.kind) == kinds.end())
      kinds.push_back(site.kind);
  std::map<double, size_t> byLayer;
  for (size_t i = 0; i < data.sites.size(); ++i) {
    const Site &site = data.sites[i];
    size_t kind = static_cast<size_t>(std::find(kinds.begin(), kinds.end(), site.kind) - kinds.begin());
    // A site without a layer, or a layer's second of a kind, has a row for itself.
    size_t row = rows.size();
    if (site.layer) {
      row = byLayer.emplace(*site.layer, rows.size()).first->second;
      if (row < rows.size() && rows[row].sites[kind])
        row = rows.size();
    }
    if (row == rows.size()) {
      bool isOwn = !site.layer || byLayer[*site.layer] != row;
      hasLayers &= !isOwn;
      rows.push_back({isOwn ? site.name : count(site.layer), std::vector<std::optional<size_t>>(kinds.size())});
    }
    rows[row].sites[kind] = i;
  }
}

static constexpr double bounds[] = {0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1};

/// 0 for next to nothing, to 7.
static int heatOf(double added) {
  return static_cast<int>(std::upper_bound(std::begin(bounds), std::end(bounds), added) - std::begin(bounds));
}

/// As short as can be: ".034", "1.2", "0".
static std::string compact(double value) {
  char text[32];
  double size = std::fabs(value);
  if (size < 0.0005)
    return "0";
  if (size >= 99.5)
    return "99+";
  std::snprintf(text, sizeof text, "%.*f", size >= 10 ? 0 : size >= 0.995 ? 1 : size >= 0.0995 ? 2 : 3, size);
  std::string digits = text[0] == '0' ? text + 1 : text;
  return (value < 0 ? "−" : "") + digits;
}

static std::string describe(const Site &site, const Sensitivity &entry, const Data &data) {
  std::string text =
      site.name + ", " + entry.choice + ": " + lossName(data) + " " +
      withError(significant(entry.added), significant(entry.addedError, 2), entry.addedError.has_value());
  if (entry.kl)
    text += "; KL mean " + significant(entry.kl) + (entry.kl99 ? ", 99th percentile " + significant(entry.kl99) : "");
  if (entry.agree)
    text += "; same most likely token " + share(entry.agree);
  if (!site.sensitivityClass.empty())
    text += "; " + site.sensitivityClass;
  return text + (site.chosen == entry.choice ? "; in the chosen plan" : "");
}

static void writeCell(Html &html, const Data &data, const Site &site, const std::string &choice, bool isFirst) {
  const Sensitivity *entry = data.find(static_cast<size_t>(&site - data.sites.data()), choice);
  std::string edge = isFirst ? " first" : "";
  if (entry && entry->added) {
    bool isNoise = entry->addedError && std::fabs(*entry->added) < 2 * *entry->addedError;
    html.leaf("td", compact(*entry->added),
              {{"class", "pt h" + std::to_string(heatOf(*entry->added)) + (isNoise ? " noise" : "") +
                             (site.chosen == choice ? " taken" : "") + edge},
               {"title", describe(site, *entry, data)}});
    return;
  }
  std::string reason = entry && !entry->reason.empty() ? entry->reason : site.deferrable ? "" : site.reason;
  if (!reason.empty() || !site.deferrable)
    html.leaf("td", "×",
              {{"class", "pt cannot" + edge},
               {"title", site.name + " cannot do this" + (reason.empty() ? "" : ": " + reason)}});
  else
    html.leaf("td", "", {{"class", "unknown" + edge}, {"title", site.name + ", " + choice + ": not measured"}});
}

static void writeTable(Html &html, const Data &data, const Grid &grid, size_t begin, size_t end) {
  html.open("div", {{"class", "scroll"}});
  html.open("table", {{"class", "heat"},
                      {"data-points", ""},
                      {"data-columns", std::to_string(grid.kinds.size() * data.choices.size())}});
  std::string range = grid.rows[begin].name + (end - begin > 1 ? " to " + grid.rows[end - 1].name : "");
  html.leaf("caption", !grid.hasLayers ? range : (end - begin > 1 ? "Layers " : "Layer ") + range);
  html.open("thead").open("tr").leaf("th", grid.hasLayers ? "Layer" : "Layer or site",
                                     {{"scope", "col"}, {"rowspan", "2"}});
  for (const std::string &kind : grid.kinds)
    html.leaf("th", kindName(kind),
              {{"scope", "colgroup"}, {"class", "first"}, {"colspan", std::to_string(data.choices.size())}});
  html.close("tr").open("tr");
  for (size_t kind = 0; kind < grid.kinds.size(); ++kind)
    for (const std::string &choice : data.choices)
      html.open("th", {{"scope", "col"}, {"class", choice == data.choices[0] ? "turned first" : "turned"}})
          .leaf("span", choice, {{"title", choice}})
          .close("th");
  html.close("tr").close("thead").open("tbody");
  for (size_t i = begin; i < end; ++i) {
    html.open("tr").open("th", {{"scope", "row"}}).leaf("span", grid.rows[i].name, {{"title", grid.rows[i].name}});
    html.close("th");
    for (std::optional<size_t> site : grid.rows[i].sites)
      for (const std::string &choice : data.choices)
        if (site)
          writeCell(html, data, data.sites[*site], choice, choice == data.choices[0]);
        else
          html.leaf("td", "", {{"class", choice == data.choices[0] ? "unknown first" : "unknown"}});
    html.close("tr");
  }
  html.close("tbody").close("table").close("div");
}

static void writeLegend(Html &html) {
  html.open("ul", {{"class", "legend"}});
  for (int heat = 0; heat <= 7; ++heat) {
    std::string text = heat == 0   ? "below " + significant(bounds[0])
                       : heat == 7 ? significant(bounds[6]) + " and more"
                                   : significant(bounds[heat - 1]) + " to " + significant(bounds[heat]);
    html.open("li").leaf("span", "", {{"class", "swatch h" + std::to_string(heat)}}).text(text).close("li");
  }
  html.open("li").leaf("span", "×", {{"class", "swatch cannot"}}).text("cannot do it").close("li");
  html.open("li").leaf("span", "", {{"class", "swatch taken"}}).text("in the chosen plan").close("li");
  html.open("li").leaf("span", ".01", {{"class", "noise"}}).text(" italic: less than two standard errors").close("li");
  html.close("ul");
}

static void writeReasons(Html &html, const Data &data) {
  std::vector<std::pair<std::string, std::vector<std::string>>> reasons; // in the order of sites
  for (const Site &site : data.sites) {
    if (site.deferrable || site.reason.empty())
      continue;
    auto found =
        std::find_if(reasons.begin(), reasons.end(), [&](auto &reason) { return reason.first == site.reason; });
    if (found == reasons.end())
      found = reasons.insert(reasons.end(), {site.reason, {}});
    found->second.push_back(site.name);
  }
  for (const auto &[reason, names] : reasons) {
    std::string list;
    for (size_t i = 0; i < names.size() && i < 6; ++i)
      list += (i ? ", " : "") + shortened(names[i], 80);
    if (names.size() > 6)
      list += " and " + std::to_string(names.size() - 6) + " more";
    html.open("p", {{"class", "note"}}).leaf("strong", "Cannot defer: ").text(list + " (" + reason + ")").close("p");
  }
}

static void writeFigures(Html &html, const Data &data) {
  html.open("details").leaf("summary", "All figures of single sites as a table");
  openTable(
      html, "figures", "One site changed, all others exact",
      {"Site", "Class", "Choice", "#" + lossName(data), "#± standard error", "#KL mean", "#KL 99 %", "#Top-1 same"});
  for (const Sensitivity &entry : data.sensitivity) {
    const Site &site = data.sites[entry.site];
    html.open("tr").leaf("th", site.name, {{"scope", "row"}}).leaf("td", site.sensitivityClass);
    html.leaf("td", entry.choice);
    numberCell(html, significant(entry.added));
    numberCell(html, significant(entry.addedError, 2));
    numberCell(html, significant(entry.kl));
    numberCell(html, significant(entry.kl99));
    numberCell(html, share(entry.agree));
    html.close("tr");
  }
  closeTable(html);
  html.close("details");
}

bool writeHeatMap(Html &html, const Data &data) {
  if (data.sensitivity.empty())
    return false;
  Grid grid(data);
  html.open("section", {{"id", "sites"}}).leaf("h2", "Loss by site and policy");
  html.open("p")
      .text("The " + lossName(data) + (data.lossName.empty() ? " in nats a token" : "") +
            " when one site follows the policy and all others are exact. Losses of several sites together are larger "
            "than their sum where neighbours interact: the plans above were measured whole.")
      .close("p");
  writeLegend(html);
  html.open("div", {{"class", "heats"}});
  // Some tables beside one another: about as many as a wide window holds, of a height that can be overlooked.
  size_t beside = std::max<size_t>(1, 1330 / (70 + 35 * grid.kinds.size() * data.choices.size()));
  size_t rows = std::clamp<size_t>((grid.rows.size() + beside - 1) / beside, 10, 20);
  for (size_t begin = 0; begin < grid.rows.size(); begin += rows)
    writeTable(html, data, grid, begin, std::min(begin + rows, grid.rows.size()));
  html.close("div");
  writeReasons(html, data);
  writeFigures(html, data);
  html.close("section");
  return true;
}

} // namespace caat::ablate::report
