// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Ablate/HeadGroups.h"
#include "WriteJson.h"
#include "caat/runtime/Error.h"
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

namespace caat::ablate {

using runtime::Policies;
using runtime::SitePolicy;
using runtime::Snapshot;

std::vector<int64_t> scatter(const std::vector<std::vector<double>> &distances, size_t sets) {
  std::vector<int64_t> order(distances.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  size_t width = order.size() / std::max<size_t>(sets, 1);
  if (width < 2 || sets < 2)
    return order;
  // From `head` to the members of a set, but the one at `place`.
  auto within = [&](int64_t head, size_t place) {
    double sum = 0;
    size_t first = place / width * width;
    for (size_t other = first; other < first + width; ++other)
      if (other != place)
        sum += distances[static_cast<size_t>(head)][static_cast<size_t>(order[other])];
    return sum;
  };
  while (true) {
    double most = 0;
    std::pair<size_t, size_t> best;
    for (size_t a = 0; a < sets * width; ++a)
      for (size_t b = (a / width + 1) * width; b < sets * width; ++b) {
        double gain = within(order[b], a) + within(order[a], b) - within(order[a], a) - within(order[b], b);
        if (gain > most) {
          most = gain;
          best = {a, b};
        }
      }
    if (most <= 1e-9 * std::abs(within(order[best.first], best.first)))
      break;
    std::swap(order[best.first], order[best.second]);
  }
  for (size_t set = 0; set < sets; ++set)
    std::sort(order.begin() + static_cast<std::ptrdiff_t>(set * width),
              order.begin() + static_cast<std::ptrdiff_t>((set + 1) * width));
  return order;
}

// The Hungarian method with potentials: rows join one after another, along the shortest augmenting path.
std::vector<size_t> assign(const std::vector<std::vector<double>> &weights) {
  size_t n = weights.size();
  std::vector<double> ofRow(n + 1), ofColumn(n + 1);
  std::vector<size_t> rowOf(n + 1), before(n + 1); // from 1 on; column 0 is where a row starts
  for (size_t row = 1; row <= n; ++row) {
    std::vector<double> least(n + 1, INFINITY);
    std::vector<bool> isDone(n + 1);
    size_t column = 0;
    rowOf[0] = row;
    do {
      isDone[column] = true;
      size_t at = rowOf[column], next = 0;
      double step = INFINITY;
      for (size_t other = 1; other <= n; ++other) {
        if (isDone[other])
          continue;
        double reduced = -weights[at - 1][other - 1] - ofRow[at] - ofColumn[other];
        if (reduced < least[other]) {
          least[other] = reduced;
          before[other] = column;
        }
        if (least[other] < step) {
          step = least[other];
          next = other;
        }
      }
      for (size_t other = 0; other <= n; ++other)
        if (isDone[other]) {
          ofRow[rowOf[other]] += step;
          ofColumn[other] -= step;
        } else {
          least[other] -= step;
        }
      column = next;
    } while (rowOf[column] != 0);
    for (; column != 0; column = before[column])
      rowOf[column] = rowOf[before[column]];
  }
  std::vector<size_t> rows;
  for (size_t column = 1; column <= n; ++column)
    rows.push_back(rowOf[column] - 1);
  return rows;
}

/// Runs on to the entry of a site, from `from` where there is one.
static std::shared_ptr<Snapshot> advance(runtime::Engine &engine, const Text &text, int64_t number,
                                         const Snapshot *from, size_t site) {
  auto there = std::make_shared<Snapshot>();
  text.run(engine, number, {from, site, there.get()});
  return there;
}

static double squaredDistance(const std::vector<float> &a, const std::vector<float> &b) {
  double sum = 0;
  for (size_t i = 0; i < std::max(a.size(), b.size()); ++i) {
    double difference = (a.empty() ? 0.0 : static_cast<double>(a[i])) - (b.empty() ? 0.0 : static_cast<double>(b[i]));
    sum += difference * difference;
  }
  return sum;
}

HeadOrders scatterHeads(runtime::Engine &perHead, const Text &text, size_t ranks) {
  const runtime::Manifest &manifest = perHead.manifest();
  auto heads = static_cast<size_t>(perHead.size());
  perHead.setPolicies({});
  std::map<std::string, std::vector<std::vector<double>>> squares;
  for (int64_t number = 0; number < text.batches(); ++number) {
    std::shared_ptr<Snapshot> here;
    for (size_t site = 0; site < manifest.sites.size(); ++site) {
      const std::string &name = manifest.sites[site].name;
      if (!manifest.heads.contains(name))
        continue;
      here = advance(perHead, text, number, here.get(), site);
      auto &sums = squares[name];
      sums.resize(heads, std::vector<double>(heads));
      for (size_t a = 0; a < heads; ++a)
        for (size_t b = a + 1; b < heads; ++b) {
          sums[a][b] += squaredDistance(here->ranks[a].partial, here->ranks[b].partial);
          sums[b][a] = sums[a][b];
        }
    }
  }
  HeadOrders orders;
  for (auto &[name, distances] : squares) {
    for (auto &row : distances)
      for (double &value : row)
        value = std::sqrt(value);
    orders[name] = scatter(distances, ranks);
  }
  return orders;
}

HeadOrders matchHeads(runtime::Engine &program, const Text &text) {
  const runtime::Manifest &manifest = program.manifest();
  auto ranks = static_cast<size_t>(program.size());
  auto full = std::make_shared<SitePolicy>(), drop = std::make_shared<SitePolicy>();
  drop->full = false;
  const Policies exact(manifest.sites.size(), full);
  HeadOrders orders = manifest.heads;
  std::vector<std::vector<std::vector<double>>> squares( // [site][set][slice]
      manifest.sites.size(), std::vector<std::vector<double>>(ranks, std::vector<double>(ranks)));
  auto isMatched = [&](size_t site) {
    auto entry = manifest.heads.find(manifest.sites[site].name);
    return entry != manifest.heads.end() && entry->second.size() % ranks == 0 && site + 1 < manifest.sites.size() &&
           manifest.sites[site].notDeferrable.empty() && !manifest.heads.contains(manifest.sites[site + 1].name);
  };
  for (int64_t number = 0; number < text.batches(); ++number) {
    std::shared_ptr<Snapshot> here;
    for (size_t site = 0; site < manifest.sites.size(); ++site) {
      if (!isMatched(site))
        continue;
      program.setPolicies(exact);
      here = advance(program, text, number, here.get(), site);
      Policies dropped = exact;
      dropped[site] = drop;
      program.setPolicies(dropped);
      // What the heads give moves on from rank to rank, so that every slice meets every set.
      for (size_t shift = 0; shift < ranks; ++shift) {
        Snapshot moved = *here;
        for (size_t slice = 0; slice < ranks; ++slice)
          moved.ranks[slice].partial = here->ranks[(slice + shift) % ranks].partial;
        std::shared_ptr<Snapshot> behind = advance(program, text, number, &moved, site + 1);
        for (size_t slice = 0; slice < ranks; ++slice)
          squares[site][(slice + shift) % ranks][slice] += squaredDistance(behind->ranks[slice].partial, {});
      }
    }
  }
  for (size_t site = 0; site < manifest.sites.size(); ++site) {
    if (!isMatched(site))
      continue;
    for (auto &row : squares[site])
      for (double &value : row)
        value = std::sqrt(value);
    std::vector<int64_t> &order = orders[manifest.sites[site].name];
    auto width = static_cast<std::ptrdiff_t>(order.size() / ranks);
    std::vector<int64_t> matched;
    for (size_t set : assign(squares[site])) {
      auto first = order.begin() + static_cast<std::ptrdiff_t>(set) * width;
      matched.insert(matched.end(), first, first + width);
    }
    order = std::move(matched);
  }
  return orders;
}

void writeHeads(const HeadOrders &orders, int64_t ranks, const std::string &path) {
  nlohmann::ordered_json plan = {{"version", 1}, {"tp", ranks}};
  plan["heads"] = orders;
  writeJson(plan, path);
}

} // namespace caat::ablate
