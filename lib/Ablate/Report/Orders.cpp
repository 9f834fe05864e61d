// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Procedures that order sites, against one another.
#include "Chart.h"
#include "Parts.h"
#include <algorithm>
#include <cmath>

namespace caat::ablate::report {

namespace {

struct Procedure {
  const char *key, *name;
  bool isByValue; // ranked by value; else by the order of the list
  const char *style;
  int shape;
};

constexpr Procedure procedures[] = {{"leave_one_out", "leave-one-out", true, "f7", 0},
                                    {"algorithm1", "Algorithm 1", true, "f1", 1},
                                    {"greedy", "greedy", false, "f0", 2}};

/// A procedure that was run, and each site's rank in it: 1 for the first to drop, 0 where it was not ranked.
struct Ranking {
  const Procedure *procedure;
  const std::vector<Ranked> *list;
  std::vector<size_t> rank; // by site
};

} // namespace

static std::vector<Ranking> rankingsOf(const Data &data) {
  std::vector<Ranking> rankings;
  for (const Procedure &procedure : procedures) {
    auto found = data.orders.find(procedure.key);
    if (found == data.orders.end())
      continue;
    std::vector<Ranked> sorted = found->second;
    if (procedure.isByValue)
      std::sort(sorted.begin(), sorted.end(), [](const Ranked &a, const Ranked &b) {
        return std::pair(a.value.value_or(1e300), a.site) < std::pair(b.value.value_or(1e300), b.site);
      });
    Ranking ranking{&procedure, &found->second, std::vector<size_t>(data.sites.size())};
    size_t next = 1;
    for (const Ranked &entry : sorted)
      if (ranking.rank[entry.site] == 0)
        ranking.rank[entry.site] = next++;
    rankings.push_back(std::move(ranking));
  }
  return rankings;
}

/// Spearman's correlation over the sites that both ranked.
static Number correlation(const Ranking &a, const Ranking &b) {
  std::vector<size_t> both;
  for (size_t i = 0; i < a.rank.size(); ++i)
    if (a.rank[i] && b.rank[i])
      both.push_back(i);
  if (both.size() < 3)
    return {};
  // Ranks anew among those.
  auto among = [&](const Ranking &ranking) {
    std::vector<size_t> sorted = both;
    std::sort(sorted.begin(), sorted.end(), [&](size_t x, size_t y) { return ranking.rank[x] < ranking.rank[y]; });
    std::map<size_t, double> rank;
    for (size_t i = 0; i < sorted.size(); ++i)
      rank[sorted[i]] = static_cast<double>(i);
    return rank;
  };
  std::map<size_t, double> first = among(a), second = among(b);
  double squares = 0, n = static_cast<double>(both.size());
  for (size_t site : both)
    squares += (first[site] - second[site]) * (first[site] - second[site]);
  return 1 - 6 * squares / (n * (n * n - 1));
}

static void writeRanks(Html &html, const Data &data, const Ranking &a, const Ranking &b) {
  double last = 2;
  for (const Ranking *ranking : {&a, &b})
    last = std::max(last, static_cast<double>(*std::max_element(ranking->rank.begin(), ranking->rank.end())));
  Number agreement = correlation(a, b);
  std::string first = a.procedure->name, second = b.procedure->name;
  html.open("figure");
  {
    Chart chart(html, plotWidth, 330, {linearScale(0, last, plotLeft, plotRight), "rank by " + first, count, 6},
                {linearScale(0, last, 288, 28), "rank by " + second, count, 6},
                "Ranks by " + first + " and by " + second, "On the diagonal both agree.");
    chart.line(chart.x(0), chart.y(0), chart.x(last), chart.y(last), "threshold");
    for (size_t i = 0; i < data.sites.size(); ++i)
      if (a.rank[i] && b.rank[i]) {
        html.open("g", {{"class", "pt"}, {"role", "img"}});
        html.leaf("title", data.sites[i].name + ": " + first + " " + std::to_string(a.rank[i]) + ", " + second + " " +
                               std::to_string(b.rank[i]));
        drawMarker(html, b.procedure->shape, chart.x(static_cast<double>(a.rank[i])),
                   chart.y(static_cast<double>(b.rank[i])), 3.5, b.procedure->style);
        html.close("g");
      }
  }
  html.leaf("figcaption",
            "1 is dropped first." + (agreement ? " Rank correlation " + significant(agreement, 2) + "." : ""));
  html.close("figure");
}

/// Perplexity as more and more sites are dropped.
static void writeCourse(Html &html, const Data &data, const std::vector<Ranking> &rankings) {
  double least = data.exact.perplexity.value_or(0), most = least;
  size_t longest = 0;
  for (const Ranking &ranking : rankings)
    for (size_t i = 0; i < ranking.list->size(); ++i)
      if (Number value = (*ranking.list)[i].perplexity; value && *value > 0) {
        least = least > 0 ? std::min(least, *value) : *value;
        most = std::max(most, *value);
        longest = std::max(longest, i + 1);
      }
  if (longest < 2 || least <= 0)
    return;
  html.open("figure");
  {
    Chart chart(
        html, plotWidth, 330,
        {linearScale(0, static_cast<double>(longest), plotLeft, plotRight), "sites dropped", count, 6},
        {logScale(least, most, 288, 28, 6), "perplexity, logarithmic", [](double value) { return significant(value); }},
        "Perplexity as sites are dropped one after another", "Lower is better.");
    if (data.exact.perplexity && *data.exact.perplexity > 0) {
      chart.line(plotLeft, chart.y(*data.exact.perplexity), plotRight, chart.y(*data.exact.perplexity), "threshold");
      chart.label(plotRight - 4, chart.y(*data.exact.perplexity) + 14, "exact", "tick end");
    }
    for (const Ranking &ranking : rankings) {
      const Procedure &procedure = *ranking.procedure;
      std::vector<std::pair<double, double>> line;
      for (size_t i = 0; i < ranking.list->size(); ++i)
        if (Number value = (*ranking.list)[i].perplexity; value && *value > 0)
          line.emplace_back(chart.x(static_cast<double>(i + 1)), chart.y(*value));
      chart.path(line, std::string("course ") + procedure.style);
      for (size_t i = 0; i < ranking.list->size(); ++i) {
        const Ranked &entry = (*ranking.list)[i];
        if (!entry.perplexity || *entry.perplexity <= 0)
          continue;
        html.open("g", {{"class", "pt"}, {"role", "img"}});
        html.leaf("title", std::string(procedure.name) + ", " + counted(static_cast<double>(i + 1), "site") +
                               " dropped, the last " + data.sites[entry.site].name + ": perplexity " +
                               perplexity(entry.perplexity));
        drawMarker(html, procedure.shape, chart.x(static_cast<double>(i + 1)), chart.y(*entry.perplexity), 2.8,
                   procedure.style);
        html.close("g");
      }
    }
  }
  html.leaf("figcaption", "Perplexity as sites are dropped in each order").close("figure");
}

static void writeDisagreement(Html &html, const Data &data, const std::vector<Ranking> &rankings) {
  struct Row {
    size_t site, spread;
  };
  std::vector<Row> rows;
  for (size_t i = 0; i < data.sites.size(); ++i) {
    size_t low = SIZE_MAX, high = 0, known = 0;
    for (const Ranking &ranking : rankings)
      if (size_t rank = ranking.rank[i])
        low = std::min(low, rank), high = std::max(high, rank), ++known;
    if (known >= 2)
      rows.push_back({i, high - low});
  }
  std::sort(rows.begin(), rows.end(),
            [](const Row &a, const Row &b) { return a.spread != b.spread ? a.spread > b.spread : a.site < b.site; });
  std::vector<std::string> names = {"Site"};
  for (const Ranking &ranking : rankings)
    names.push_back("#" + std::string(ranking.procedure->name));
  names.push_back("#Apart");
  auto write = [&](size_t begin, size_t end, const std::string &caption) {
    openTable(html, "figures", caption, names);
    for (size_t i = begin; i < end; ++i) {
      html.open("tr").leaf("th", data.sites[rows[i].site].name, {{"scope", "row"}});
      for (const Ranking &ranking : rankings)
        numberCell(html, ranking.rank[rows[i].site] ? std::to_string(ranking.rank[rows[i].site]) : "–");
      numberCell(html, std::to_string(rows[i].spread));
      html.close("tr");
    }
    closeTable(html);
  };
  size_t shown = std::min<size_t>(rows.size(), 8);
  if (shown == 0)
    return;
  write(0, shown, "Where the orders disagree most: ranks");
  if (rows.size() > shown) {
    html.open("details").leaf("summary", "The other " + counted(static_cast<double>(rows.size() - shown), "site"));
    write(shown, rows.size(), "Ranks, from the most disputed to the least");
    html.close("details");
  }
}

bool writeOrders(Html &html, const Data &data) {
  std::vector<Ranking> rankings = rankingsOf(data);
  bool hasCourse = std::any_of(rankings.begin(), rankings.end(), [](const Ranking &ranking) {
    return std::any_of(ranking.list->begin(), ranking.list->end(),
                       [](const Ranked &entry) { return entry.perplexity.has_value(); });
  });
  if (rankings.size() < 2 && !hasCourse)
    return false;
  html.open("section", {{"id", "orders"}}).leaf("h2", "In which order to drop");
  html.open("p")
      .text("Leave-one-out ranks a site by its loss alone. Algorithm 1, as published for SPD, drops sites from the "
            "last to "
            "the first and ranks each by what it adds to those behind it. Greedy drops, again and again, the site that "
            "now adds "
            "least. Where they disagree, sites interact.")
      .close("p");
  html.open("ul", {{"class", "legend"}});
  for (const Ranking &ranking : rankings) {
    html.open("li");
    drawKey(html, ranking.procedure->shape, ranking.procedure->style);
    html.text(ranking.procedure->name).close("li");
  }
  html.close("ul").open("div", {{"class", "charts"}});
  writeCourse(html, data, rankings);
  for (size_t i = 1; i < rankings.size(); ++i)
    if (correlation(rankings[0], rankings[i]))
      writeRanks(html, data, rankings[0], rankings[i]);
  html.close("div");
  if (rankings.size() > 1)
    writeDisagreement(html, data, rankings);
  html.close("section");
  return true;
}

} // namespace caat::ablate::report
