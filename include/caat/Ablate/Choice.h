// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A plan as the search sees it: for each site one of a few choices, whose orders and estimates are fitted later.
#ifndef CAAT_ABLATE_CHOICE_H
#define CAAT_ABLATE_CHOICE_H

#include "caat/runtime/Manifest.h"
#include <string>
#include <vector>

namespace caat::ablate {

enum class Order {
  Index,     // as numbered
  Energy,    // where a rank's part differs most from the sum first
  Residual,  // where most is left of that after the estimate first
  Magnitude, // largest first: channels of like size share a scale of rounding
};
enum class Estimate { None, Mean, Affine };

/// What one site does. By default everything is reduced.
struct Choice {
  double shared = 1;      // of the channels
  bool isPrivate = false; // what becomes of the others
  bool scalesBySqrt = false;
  Order order = Order::Residual;
  Estimate estimate = Estimate::Affine;
  int bits = 0;         // of a reduced element on the wire; 0: unrounded
  int block = 32;       // elements that share a scale
  int exact = 0;        // channels of those reduced, first in the order, that travel unrounded
  bool feedback = true; // what rounding leaves out stays pending

  bool isFull() const { return shared >= 1 && bits == 0; }
  bool isDropped() const { return shared <= 0 && !isPrivate; }
  /// How many of `channels` channels are reduced, by truncation as in plans.
  int64_t getShared(int64_t channels) const {
    return shared >= 1 ? channels : static_cast<int64_t>(shared * static_cast<double>(channels));
  }
  /// A short name, the same for equal choices: "full", "drop", "defer 0.25 affine".
  std::string text() const;
  bool operator==(const Choice &) const = default;

  static Choice full() { return {}; }
  static Choice drop(Estimate estimate = Estimate::None) { return {0, false, false, Order::Residual, estimate}; }
  static Choice defer(double shared, Estimate estimate, Order order = Order::Residual) {
    return {shared, false, false, order, estimate};
  }
  /// Everything is reduced, rounded.
  static Choice round(int bits, int exact, bool feedback, Order order = Order::Magnitude) {
    Choice choice{1, false, false, order, Estimate::None};
    choice.bits = bits, choice.exact = exact, choice.feedback = feedback;
    return choice;
  }
  /// CAAT-Net's rule.
  static Choice keep(double shared, bool scalesBySqrt, Order order) {
    return {shared, true, scalesBySqrt, order, Estimate::None};
  }
};

/// By site, in the manifest's order.
using Choices = std::vector<Choice>;

/// Whether the site can do that; a site that must sum everything at once has nothing to gain by deferring.
bool isPossible(const Choice &choice, const runtime::SiteSpec &site);
/// Choices with other than full sites, shortly: "layers.3.attn drop, …".
std::string describe(const Choices &choices, const runtime::Manifest &manifest);

} // namespace caat::ablate

#endif
