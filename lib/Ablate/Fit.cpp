// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Ablate/Fit.h"
#include "caat/Ablate/Allocate.h"
#include "caat/runtime/Error.h"
#include <algorithm>
#include <atomic>
#include <cmath>
#include <numeric>

namespace caat::ablate {

using runtime::Policies;
using runtime::SiteEstimate;
using runtime::SitePolicy;
using runtime::Snapshot;

SiteMoments::SiteMoments(int64_t ranks, int64_t channels, bool normalised)
    : ranks(ranks), channels(channels), normalised(normalised), sumT(static_cast<size_t>(channels)), sumTT(sumT),
      sum(static_cast<size_t>(ranks * channels)), square(sum), both(sum) {}

/// 1 / mean(s^2) of the stream s = base + total.
static double weightOf(const float *base, const std::vector<double> &total) {
  double squares = 0;
  for (size_t c = 0; c < total.size(); ++c) {
    double s = total[c] + (base ? static_cast<double>(base[c]) : 0);
    squares += s * s;
  }
  return squares > 0 ? static_cast<double>(total.size()) / squares : 0;
}

void SiteMoments::add(const Snapshot &there) {
  auto width = static_cast<size_t>(channels);
  std::vector<std::vector<float>> t(static_cast<size_t>(ranks), std::vector<float>(width));
  std::vector<double> total(width);
  for (int64_t r = 0; r < there.rows; ++r) {
    std::fill(total.begin(), total.end(), 0);
    size_t row = static_cast<size_t>(r) * width;
    for (size_t m = 0; m < t.size(); ++m) {
      const runtime::RankSnapshot &rank = there.ranks[m];
      for (size_t c = 0; c < width; ++c) {
        t[m][c] =
            (rank.pending.empty() ? 0 : rank.pending[row + c]) + (rank.partial.empty() ? 0 : rank.partial[row + c]);
        total[c] += static_cast<double>(t[m][c]);
      }
    }
    const std::vector<float> &base = there.ranks.front().base;
    double weight = normalised ? weightOf(base.empty() ? nullptr : &base[row], total) : 1;
    tokens += weight;
    for (size_t c = 0; c < width; ++c) {
      sumT[c] += weight * total[c];
      sumTT[c] += weight * total[c] * total[c];
    }
    for (size_t m = 0; m < t.size(); ++m)
      for (size_t c = 0; c < width; ++c) {
        auto x = static_cast<double>(t[m][c]);
        sum[m * width + c] += weight * x;
        square[m * width + c] += weight * x * x;
        both[m * width + c] += weight * x * total[c];
      }
  }
}

std::vector<double> SiteMoments::energy() const { return residual(Estimate::None); }

std::vector<double> SiteMoments::magnitude() const {
  std::vector<double> sums(static_cast<size_t>(channels));
  for (size_t i = 0; i < square.size(); ++i)
    sums[i % sums.size()] += square[i] / tokens;
  return sums;
}

SiteMoments::Line SiteMoments::fit(int64_t rank, int64_t channel, Estimate estimate) const {
  auto c = static_cast<size_t>(channel), at = static_cast<size_t>(rank * channels + channel);
  double x = sum[at] / tokens, xx = square[at] / tokens, xy = both[at] / tokens, y = sumT[c] / tokens,
         yy = sumTT[c] / tokens;
  double a = 1, b = 0;
  if (estimate != Estimate::None)
    b = y - x;
  bool hasSlope = estimate == Estimate::Affine || estimate == Estimate::SmallRank;
  if (hasSlope && xx - x * x > 1e-12 * (xx + 1e-30)) {
    a = (xy - x * y) / (xx - x * x);
    b = y - a * x;
  }
  // The mean of (y - a x - b)^2.
  double left = yy - 2 * a * xy - 2 * b * y + a * a * xx + 2 * a * b * x + b * b;
  return {a, b, std::max(left, 0.0)};
}

std::vector<double> SiteMoments::residual(Estimate estimate) const {
  std::vector<double> left(static_cast<size_t>(channels));
  for (int64_t rank = 0; rank < ranks; ++rank)
    for (int64_t c = 0; c < channels; ++c)
      left[static_cast<size_t>(c)] += fit(rank, c, estimate).left;
  return left;
}

SiteEstimate SiteMoments::estimate(Estimate estimate, const std::vector<int64_t> &shared) const {
  SiteEstimate result;
  for (int64_t rank = 0; rank < ranks; ++rank)
    for (int64_t c = 0; c < channels; ++c) {
      Line line = fit(rank, c, estimate);
      result.a.push_back(static_cast<float>(line.a));
      result.b.push_back(static_cast<float>(line.b));
    }
  for (int64_t rank = 0; rank < ranks; ++rank)
    for (int64_t channel : shared) {
      result.a[static_cast<size_t>(rank * channels + channel)] = 1;
      result.b[static_cast<size_t>(rank * channels + channel)] = 0;
    }
  return result;
}

std::vector<int64_t> orderOf(const Choice &choice, const SiteMoments &moments, int64_t channels,
                             const std::vector<double> &known) {
  std::vector<int64_t> order(static_cast<size_t>(channels));
  std::iota(order.begin(), order.end(), int64_t{0});
  if (choice.order == Order::Index)
    return order;
  std::vector<double> weight = choice.order == Order::Energy      ? moments.energy()
                               : choice.order == Order::Magnitude ? moments.magnitude()
                               : isOneForAll(choice.order)        ? known
                                                                  : moments.residual(choice.estimate);
  if (choice.order == Order::Gain)
    for (size_t c = 0; c < known.size(); ++c)
      weight[c] *= known[c] * known[c];
  for (double &w : weight)
    if (std::isnan(w)) // of a model whose numbers overflow
      w = INFINITY;
  std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    double x = weight[static_cast<size_t>(a)], y = weight[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  });
  return order;
}

/// Of the site where a fit stands, each kind when it is asked for.
class Fitter::Moments {
public:
  Moments(const Fitter &fitter, size_t site) : fitter(fitter), site(site) {}

  const SiteMoments &byChannel(bool normalised) {
    std::optional<SiteMoments> &slot = channelwise[normalised];
    if (!slot) {
      slot.emplace(fitter.engine.size(), spec().channels, normalised);
      for (const auto &snapshot : fitter.here)
        slot->add(*snapshot);
    }
    return *slot;
  }

  /// Each rank fits its own row.
  SiteEstimate smallRank(const Choice &choice, const std::vector<int64_t> &shared) {
    bool isFirst = pairs.empty();
    if (isFirst)
      for (int rank = 0; rank < fitter.engine.size(); ++rank)
        pairs.emplace_back(static_cast<size_t>(rank), spec().channels, spec().input);
    std::vector<SiteEstimate> estimates(pairs.size());
    std::atomic<size_t> next = 0; // whichever thread takes it
    fitter.engine.onRanks([&](runtime::Rank &) {
      size_t number = next++;
      if (isFirst)
        for (const auto &snapshot : fitter.here)
          pairs[number].add(*snapshot);
      estimates[number] = pairs[number].fit({choice.feature, choice.rank, shared, gains()});
    });
    return joinRanks(estimates);
  }

  const std::vector<double> &gains() const { return fitter.gains[site]; }
  const runtime::SiteSpec &spec() const { return fitter.engine.manifest().sites[site]; }

private:
  const Fitter &fitter;
  size_t site;
  std::optional<SiteMoments> channelwise[2];
  std::vector<RankMoments> pairs;
};

Fitter::Fitter(runtime::Engine &engine, Text text)
    : engine(engine), text(std::move(text)), here(static_cast<size_t>(this->text.batches())),
      full(std::make_shared<SitePolicy>()) {}

void Fitter::advance(size_t site, const Policies &policies) {
  engine.setPolicies(policies);
  for (size_t number = 0; number < here.size(); ++number) {
    if (here[number] && here[number]->site >= site)
      here[number] = nullptr;
    auto there = std::make_shared<Snapshot>();
    text.run(engine, static_cast<int64_t>(number), {here[number].get(), site, there.get()});
    here[number] = std::move(there);
  }
}

/// Whether the policy depends on what is at the site.
static bool needsFit(const Choice &choice) {
  bool orders = choice.shared > 0 && choice.order != Order::Index;
  return orders || choice.rate > 0 || (!choice.isPrivate && choice.shared < 1 && choice.estimate != Estimate::None);
}

static bool needsExact(const Choice &choice) {
  return choice.order == Order::Gain || isOneForAll(choice.order) || choice.estimate == Estimate::SmallRank ||
         choice.rate > 0;
}

void Fitter::prepare(const Choices &choices) {
  bool needsEnergy =
      std::any_of(choices.begin(), choices.end(), [](const Choice &choice) { return isOneForAll(choice.order); });
  bool isKnown = !gains.empty() && (knowsEnergy || !needsEnergy);
  if (isKnown || std::none_of(choices.begin(), choices.end(), needsExact))
    return;
  knowsEnergy = needsEnergy;
  gains.clear();
  const std::vector<runtime::SiteSpec> &sites = engine.manifest().sites;
  std::fill(here.begin(), here.end(), nullptr);
  energy.assign(needsEnergy ? static_cast<size_t>(sites.front().channels) : 0, 0);
  shares = energy;
  for (size_t site = 0; site < sites.size(); ++site) {
    advance(site, {});
    if (site > 0) // its module reads the stream behind the site before
      gains.push_back(readerGains(here));
    if (sites[site].channels != sites.front().channels)
      energy.clear();
    Moments moments(*this, site);
    std::vector<double> mine = energy.empty() ? std::vector<double>() : moments.byChannel(false).energy();
    double total = std::accumulate(mine.begin(), mine.end(), 0.0);
    for (size_t c = 0; c < energy.size(); ++c) {
      energy[c] += mine[c];
      shares[c] += total > 0 ? mine[c] / total : 0;
    }
  }
  gains.emplace_back(sites.back().channels, 1.0);
}

void Fitter::divide(const Choice &choice, Moments &moments, SitePolicy &policy) {
  const SiteMoments &seen = moments.byChannel(/*normalised=*/true);
  ChannelFacts facts;
  facts.ranks = engine.size();
  facts.magnitude = seen.magnitude();
  facts.waiting = seen.residual(choice.estimate);
  for (double gain : moments.gains())
    facts.weight.push_back(gain * gain);
  Allocation parts = allocate(facts, choice.rate);
  auto width = static_cast<int64_t>(parts.shared.size());
  policy.shared = std::move(parts.shared);
  policy.full = width == moments.spec().channels;
  policy.rounding = {width, parts.bits, parts.block, {}};
  for (int64_t place = 0; place < parts.exact; ++place)
    policy.rounding->exact.push_back(place);
  if (!policy.full)
    addEstimate(choice, moments, policy);
}

void Fitter::addEstimate(const Choice &choice, Moments &moments, SitePolicy &policy) {
  if (choice.estimate == Estimate::SmallRank)
    policy.estimate = moments.smallRank(choice, policy.shared);
  else if (choice.estimate != Estimate::None)
    policy.estimate = moments.byChannel(false).estimate(choice.estimate, policy.shared);
}

std::shared_ptr<const SitePolicy> Fitter::make(const std::string &key, const Choice &choice, Moments &moments) {
  int64_t channels = moments.spec().channels;
  auto policy = std::make_shared<SitePolicy>();
  policy->full = choice.shared >= 1;
  bool byGain = choice.order == Order::Gain;
  if (isOneForAll(choice.order) && energy.empty())
    runtime::failInput("one order for all sites needs sites of as many channels each");
  if (choice.rate > 0) {
    divide(choice, moments, *policy);
    return made[key] = std::move(policy);
  }
  int64_t reduced = choice.getShared(channels);
  if (reduced > 0 && choice.order == Order::Index) {
    policy->shared.resize(static_cast<size_t>(reduced));
    std::iota(policy->shared.begin(), policy->shared.end(), int64_t{0});
  } else if (reduced > 0) {
    policy->shared = orderOf(choice, moments.byChannel(byGain), channels,
                             byGain                          ? moments.gains()
                             : choice.order == Order::Shares ? shares
                                                             : energy);
    policy->shared.resize(static_cast<size_t>(reduced));
  }
  if (choice.bits) {
    policy->rounding = {reduced, choice.bits, choice.block, {}};
    policy->feedback = choice.feedback;
    for (int64_t place = 0; place < std::min<int64_t>(choice.exact, policy->rounding->channels); ++place)
      policy->rounding->exact.push_back(place);
  }
  policy->isPrivate = choice.isPrivate;
  if (choice.isPrivate)
    policy->scale = choice.scalesBySqrt ? std::sqrt(static_cast<float>(engine.size())) : 1;
  else if (choice.shared < 1)
    addEstimate(choice, moments, *policy);
  return made[key] = std::move(policy);
}

/// Names `choice` at `site` behind what `before` names.
static std::string extend(const std::string &before, size_t site, const Choice &choice) {
  return choice.isFull() ? before : before + std::to_string(site) + ' ' + choice.text() + ';';
}

Policies Fitter::fit(const Choices &choices, const std::function<void(size_t)> &progress) {
  const std::vector<runtime::SiteSpec> &sites = engine.manifest().sites;
  prepare(choices);
  std::fill(here.begin(), here.end(), nullptr);
  Policies policies(sites.size(), full);
  std::string key;
  for (size_t site = 0; site < sites.size(); ++site) {
    key = extend(key, site, choices[site]);
    if (!choices[site].isFull()) {
      auto known = made.find(key);
      if (known == made.end() && needsFit(choices[site]))
        advance(site, policies);
      Moments moments(*this, site);
      policies[site] = known != made.end() ? known->second : make(key, choices[site], moments);
    }
    if (progress)
      progress(site + 1);
  }
  return policies;
}

std::vector<Policies> Fitter::fitAround(const Choices &centre, const std::vector<Choices> &options,
                                        const std::function<void(size_t)> &progress) {
  const std::vector<runtime::SiteSpec> &sites = engine.manifest().sites;
  for (const Choices &some : options)
    prepare(some);
  Policies way = fit(centre);
  std::fill(here.begin(), here.end(), nullptr);
  std::vector<Policies> fitted(sites.size());
  std::string before;
  for (size_t site = 0; site < sites.size(); ++site) {
    Moments moments(*this, site);
    bool isHere = false;
    for (const Choice &option : options[site]) {
      std::string key = extend(before, site, option);
      std::shared_ptr<const SitePolicy> policy;
      if (auto known = made.find(key); option.isFull()) {
        policy = full;
      } else if (known != made.end()) {
        policy = known->second;
      } else if (isPossible(option, sites[site])) {
        if (!isHere && needsFit(option)) {
          advance(site, way);
          isHere = true;
        }
        policy = make(key, option, moments);
      }
      fitted[site].push_back(std::move(policy));
    }
    before = extend(before, site, centre[site]);
    if (progress)
      progress(site + 1);
  }
  return fitted;
}

} // namespace caat::ablate
