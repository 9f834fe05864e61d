// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A plan as the search sees it: for each site one of a few choices, whose orders and estimates are fitted later.
#ifndef CAAT_ABLATE_CHOICE_H
#define CAAT_ABLATE_CHOICE_H

#include "caat/runtime/Manifest.h"
#include "caat/runtime/Plan.h"
#include <string>
#include <vector>

namespace caat::ablate {

enum class Order {
  Index,     // as numbered
  Energy,    // where a rank's part differs most from the sum first
  Residual,  // where most is left of that after the estimate first
  Magnitude, // largest first: channels of like size share a scale of rounding
  Gain,      // as Residual, by what the next module sees of it: tokens normalised, channels times its gains
  Common,    // one order for all sites: by energy in the exact program, over all of them
  Shares,    // the same, where each site's energies are shares of its own sum: every site counts alike
};
constexpr bool isOneForAll(Order order) { return order == Order::Common || order == Order::Shares; }
enum class Estimate { None, Mean, Affine, SmallRank };

using Feature = runtime::SiteEstimate::Feature;

/// What one site does. By default everything is reduced.
struct Choice {
  double shared = 1;      // of the channels
  bool isPrivate = false; // what becomes of the others
  bool scalesBySqrt = false;
  Order order = Order::Residual;
  Estimate estimate = Estimate::Affine;
  Feature feature = Feature::Both; // what an estimate of small rank reads
  int64_t rank = 0;                // of it
  int bits = 0;                    // of a reduced element on the wire; 0: unrounded
  int block = 32;                  // elements that share a scale
  int exact = 0;                   // channels of those reduced, first in the order, that travel unrounded
  bool feedback = true;            // what rounding leaves out stays pending
  double rate = 0; // bits of a channel on average, which are divided among the channels as costs least; 0: not so

  bool isFull() const { return shared >= 1 && bits == 0 && rate == 0; }
  bool isRounded() const { return bits != 0 || rate > 0; }
  bool isDropped() const { return shared <= 0 && !isPrivate; }
  /// How many of `channels` channels are reduced, by truncation as in plans.
  int64_t getShared(int64_t channels) const {
    return shared >= 1 ? channels : static_cast<int64_t>(shared * static_cast<double>(channels));
  }
  /// A short name, the same for equal choices: "full", "drop", "defer 0.25 affine", "drop rank 64 of both",
  /// "4 bits, 8 exact".
  std::string text() const;
  /// The choice of such a name. Throws Error (Input).
  static Choice parse(const std::string &text);
  bool operator==(const Choice &) const = default;

  static Choice full() { return {}; }
  static Choice drop(Estimate estimate = Estimate::None) { return defer(0, estimate); }
  static Choice defer(double shared, Estimate estimate, Order order = Order::Residual) {
    Choice choice;
    choice.shared = shared, choice.order = order, choice.estimate = estimate;
    return choice;
  }
  /// Nothing is sent; what is missing is guessed.
  static Choice guess(Feature feature, int64_t rank) {
    Choice choice = drop(Estimate::SmallRank);
    choice.feature = feature, choice.rank = rank;
    return choice;
  }
  /// Everything is reduced, rounded.
  static Choice round(int bits, int exact, bool feedback, Order order = Order::Magnitude) {
    Choice choice;
    choice.order = order, choice.estimate = Estimate::None;
    choice.bits = bits, choice.exact = exact, choice.feedback = feedback;
    return choice;
  }
  /// CAAT-Net's rule.
  static Choice keep(double shared, bool scalesBySqrt, Order order) {
    Choice choice;
    choice.shared = shared, choice.isPrivate = true, choice.scalesBySqrt = scalesBySqrt;
    choice.order = order, choice.estimate = Estimate::None;
    return choice;
  }
};

/// By site, in the manifest's order.
using Choices = std::vector<Choice>;

/// Why the site cannot do that, or should not: one that sums everything at once has nothing to gain by deferring. Empty
/// where it can.
std::string whyNot(const Choice &choice, const runtime::SiteSpec &site);
bool isPossible(const Choice &choice, const runtime::SiteSpec &site);
/// Choices with other than full sites, shortly: "layers.3.attn drop, …".
std::string describe(const Choices &choices, const runtime::Manifest &manifest);

} // namespace caat::ablate

#endif
