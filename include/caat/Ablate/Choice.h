// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A plan as the search sees it: for each site one of a few choices, whose orders and estimates are fitted later.
#ifndef CAAT_ABLATE_CHOICE_H
#define CAAT_ABLATE_CHOICE_H

#include "caat/runtime/Manifest.h"
#include <string>
#include <vector>

namespace caat::ablate {

enum class Order { Index, Energy, Residual }; // as numbered; most energy first; most left after the estimate first
enum class Estimate { None, Mean, Affine };

/// What one site does. By default everything is reduced.
struct Choice {
  double shared = 1;      // of the channels
  bool isPrivate = false; // what becomes of the others
  bool scalesBySqrt = false;
  Order order = Order::Residual;
  Estimate estimate = Estimate::Affine;

  bool isFull() const { return shared >= 1; }
  bool isDropped() const { return shared <= 0 && !isPrivate; }
  /// How many of `channels` channels are reduced, by truncation as in plans.
  int64_t getShared(int64_t channels) const {
    return isFull() ? channels : static_cast<int64_t>(shared * static_cast<double>(channels));
  }
  /// A short name, the same for equal choices: "full", "drop", "defer 0.25 affine".
  std::string text() const;
  bool operator==(const Choice &) const = default;

  static Choice full() { return {}; }
  static Choice drop(Estimate estimate = Estimate::None) { return {0, false, false, Order::Residual, estimate}; }
  static Choice defer(double shared, Estimate estimate, Order order = Order::Residual) {
    return {shared, false, false, order, estimate};
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
