// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// How much each layer minds losing its sync point, with SPD's classes.
#include "Chart.h"
#include "Parts.h"
#include <algorithm>
#include <cmath>

namespace caat::ablate::report {

namespace {

struct Class {
  const char *name, *meaning, *style;
  int shape;
};

constexpr Class classes[] = {
    {"ISB", "insensitive", "isb", 0}, {"SB", "sensitive", "sb", 1}, {"ESB", "extremely sensitive", "esb", 2}};

struct Bar {
  size_t site;
  const Sensitivity *entry;
};

/// A row of at most `perPanel` sites of one kind.
struct Panel {
  std::string kind;
  std::vector<Bar> bars;
};

} // namespace

static constexpr size_t perPanel = 32;

static const Class *classOf(const Site &site) {
  for (const Class &known : classes)
    if (site.sensitivityClass == known.name)
      return &known;
  return nullptr;
}

/// Dropping a site is what SPD asks; where nobody did, whatever was measured first.
static std::string choiceOf(const Data &data) {
  bool drops = std::find(data.choices.begin(), data.choices.end(), "drop") != data.choices.end();
  return drops ? "drop" : data.choices.empty() ? "" : data.choices[0];
}

static std::vector<Panel> panelsOf(const Data &data, const std::string &choice) {
  std::vector<std::string> kinds;
  std::map<std::string, std::vector<Bar>> byKind;
  for (size_t i = 0; i < data.sites.size(); ++i) {
    const std::string &kind = data.sites[i].kind;
    if (!byKind.count(kind))
      kinds.push_back(kind);
    byKind[kind].push_back({i, data.find(i, choice)});
  }
  std::vector<Panel> panels;
  for (const std::string &kind : kinds) {
    const std::vector<Bar> &bars = byKind[kind];
    if (std::none_of(bars.begin(), bars.end(), [](const Bar &bar) { return bar.entry && bar.entry->added; }))
      continue;
    size_t count = (bars.size() + perPanel - 1) / perPanel, size = (bars.size() + count - 1) / count;
    for (size_t begin = 0; begin < bars.size(); begin += size)
      panels.push_back({kind,
                        {bars.begin() + static_cast<std::ptrdiff_t>(begin),
                         bars.begin() + static_cast<std::ptrdiff_t>(std::min(begin + size, bars.size()))}});
  }
  return panels;
}

static void drawBar(Html &html, Chart &chart, const Data &data, const Bar &bar, double x, double width,
                    const Scale &y) {
  const Site &site = data.sites[bar.site];
  const Class *known = classOf(site);
  std::string name = site.name + (site.sensitivityClass.empty() ? "" : ", " + site.sensitivityClass);
  html.open("g", {{"class", "pt"}, {"role", "img"}});
  if (!bar.entry || !bar.entry->added) {
    bool cannot = !site.deferrable || (bar.entry && !bar.entry->reason.empty());
    const std::string &reason = bar.entry && !bar.entry->reason.empty() ? bar.entry->reason : site.reason;
    html.leaf("title",
              name + (cannot ? ": cannot be dropped" + (reason.empty() ? "" : ", " + reason) : ": not measured"));
    if (cannot)
      drawMarker(html, 6, x, y.from - 6, 3, "cannot-mark");
    html.close("g");
    return;
  }
  double added = *bar.entry->added, error = bar.entry->addedError.value_or(0);
  html.leaf("title", name + ": " + lossName(data) + " " +
                         withError(significant(added), significant(error, 2), bar.entry->addedError.has_value()));
  std::string style = known ? known->style : "other";
  chart.line(x, y.from, x, chart.y(added), "stem " + style);
  if (error > 0)
    chart.line(x, chart.y(added - error), x, chart.y(added + error), "error " + style);
  drawMarker(html, known ? known->shape : 3, x, chart.y(added), std::min(4.0, width / 2.4), style);
  if (!site.sensitivityClass.empty())
    chart.label(x, chart.y(added + error) - 8, site.sensitivityClass.substr(0, 1), "letter middle");
  html.close("g");
}

static void writePanel(Html &html, const Data &data, const Panel &panel, const Scale &losses) {
  auto layer = [&](const Bar &bar) { return data.sites[bar.site].layer; };
  bool hasLayers =
      std::all_of(panel.bars.begin(), panel.bars.end(), [&](const Bar &bar) { return layer(bar).has_value(); });
  Scale slots{false, -0.5, static_cast<double>(panel.bars.size()) - 0.5, plotLeft, plotRight};
  // Ticks stand at slots, whose layers they name.
  auto nameSlot = [&](double slot) {
    auto index = static_cast<size_t>(std::lround(std::max(slot, 0.0)));
    if (index >= panel.bars.size() || std::fabs(slot - std::round(slot)) > 0.01)
      return std::string();
    return hasLayers ? count(layer(panel.bars[index])) : std::to_string(panel.bars[index].site);
  };
  std::string title = kindName(panel.kind);
  html.open("figure").leaf("h3", title);
  {
    Chart chart(html, plotWidth, 262, {slots, hasLayers ? "layer" : "site", nameSlot, 8},
                {losses, lossName(data) + ", logarithmic", [](double loss) { return significant(loss); }},
                title + ": sensitivity by layer", "Higher is more sensitive; letters are the classes.");
    for (auto [tau, name] : {std::pair(data.tau1, "τ₁"), std::pair(data.tau2, "τ₂")})
      if (tau && *tau > losses.low && *tau < losses.high) {
        chart.line(plotLeft, chart.y(*tau), plotRight, chart.y(*tau), "threshold");
        chart.label(plotRight + 2, chart.y(*tau) + 4, name, "tick");
      }
    for (size_t i = 0; i < panel.bars.size(); ++i)
      drawBar(html, chart, data, panel.bars[i], chart.x(static_cast<double>(i)),
              (plotRight - plotLeft) / static_cast<double>(panel.bars.size()), losses);
  }
  html.close("figure");
}

static void writeClasses(Html &html, const Data &data) {
  html.open("dl", {{"class", "classes"}});
  for (const Class &known : classes) {
    std::vector<std::string> names;
    for (const Site &site : data.sites)
      if (classOf(site) == &known)
        names.push_back(site.name);
    if (names.empty())
      continue;
    html.open("div").open("dt");
    drawKey(html, known.shape, known.style);
    html.text(std::string(known.name) + ", " + known.meaning + ": " +
              counted(static_cast<double>(names.size()), "site"));
    html.close("dt").open("dd");
    std::string list;
    for (const std::string &name : names)
      list += (list.empty() ? "" : ", ") + name;
    if (list.size() > 400)
      html.open("details").leaf("summary", "Which").text(list).close("details");
    else
      html.text(list);
    html.close("dd").close("div");
  }
  html.close("dl");
}

bool writeSensitivity(Html &html, const Data &data) {
  std::string choice = choiceOf(data);
  std::vector<Panel> panels = panelsOf(data, choice);
  if (panels.empty())
    return false;
  double least = 1e-2, most = 1e-2;
  for (const Panel &panel : panels)
    for (const Bar &bar : panel.bars)
      if (bar.entry && bar.entry->added && *bar.entry->added > 0) {
        least = std::min(least, *bar.entry->added);
        most = std::max(most, *bar.entry->added + bar.entry->addedError.value_or(0));
      }
  Scale losses = logScale(std::max(least, 1e-4), std::min(most, 1e4), 212, 40, 5);
  html.open("section", {{"id", "sensitivity"}}).leaf("h2", "Sensitivity by layer");
  html.open("p").text("The " + lossName(data) + " of one site alone under ").leaf("em", choice);
  html.text(". Whiskers are one standard error; what loses nothing stands at the foot.");
  if (data.tau1 && data.tau2)
    html.text(" Classes: ISB up to τ₁ = " + significant(data.tau1) + ", SB up to τ₂ = " + significant(data.tau2) +
              ", ESB above.");
  if (!data.why.empty())
    html.text(" " + data.why);
  html.close("p");
  html.open("div", {{"class", "charts"}});
  for (const Panel &panel : panels)
    writePanel(html, data, panel, losses);
  html.close("div");
  writeClasses(html, data);
  html.close("section");
  return true;
}

} // namespace caat::ablate::report
