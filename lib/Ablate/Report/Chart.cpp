// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Chart.h"
#include <algorithm>
#include <cmath>
#include <cstdio>

namespace caat::ablate::report {

double Scale::at(double value) const {
  double share = isLog ? std::log(std::max(value, low) / low) / std::log(high / low) : (value - low) / (high - low);
  return from + std::clamp(share, 0.0, 1.0) * (to - from);
}

/// 1, 2 or 5 times a power of ten.
static double roundStep(double step) {
  double power = std::pow(10, std::floor(std::log10(step)));
  double digit = step / power;
  return (digit <= 1.01 ? 1 : digit <= 2.01 ? 2 : digit <= 5.01 ? 5 : 10) * power;
}

std::vector<double> Scale::ticks(int count) const {
  std::vector<double> result;
  if (isLog) {
    int first = static_cast<int>(std::lround(std::log10(low))), last = static_cast<int>(std::lround(std::log10(high)));
    for (int exponent = first; exponent <= last; ++exponent)
      for (int digit : {1, 2, 5}) {
        double value = digit * std::pow(10, exponent);
        if (value <= high * 1.001 && (digit == 1 || last - first <= 2))
          result.push_back(value);
      }
    return result;
  }
  double step = roundStep((high - low) / count);
  for (double value = std::ceil(low / step - 1e-6) * step; value <= high + step * 1e-6; value += step)
    result.push_back(std::fabs(value) < step * 1e-6 ? 0 : value);
  return result;
}

Scale linearScale(double low, double high, double from, double to) {
  if (high - low <= 1e-9 * std::max(std::fabs(low), std::fabs(high)))
    high = low + (low != 0 ? std::fabs(low) : 1);
  if (low > 0 && low < 0.6 * high)
    low = 0;
  double step = roundStep((high - low) / 6);
  return {false, std::floor(low / step + 1e-6) * step, std::ceil(high / step - 1e-6) * step, from, to};
}

Scale logScale(double low, double high, double from, double to, int decades) {
  double last = std::ceil(std::log10(high) - 1e-9), first = std::floor(std::log10(low) + 1e-9);
  first = std::clamp(first, last - decades, last - 1);
  return {true, std::pow(10, first), std::pow(10, last), from, to};
}

std::string coordinate(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", value);
  std::string result = text;
  if (result.size() > 2 && result.compare(result.size() - 2, 2, ".0") == 0)
    result.resize(result.size() - 2);
  return result;
}

Chart::Chart(Html &html, double width, double height, Axis x, Axis y, const std::string &name, const std::string &about)
    : html(html), horizontal(std::move(x)), vertical(std::move(y)) {
  const Scale &across = horizontal.scale, &up = vertical.scale;
  html.open("svg", {{"class", "chart"},
                    {"viewBox", "0 0 " + coordinate(width) + " " + coordinate(height)},
                    {"role", "group"},
                    {"aria-label", name + ". " + about},
                    {"data-points", ""}});
  for (double tick : up.ticks(vertical.ticks)) {
    line(across.from, up.at(tick), across.to, up.at(tick), "grid");
    label(across.from - 6, up.at(tick) + 4, vertical.format(tick), "tick end");
  }
  for (double tick : across.ticks(horizontal.ticks)) {
    line(across.at(tick), up.from, across.at(tick), up.to, "grid");
    label(across.at(tick), up.from + 16, horizontal.format(tick), "tick middle");
  }
  line(across.from, up.from, across.to, up.from, "axis");
  line(across.from, up.from, across.from, up.to, "axis");
  label((across.from + across.to) / 2, up.from + 34, horizontal.title, "axis-title middle");
  label(across.from - 40, up.to - 14, vertical.title, "axis-title");
}

Chart::~Chart() { html.close("svg"); }

void Chart::line(double x1, double y1, double x2, double y2, const std::string &style) {
  html.empty("line", {{"class", style},
                      {"x1", coordinate(x1)},
                      {"y1", coordinate(y1)},
                      {"x2", coordinate(x2)},
                      {"y2", coordinate(y2)}});
}

void Chart::path(const std::vector<std::pair<double, double>> &points, const std::string &style) {
  std::string commands;
  for (const auto &[x, y] : points)
    commands += (commands.empty() ? "M" : "L") + coordinate(x) + " " + coordinate(y);
  if (!commands.empty())
    html.empty("path", {{"class", style}, {"d", commands}});
}

void Chart::label(double x, double y, const std::string &text, const std::string &style) {
  html.leaf("text", text, {{"class", style}, {"x", coordinate(x)}, {"y", coordinate(y)}});
}

void drawMarker(Html &html, int shape, double x, double y, double size, const std::string &style) {
  using Points = std::vector<std::pair<double, double>>;
  static const Points polygons[numShapes + 1] = {
      {}, // a circle
      {{-0.9, -0.9}, {0.9, -0.9}, {0.9, 0.9}, {-0.9, 0.9}},
      {{0, -1.15}, {1.1, 0.85}, {-1.1, 0.85}},
      {{0, -1.25}, {1.25, 0}, {0, 1.25}, {-1.25, 0}},
      {{0, 1.15}, {1.1, -0.85}, {-1.1, -0.85}},
      {{-0.4, -1.1},
       {0.4, -1.1},
       {0.4, -0.4},
       {1.1, -0.4},
       {1.1, 0.4},
       {0.4, 0.4},
       {0.4, 1.1},
       {-0.4, 1.1},
       {-0.4, 0.4},
       {-1.1, 0.4},
       {-1.1, -0.4},
       {-0.4, -0.4}}, // a plus
      {{-1.1, -0.55},
       {-0.55, -1.1},
       {0, -0.55},
       {0.55, -1.1},
       {1.1, -0.55},
       {0.55, 0},
       {1.1, 0.55},
       {0.55, 1.1},
       {0, 0.55},
       {-0.55, 1.1},
       {-1.1, 0.55},
       {-0.55, 0}},                                             // a cross
      {{-1.2, -0.45}, {1.2, -0.45}, {1.2, 0.45}, {-1.2, 0.45}}, // a bar
      {{0.00, -1.40},
       {0.35, -0.49},
       {1.33, -0.43},
       {0.57, 0.19},
       {0.82, 1.13},
       {0.00, 0.60},
       {-0.82, 1.13},
       {-0.57, 0.19},
       {-1.33, -0.43},
       {-0.35, -0.49}}, // a star
  };
  const Points &points = polygons[shape == star ? star : shape % numShapes];
  if (points.empty()) {
    html.empty("circle", {{"class", style}, {"cx", coordinate(x)}, {"cy", coordinate(y)}, {"r", coordinate(size)}});
    return;
  }
  std::string commands;
  for (const auto &[dx, dy] : points)
    commands += (commands.empty() ? "M" : "L") + coordinate(x + dx * size) + " " + coordinate(y + dy * size);
  html.empty("path", {{"class", style}, {"d", commands + "Z"}});
}

void drawKey(Html &html, int shape, const std::string &style) {
  html.open("svg", {{"class", "key"}, {"viewBox", "0 0 16 16"}, {"aria-hidden", "true"}});
  drawMarker(html, shape, 8, 8, 5, style);
  html.close("svg");
}

} // namespace caat::ablate::report
