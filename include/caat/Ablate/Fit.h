// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Orders of channels and estimates, in closed form from what is pending at a site.
#ifndef CAAT_ABLATE_FIT_H
#define CAAT_ABLATE_FIT_H

#include "caat/Ablate/Choice.h"
#include "caat/Ablate/SmallRank.h"
#include "caat/Ablate/Text.h"
#include <map>

namespace caat::ablate {

/// Moments over tokens of what the ranks have at a site, t = pending + partial, and of its sum T over the ranks.
class SiteMoments {
public:
  /// `normalised`: a token counts by 1 / mean(s^2) of the stream s, as readers see it behind their norm.
  SiteMoments(int64_t ranks, int64_t channels, bool normalised = false);

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

  int64_t ranks, channels;
  bool normalised;
  double tokens = 0;                     // or the sum of their weights
  std::vector<double> sumT, sumTT;       // [channels]
  std::vector<double> sum, square, both; // [ranks, channels]: t, t^2, t T
};

/// The channels of a choice, most important first. For Order::Gain the moments are normalised, and `known` are the
/// gains of what reads the stream; for one order for all sites `known` says how much each channel counts.
std::vector<int64_t> orderOf(const Choice &choice, const SiteMoments &moments, int64_t channels,
                             const std::vector<double> &known = {});

/// Fits orders and estimates site after site, each with the sites before it already rewritten.
class Fitter {
public:
  Fitter(runtime::Engine &engine, Text text);

  /// The policies of `choices`. Sites with equal choices behind equal sites share one policy, over all calls.
  /// `progress` gets the number of sites that are done. Throws Error.
  runtime::Policies fit(const Choices &choices, const std::function<void(size_t)> &progress = {});
  /// What each site is offered, options[site], fitted with the sites before it as in `centre`: policies[site][option],
  /// null where the site cannot do it. One run.
  std::vector<runtime::Policies> fitAround(const Choices &centre, const std::vector<Choices> &options,
                                           const std::function<void(size_t)> &progress = {});

private:
  class Moments;
  /// Goes on to a site under the policies given; from the start where it is not on the way.
  void advance(size_t site, const runtime::Policies &policies);
  /// The policy of a choice whose site has been reached; `key` names the choices up to it.
  std::shared_ptr<const runtime::SitePolicy> make(const std::string &key, const Choice &choice, Moments &moments);
  /// Divides the choice's rate among the channels of the site.
  void divide(const Choice &choice, Moments &moments, runtime::SitePolicy &policy);
  void addEstimate(const Choice &choice, Moments &moments, runtime::SitePolicy &policy);
  /// Finds what the exact program tells of all sites, where one of the choices asks for it.
  void prepare(const Choices &choices);

  runtime::Engine &engine;
  Text text;
  std::vector<std::shared_ptr<const runtime::Snapshot>> here; // by batch
  std::vector<std::vector<double>> gains; // by site, of what reads the stream behind it; empty as long as nobody asks
  bool knowsEnergy = false;               // whether these two have been asked for:
  std::vector<double> energy, shares;     // of channels over all sites; energy is empty where these differ
  std::shared_ptr<const runtime::SitePolicy> full;
  std::map<std::string, std::shared_ptr<const runtime::SitePolicy>> made; // by the choices up to the site
};

} // namespace caat::ablate

#endif
