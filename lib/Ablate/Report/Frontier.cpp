// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Quality of all measured plans over what they save, and the table of them.
#include "Chart.h"
#include "Parts.h"
#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

namespace caat::ablate::report {

namespace {

/// What a plan saves, as an axis.
struct Saving {
  const char *title;
  Number Plan::*value;
  std::string (*format)(Number);
};

/// Plans with families in the order of their first appearance, which decides markers and colours.
struct Families {
  std::vector<std::string> names;

  explicit Families(const std::vector<Plan> &plans) {
    for (const Plan &plan : plans)
      if (std::find(names.begin(), names.end(), plan.family) == names.end())
        names.push_back(plan.family);
  }
  int of(const Plan &plan) const {
    return static_cast<int>(std::find(names.begin(), names.end(), plan.family) - names.begin());
  }
};

} // namespace

static std::string style(int family) { return "f" + std::to_string(family % numShapes); }

/// What the plots show upwards: added perplexity as a share, or the loss itself where there are no perplexities.
static Number lossOf(const Plan &plan, bool hasRatios) {
  if (hasRatios)
    return plan.ratio ? Number(*plan.ratio - 1) : Number();
  return plan.added;
}

static std::string describe(const Plan &plan, const Data &data) {
  std::string text = shortened(plan.label, 160) + " (" + shortened(plan.family, 60) + ")";
  auto add = [&](const std::string &name, const std::string &value, bool present) {
    if (present)
      text += "; " + name + " " + value;
  };
  add("perplexity", perplexity(plan.perplexity) + " (" + addedShare(plan.ratio) + ")", plan.ratio.has_value());
  add(lossName(data), withError(withSign(plan.added), significant(plan.addedError, 2), plan.addedError.has_value()),
      plan.added.has_value());
  add("KL", significant(plan.kl), plan.kl.has_value());
  add("agreement", share(plan.agree), plan.agree.has_value());
  add("bytes", share(plan.bytesShare), plan.bytesShare.has_value());
  add("sync points", count(plan.syncs), plan.syncs.has_value());
  add("time", seconds(plan.fastest), plan.fastest.has_value());
  return text;
}

namespace {

struct Point {
  const Plan *plan;
  double x, loss;
};

class Plot {
public:
  Plot(Html &html, const Data &data, const Families &families, const Saving &saving, bool hasRatios)
      : html(html), data(data), families(families), saving(saving), hasRatios(hasRatios) {
    for (const Plan &plan : data.plans)
      if (Number x = plan.*saving.value, loss = lossOf(plan, hasRatios); x && loss)
        points.push_back({&plan, *x, *loss});
    std::sort(points.begin(), points.end(), [](const Point &a, const Point &b) {
      return std::tie(a.x, a.loss, a.plan) < std::tie(b.x, b.loss, b.plan);
    });
  }

  /// Whether there are two plans that differ.
  bool isWorthIt() const { return points.size() >= 2 && points.front().x != points.back().x; }
  void write();

private:
  void drawFrontier(Chart &chart) const;
  void drawPoint(Chart &chart, const Point &point) const;

  Html &html;
  const Data &data;
  const Families &families;
  const Saving &saving;
  bool hasRatios;
  std::vector<Point> points; // from the most saving to the least
};

} // namespace

void Plot::write() {
  // Losses of nothing, or below it by chance, stand at the bottom of the logarithmic axis.
  double least = 0.1, most = 0;
  Number exact = saving.value == &Plan::bytesShare ? 1 : data.exact.*saving.value;
  for (const Point &point : points) {
    if (point.loss > 0)
      least = std::min(least, point.loss);
    most = std::max(most, point.loss);
  }
  double top = hasRatios ? 10 : 1e3, bottom = hasRatios ? 1e-4 : 1e-5;
  Scale y = logScale(std::clamp(least, bottom, top / 10), std::clamp(most, bottom * 10, top), 318, 28, 6);
  Scale x = linearScale(std::min(points.front().x, exact.value_or(points.front().x)),
                        std::max(points.back().x, exact.value_or(points.back().x)), plotLeft, plotRight);
  auto formatLoss = [&](double loss) {
    std::string text = hasRatios ? (loss >= 3 ? "×" + significant(1 + loss, 3) : share(loss)) : significant(loss);
    return loss <= y.low * 1.001 ? "≤" + text : text;
  };
  std::string title = hasRatios ? "Perplexity added, logarithmic" : lossName(data) + ", logarithmic";
  html.open("figure");
  {
    Chart chart(html, plotWidth, 360, {x, saving.title, saving.format, 5}, {y, title, formatLoss},
                "Plans by " + std::string(saving.title) + " and loss", "Lower and further left is better.");
    drawFrontier(chart);
    if (exact) {
      html.open("g", {{"class", "pt"}, {"role", "img"}});
      html.leaf("title", "The exact program: no loss, " + saving.format(exact));
      drawMarker(html, star, chart.x(*exact), y.from, 6, "exact");
      html.close("g");
    }
    for (const Point &point : points)
      if (!point.plan->chosen)
        drawPoint(chart, point);
    for (const Point &point : points)
      if (point.plan->chosen)
        drawPoint(chart, point);
  }
  html.leaf("figcaption",
            std::string("Loss over ") + saving.title + (most > y.high ? "; points at the top edge lie beyond it" : ""));
  html.close("figure");
}

/// Steps along the plans that no other beats in both.
void Plot::drawFrontier(Chart &chart) const {
  std::vector<std::pair<double, double>> steps;
  double best = std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < points.size();) {
    size_t end = i;
    double loss = best;
    for (; end < points.size() && points[end].x == points[i].x; ++end)
      loss = std::min(loss, points[end].loss);
    if (loss < best) {
      if (!steps.empty())
        steps.emplace_back(chart.x(points[i].x), chart.y(best));
      steps.emplace_back(chart.x(points[i].x), chart.y(loss));
      best = loss;
    }
    i = end;
  }
  chart.path(steps, "frontier");
}

void Plot::drawPoint(Chart &chart, const Point &point) const {
  const Plan &plan = *point.plan;
  int family = families.of(plan);
  double x = chart.x(point.x), y = chart.y(point.loss);
  html.open("g", {{"class", plan.chosen ? "pt chosen" : "pt"}, {"role", "img"}});
  html.leaf("title", (plan.chosen ? "Chosen: " : "") + describe(plan, data));
  if (plan.addedError && (plan.frontier || plan.chosen)) {
    double low = hasRatios ? (1 + point.loss) * std::exp(-*plan.addedError) - 1 : point.loss - *plan.addedError;
    double high = hasRatios ? (1 + point.loss) * std::exp(*plan.addedError) - 1 : point.loss + *plan.addedError;
    chart.line(x, chart.y(low), x, chart.y(high), "error " + style(family));
  }
  drawMarker(html, family, x, y,
             plan.chosen     ? 5
             : plan.frontier ? 4.5
                             : 3.5,
             style(family) + (plan.chosen || plan.frontier ? "" : " hollow"));
  if (plan.chosen) {
    html.empty("circle", {{"class", "ring"}, {"cx", coordinate(x)}, {"cy", coordinate(y)}, {"r", "10"}});
    bool isRight = x > 300;
    chart.label(x + (isRight ? -14 : 14), y - 8, "chosen", isRight ? "mark end" : "mark");
  }
  html.close("g");
}

static void writeLegend(Html &html, const Families &families) {
  html.open("ul", {{"class", "legend"}});
  for (size_t i = 0; i < families.names.size(); ++i) {
    html.open("li");
    drawKey(html, static_cast<int>(i), style(static_cast<int>(i)));
    html.text(families.names[i]).close("li");
  }
  html.open("li");
  drawKey(html, star, "exact");
  html.text("exact program").close("li").open("li");
  drawKey(html, 0, "f0 hollow");
  html.text("hollow: beaten by another plan").close("li").close("ul");
}

static void writeTable(Html &html, const Data &data) {
  std::vector<const Plan *> plans;
  for (const Plan &plan : data.plans)
    plans.push_back(&plan);
  bool hasMeasured =
      std::any_of(plans.begin(), plans.end(), [](auto *plan) { return plan->measuredSeconds.has_value(); });
  html.open("details").leaf("summary", "All " + counted(static_cast<double>(plans.size()), "plan") + " as a table");
  std::vector<std::string> names = {"Plan",     "Family",      "#Perplexity", "#Added",       "#KL mean",
                                    "#KL 99 %", "#Top-1 same", "#Bytes",      "#Sync points", "#Time, predicted"};
  if (hasMeasured)
    names.push_back("#Time, measured");
  names.push_back("Standing");
  openTable(html, "figures plans", "Measured on text that was not used to fit or to search", names);
  for (const Plan *plan : plans) {
    html.open("tr", plan->chosen ? Html::Attributes{{"class", "chosen"}} : Html::Attributes{});
    html.open("th", {{"scope", "row"}}).text(plan->label);
    if (!plan->words.empty() && plan->words != plan->label)
      html.leaf("span", shortened(plan->words, 240), {{"class", "cell-note"}, {"title", shortened(plan->words, 2000)}});
    html.close("th").leaf("td", plan->family);
    numberCell(html, perplexity(plan->perplexity));
    std::string added = plan->ratio ? addedShare(plan->ratio) : withSign(plan->added);
    Number error = plan->addedError;
    if (error && plan->ratio)
      error = *error * *plan->ratio * 100;
    bool isShare = plan->ratio && *plan->ratio < 3;
    numberCell(html, withError(added, significant(error, 2), error && (isShare || !plan->ratio)));
    numberCell(html, significant(plan->kl));
    numberCell(html, significant(plan->kl99));
    numberCell(html, share(plan->agree));
    numberCell(html, share(plan->bytesShare));
    numberCell(html, count(plan->syncs));
    numberCell(html, seconds(plan->fastest));
    if (hasMeasured)
      numberCell(html, seconds(plan->measuredSeconds));
    html.leaf("td", plan->chosen ? "chosen" : plan->frontier ? "frontier" : "").close("tr");
  }
  closeTable(html);
  html.close("details");
}

bool writeFrontier(Html &html, const Data &data) {
  if (data.plans.empty())
    return false;
  Families families(data.plans);
  bool hasRatios =
      std::any_of(data.plans.begin(), data.plans.end(), [](const Plan &plan) { return plan.ratio.has_value(); });
  static const Saving savings[] = {{"share of the exact program's bytes", &Plan::bytesShare, share},
                                   {"sync points left", &Plan::syncs, count},
                                   {"predicted time", &Plan::fastest, seconds}};
  html.open("section", {{"id", "frontier"}}).leaf("h2", "Quality against what is saved");
  std::vector<Plot> plots;
  for (const Saving &saving : savings)
    if (Plot plot(html, data, families, saving, hasRatios); plot.isWorthIt())
      plots.push_back(std::move(plot));
  if (!plots.empty()) {
    html.leaf("p",
              "Each mark is a plan that was measured on held-out text. Lower loses less, further left saves more; no "
              "measured plan lies below the stepped line. Other families stand beside the search’s plans so that its "
              "gain can be seen.");
    writeLegend(html, families);
    html.open("div", {{"class", "charts"}});
    for (Plot &plot : plots)
      plot.write();
    html.close("div");
  }
  writeTable(html, data);
  html.close("section");
  return true;
}

} // namespace caat::ablate::report
