// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Estimates of small rank: the sum over the ranks from what one rank has, by regression of reduced rank in closed form.
#ifndef CAAT_ABLATE_SMALLRANK_H
#define CAAT_ABLATE_SMALLRANK_H

#include "caat/runtime/Plan.h"
#include "caat/runtime/Sites.h"
#include <memory>

namespace caat::ablate {

/// Moments over tokens of all pairs of what one rank has at a site: t = pending + partial, the module's input x, and
/// the sum T of t over the ranks. Readers normalise the stream s, so a token counts by 1 / mean(s^2): without that a
/// few tokens of huge activations would decide everything.
class RankMoments {
public:
  /// `inputs`: columns of x, 0 where there is none.
  RankMoments(size_t rank, int64_t channels, int64_t inputs);
  RankMoments(RankMoments &&) noexcept;
  ~RankMoments();

  /// Adds the tokens of a run that stopped at the site. Different ranks may do that at the same time.
  void add(const runtime::Snapshot &there);

  struct Request {
    runtime::SiteEstimate::Feature feature;
    int64_t rank;                // of U V
    std::vector<int64_t> shared; // channels that have nothing pending: nothing is read there, and nothing added
    std::vector<double> gains;   // of the channels in what reads the stream, how much an error there counts; or empty
  };
  /// T = a t + b + U (V f) of least weighted error, with a ridge: first the line by channel, then U V for what it
  /// leaves. One row of each.
  runtime::SiteEstimate fit(const Request &request) const;

private:
  struct State;
  std::unique_ptr<State> state;
};

/// The rows of the ranks, one behind the other.
runtime::SiteEstimate joinRanks(const std::vector<runtime::SiteEstimate> &rows);

/// By channel: how strongly what a module reads, x, follows the stream s before its norm; the slope of x on
/// s / rms(s). From a run that stopped at the module's site. All ones where that is not known.
std::vector<double> readerGains(const std::vector<std::shared_ptr<const runtime::Snapshot>> &there);

} // namespace caat::ablate

#endif
