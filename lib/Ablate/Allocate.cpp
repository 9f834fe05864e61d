// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Ablate/Allocate.h"
#include "caat/runtime/Wire.h"
#include <algorithm>
#include <cmath>
#include <numeric>

namespace caat::ablate {

/// Mean square of the largest of some 32 normal values, as a multiple of their variance.
static constexpr double peak = 6;

/// Errors of rounding the channels behind the first `exact` of `order` in blocks; by place.
static std::vector<double> roundingErrors(const ChannelFacts &facts, const std::vector<int64_t> &order, size_t exact,
                                          int64_t bits, size_t block) {
  std::vector<double> errors(order.size());
  double steps = std::pow(2.0, static_cast<double>(bits - 1)) - 1;
  for (size_t begin = 0; begin < order.size(); begin += block) {
    size_t end = std::min(begin + block, order.size()), first = std::clamp(exact, begin, end);
    double sum = 0;
    for (size_t place = first; place < end; ++place)
      sum += facts.magnitude[static_cast<size_t>(order[place])];
    if (first == end)
      continue;
    // A step is the largest value over `steps`; an error that is spread evenly over one has a twelfth of its square. A
    // rank knows its own error and lacks those of the others, and that of the rounded sum.
    double square = peak * sum / static_cast<double>(end - first) / (steps * steps) / 12;
    double lacks = square * static_cast<double>(facts.ranks - 1) * 2;
    for (size_t place = first; place < end; ++place)
      errors[place] = lacks * facts.weight[static_cast<size_t>(order[place])];
  }
  return errors;
}

Allocation allocate(const ChannelFacts &facts, double rate) {
  size_t channels = facts.magnitude.size();
  std::vector<int64_t> bySize(channels);
  std::iota(bySize.begin(), bySize.end(), int64_t{0});
  std::sort(bySize.begin(), bySize.end(), [&](int64_t a, int64_t b) {
    double x = facts.magnitude[static_cast<size_t>(a)], y = facts.magnitude[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  });
  auto waits = [&](int64_t channel) {
    auto c = static_cast<size_t>(channel);
    return facts.waiting[c] * facts.weight[c];
  };
  double room = rate / 8 * static_cast<double>(channels); // bytes
  Allocation best;
  best.distortion = INFINITY;
  for (int64_t bits : {8, 4, 3})
    for (int64_t exact : {0, 4, 8, 16, 32, 64}) {
      Allocation trial;
      trial.bits = bits, trial.exact = exact;
      auto bytes = [&](int64_t count) {
        runtime::WireFormat wire{count, bits, trial.block, {}};
        return static_cast<double>(wire.rowBytes() + 2 * exact);
      };
      auto width = static_cast<int64_t>(channels);
      while (width > exact && bytes(width) > room)
        --width;
      if (width <= exact)
        continue;
      // Those that gain least by travelling wait. What they would lose by rounding is reckoned among all; the blocks of
      // those that are left are then reckoned anew.
      std::vector<double> errors =
          roundingErrors(facts, bySize, static_cast<size_t>(exact), bits, static_cast<size_t>(trial.block));
      std::vector<size_t> places(channels);
      std::iota(places.begin(), places.end(), size_t{0});
      auto first = places.begin() + static_cast<std::ptrdiff_t>(exact);
      std::sort(first, places.end(), [&](size_t a, size_t b) {
        double x = waits(bySize[a]) - errors[a], y = waits(bySize[b]) - errors[b];
        return x != y ? x > y : a < b;
      });
      places.resize(static_cast<size_t>(width));
      std::sort(places.begin(), places.end());
      std::vector<bool> travels(channels);
      for (size_t place : places) {
        trial.shared.push_back(bySize[place]);
        travels[static_cast<size_t>(bySize[place])] = true;
      }
      for (double error :
           roundingErrors(facts, trial.shared, static_cast<size_t>(exact), bits, static_cast<size_t>(trial.block)))
        trial.distortion += error;
      for (int64_t channel : bySize)
        if (!travels[static_cast<size_t>(channel)])
          trial.distortion += waits(channel);
      if (trial.distortion < best.distortion)
        best = std::move(trial);
    }
  return best;
}

} // namespace caat::ablate
