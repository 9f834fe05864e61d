// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The common parts of the report's plots: scales, axes, markers. Units are those of the SVG's view box.
#ifndef CAAT_LIB_ABLATE_REPORT_CHART_H
#define CAAT_LIB_ABLATE_REPORT_CHART_H

#include "Html.h"
#include <functional>

namespace caat::ablate::report {

/// From values to positions. Values beyond the ends are drawn at them.
struct Scale {
  bool isLog = false;
  double low = 0, high = 1;  // values
  double from = 0, to = 100; // positions

  double at(double value) const;
  /// Round values between the ends, about `count`; of logarithms powers of ten, with 2 and 5 between where few.
  std::vector<double> ticks(int count) const;
};

/// From 0 or from below the values to above them, with round ends.
Scale linearScale(double low, double high, double from, double to);
/// Whole powers of ten around the values, at least one decade and at most `decades`, whose lowest ones are left out.
Scale logScale(double low, double high, double from, double to, int decades);

struct Axis {
  Scale scale;
  std::string title;
  std::function<std::string(double)> format;
  int ticks = 6;
};

/// The area between two axes, x with positions rightwards and y with positions upwards (from > to).
class Chart {
public:
  /// Opens an SVG with the name and description for those who cannot see it. Axes and grid are drawn at once.
  Chart(Html &html, double width, double height, Axis x, Axis y, const std::string &name, const std::string &about);
  ~Chart();
  Chart(const Chart &) = delete;

  double x(double value) const { return horizontal.scale.at(value); }
  double y(double value) const { return vertical.scale.at(value); }
  void line(double x1, double y1, double x2, double y2, const std::string &style);
  void path(const std::vector<std::pair<double, double>> &points, const std::string &style);
  void label(double x, double y, const std::string &text, const std::string &style);

private:
  Html &html;
  Axis horizontal, vertical;
};

/// All plots are as wide, so that their texts are of one size.
constexpr double plotWidth = 440, plotLeft = 60, plotRight = 428;

std::string coordinate(double value);
constexpr int numShapes = 8;
constexpr int star = numShapes; // none of the others
/// A shape that is told from the others without its colour: circle, square, triangle, diamond, …
void drawMarker(Html &html, int shape, double x, double y, double size, const std::string &style);
/// An SVG as small as a word with just that marker, for legends.
void drawKey(Html &html, int shape, const std::string &style);

} // namespace caat::ablate::report

#endif
