// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Ablate/Fit.h"
#include <algorithm>
#include <cmath>
#include <numeric>

namespace caat::ablate {

using runtime::Policies;
using runtime::SiteEstimate;
using runtime::SitePolicy;
using runtime::Snapshot;

SiteMoments::SiteMoments(int64_t ranks, int64_t channels)
    : ranks(ranks), channels(channels), sumT(static_cast<size_t>(channels)), sumTT(sumT),
      sum(static_cast<size_t>(ranks * channels)), square(sum), both(sum) {}

void SiteMoments::add(const Snapshot &there) {
  tokens += there.rows;
  auto width = static_cast<size_t>(channels);
  std::vector<std::vector<float>> t(static_cast<size_t>(ranks), std::vector<float>(width));
  std::vector<double> total(width);
  for (int64_t r = 0; r < there.rows; ++r) {
    std::fill(total.begin(), total.end(), 0);
    for (size_t m = 0; m < t.size(); ++m) {
      const runtime::RankSnapshot &rank = there.ranks[m];
      size_t row = static_cast<size_t>(r) * width;
      for (size_t c = 0; c < width; ++c) {
        t[m][c] =
            (rank.pending.empty() ? 0 : rank.pending[row + c]) + (rank.partial.empty() ? 0 : rank.partial[row + c]);
        total[c] += static_cast<double>(t[m][c]);
      }
    }
    for (size_t c = 0; c < width; ++c) {
      sumT[c] += total[c];
      sumTT[c] += total[c] * total[c];
    }
    for (size_t m = 0; m < t.size(); ++m)
      for (size_t c = 0; c < width; ++c) {
        auto x = static_cast<double>(t[m][c]);
        sum[m * width + c] += x;
        square[m * width + c] += x * x;
        both[m * width + c] += x * total[c];
      }
  }
}

std::vector<double> SiteMoments::energy() const { return residual(Estimate::None); }

std::vector<double> SiteMoments::magnitude() const {
  std::vector<double> sums(static_cast<size_t>(channels));
  for (size_t i = 0; i < square.size(); ++i)
    sums[i % sums.size()] += square[i] / static_cast<double>(tokens);
  return sums;
}

SiteMoments::Line SiteMoments::fit(int64_t rank, int64_t channel, Estimate estimate) const {
  auto c = static_cast<size_t>(channel), at = static_cast<size_t>(rank * channels + channel);
  auto n = static_cast<double>(tokens);
  double x = sum[at] / n, xx = square[at] / n, xy = both[at] / n, y = sumT[c] / n, yy = sumTT[c] / n;
  double a = 1, b = 0;
  if (estimate != Estimate::None)
    b = y - x;
  if (estimate == Estimate::Affine && xx - x * x > 1e-12 * (xx + 1e-30)) {
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

std::vector<int64_t> orderOf(const Choice &choice, const SiteMoments &moments, int64_t channels) {
  std::vector<int64_t> order(static_cast<size_t>(channels));
  std::iota(order.begin(), order.end(), int64_t{0});
  if (choice.order == Order::Index)
    return order;
  std::vector<double> weight = choice.order == Order::Energy      ? moments.energy()
                               : choice.order == Order::Magnitude ? moments.magnitude()
                                                                  : moments.residual(choice.estimate);
  std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    double x = weight[static_cast<size_t>(a)], y = weight[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  });
  return order;
}

Fitter::Fitter(runtime::Engine &engine, Text text)
    : engine(engine), text(std::move(text)), here(static_cast<size_t>(this->text.batches())),
      full(std::make_shared<SitePolicy>()) {}

void Fitter::advance(size_t site, const Policies &policies) {
  engine.setPolicies(policies);
  for (size_t number = 0; number < here.size(); ++number) {
    if (here[number] && here[number]->site >= site)
      here[number] = nullptr;
    runtime::Tensor tokens = text.at(static_cast<int64_t>(number));
    auto there = std::make_shared<Snapshot>();
    engine.start(tokens.shape[1]);
    engine.step(tokens, {}, {here[number].get(), site, there.get()});
    here[number] = std::move(there);
  }
}

SiteMoments Fitter::momentsHere() const {
  SiteMoments moments(engine.size(), here.front()->channels);
  for (const auto &snapshot : here)
    moments.add(*snapshot);
  return moments;
}

std::shared_ptr<const SitePolicy> Fitter::make(const std::string &key, const Choice &choice, const SiteMoments &moments,
                                               int64_t channels) {
  auto policy = std::make_shared<SitePolicy>();
  policy->full = choice.shared >= 1;
  policy->shared = orderOf(choice, moments, channels);
  policy->shared.resize(static_cast<size_t>(choice.getShared(channels)));
  if (choice.bits) {
    policy->rounding = {choice.getShared(channels), choice.bits, choice.block, {}};
    policy->feedback = choice.feedback;
    for (int64_t place = 0; place < std::min<int64_t>(choice.exact, policy->rounding->channels); ++place)
      policy->rounding->exact.push_back(place);
  }
  policy->isPrivate = choice.isPrivate;
  if (choice.isPrivate)
    policy->scale = choice.scalesBySqrt ? std::sqrt(static_cast<float>(engine.size())) : 1;
  else if (choice.shared < 1 && choice.estimate != Estimate::None)
    policy->estimate = moments.estimate(choice.estimate, policy->shared);
  return made[key] = std::move(policy);
}

/// Names `choice` at `site` behind what `before` names.
static std::string extend(const std::string &before, size_t site, const Choice &choice) {
  return choice.isFull() ? before : before + std::to_string(site) + ' ' + choice.text() + ';';
}

Policies Fitter::fit(const Choices &choices, const std::function<void(size_t)> &progress) {
  const std::vector<runtime::SiteSpec> &sites = engine.manifest().sites;
  std::fill(here.begin(), here.end(), nullptr);
  Policies policies(sites.size(), full);
  std::string key;
  for (size_t site = 0; site < sites.size(); ++site) {
    key = extend(key, site, choices[site]);
    if (!choices[site].isFull()) {
      auto known = made.find(key);
      if (known == made.end())
        advance(site, policies);
      policies[site] =
          known != made.end() ? known->second : make(key, choices[site], momentsHere(), sites[site].channels);
    }
    if (progress)
      progress(site + 1);
  }
  return policies;
}

std::vector<Policies> Fitter::fitEach(const Choices &options, const std::function<void(size_t)> &progress) {
  const std::vector<runtime::SiteSpec> &sites = engine.manifest().sites;
  std::fill(here.begin(), here.end(), nullptr);
  std::vector<Policies> fitted(sites.size(), Policies(options.size()));
  for (size_t site = 0; site < sites.size(); ++site) {
    std::optional<SiteMoments> moments;
    for (size_t i = 0; i < options.size(); ++i) {
      if (!isPossible(options[i], sites[site]))
        continue;
      std::string key = extend("", site, options[i]);
      auto known = made.find(key);
      if (options[i].isFull()) {
        fitted[site][i] = full;
      } else if (known != made.end()) {
        fitted[site][i] = known->second;
      } else {
        if (!moments) {
          advance(site, {});
          moments = momentsHere();
        }
        fitted[site][i] = make(key, options[i], *moments, sites[site].channels);
      }
    }
    if (progress)
      progress(site + 1);
  }
  return fitted;
}

} // namespace caat::ablate
