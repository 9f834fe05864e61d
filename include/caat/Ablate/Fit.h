// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Orders of channels and estimates, in closed form from what is pending at a site.
#ifndef CAAT_ABLATE_FIT_H
#define CAAT_ABLATE_FIT_H

#include "caat/Ablate/Choice.h"
#include "caat/Ablate/Evaluator.h"
#include <map>

namespace caat::ablate {

/// Moments over tokens of what the ranks have at a site, t = pending + partial, and of its sum T over the ranks.
class SiteMoments {
public:
  SiteMoments(int64_t ranks, int64_t channels);

  /// Adds the tokens of a run that stopped at the site.
  void add(const runtime::Snapshot &there);

  /// By channel: the mean over tokens, summed over the ranks, of (T - t)^2.
  std::vector<double> energy() const;
  /// The same of what is left after a rank's best estimate of T from its t.
  std::vector<double> residual(Estimate estimate) const;
  /// By channel: the mean of t^2, summed over the ranks.
  std::vector<double> magnitude() const;
  /// That estimate: a t + b, a row for each rank; channels that are `shared` have nothing pending, so nothing to add.
  runtime::SiteEstimate estimate(Estimate estimate, const std::vector<int64_t> &shared) const;

private:
  struct Line {
    double a, b, left; // least squares of T on t, and the mean square of what is left
  };
  Line fit(int64_t rank, int64_t channel, Estimate estimate) const;

  int64_t ranks, channels, tokens = 0;
  std::vector<double> sumT, sumTT;       // [channels]
  std::vector<double> sum, square, both; // [ranks, channels]: t, t^2, t T
};

/// The channels of a choice, most important first.
std::vector<int64_t> orderOf(const Choice &choice, const SiteMoments &moments, int64_t channels);

/// Fits orders and estimates site after site, each with the sites before it already rewritten.
class Fitter {
public:
  Fitter(runtime::Engine &engine, Text text);

  /// The policies of `choices`. Sites with equal choices behind equal sites share one policy, over all calls.
  /// `progress` gets the number of sites that are done. Throws Error.
  runtime::Policies fit(const Choices &choices, const std::function<void(size_t)> &progress = {});
  /// Every choice of `options` at every site, with all other sites full: policies[site][option], null where the site
  /// cannot do it. One run.
  std::vector<runtime::Policies> fitEach(const Choices &options, const std::function<void(size_t)> &progress = {});

private:
  /// Goes on to a site under the policies given; from the start where it is not on the way.
  void advance(size_t site, const runtime::Policies &policies);
  SiteMoments momentsHere() const;
  /// The policy of a choice whose site has been reached; `key` names the choices up to it.
  std::shared_ptr<const runtime::SitePolicy> make(const std::string &key, const Choice &choice,
                                                  const SiteMoments &moments, int64_t channels);

  runtime::Engine &engine;
  Text text;
  std::vector<std::shared_ptr<const runtime::Snapshot>> here; // by batch
  std::shared_ptr<const runtime::SitePolicy> full;
  std::map<std::string, std::shared_ptr<const runtime::SitePolicy>> made; // by the choices up to the site
};

} // namespace caat::ablate

#endif
