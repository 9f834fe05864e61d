// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/runtime/Judge.h"
#include "Logits.h"
#include "Multiversion.h"
#include "caat/runtime/Error.h"
#include "caat/runtime/Tasks.h"
#include <cmath>

namespace caat::runtime {

/// A rank's share of the reference: exp(logit - maximum of the share) of every element, by predicted token.
struct Judge::Slice {
  std::vector<float> weights;
  int64_t width = 0;               // elements of a token
  std::vector<double> scales;      // exp(that maximum - log of the sum over all ranks)
  std::vector<double> means;       // the distribution's mean of the logits in this share
  std::vector<double> normalizers; // log of the sum over all ranks
  std::vector<int64_t> best;       // the most likely token
};

namespace {

/// What a rank knows of one prediction.
struct Part {
  LogSumExp sum;
  double target;     // the right token's logit, NaN where another rank has it
  double mean;       // the reference's mean of these logits
  int64_t best = -1; // the token of the largest logit here
};

CAAT_WIDEST double dot(const float *x, const float *y, int64_t count) {
  constexpr int lanes = 16; // sums of their own, so that the order does not depend on the processor
  double sums[lanes] = {};
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes)
    for (int lane = 0; lane < lanes; ++lane)
      sums[lane] += static_cast<double>(x[i + lane]) * static_cast<double>(y[i + lane]);
  for (; i < count; ++i)
    sums[i % lanes] += static_cast<double>(x[i]) * static_cast<double>(y[i]);
  double sum = 0;
  for (double part : sums)
    sum += part;
  return sum;
}

/// The logits of one prediction as this rank has them.
struct Row {
  const float *data;
  const std::vector<ShardRun> &runs;

  Part judge(int64_t target) const {
    Part part{{-INFINITY, 0}, NAN, 0};
    float largest = -INFINITY;
    for (const ShardRun &run : runs) {
      const float *x = data + run.local;
      part.sum.add(logSumExp(x, run.length));
      if (target >= run.global && target < run.global + run.length)
        part.target = x[target - run.global];
      const float *top = std::max_element(x, x + run.length);
      if (run.length > 0 && *top > largest) {
        largest = *top;
        part.best = run.global + (top - x);
      }
    }
    return part;
  }

  void weigh(float *weights, double max) const {
    for (const ShardRun &run : runs)
      for (int64_t i = 0; i < run.length; ++i)
        *weights++ = static_cast<float>(expOfNegative(static_cast<double>(data[run.local + i]) - max));
  }

  double mean(const float *weights) const {
    double sum = 0;
    for (const ShardRun &run : runs) {
      sum += dot(weights, data + run.local, run.length);
      weights += run.length;
    }
    return sum;
  }
};

int64_t widthOf(const std::vector<ShardRun> &runs) {
  int64_t width = 0;
  for (const ShardRun &run : runs)
    width += run.length;
  return width;
}

} // namespace

Judge::Judge(Engine &engine)
    : engine(engine), output(logitsOutput(engine.manifest())), reference(static_cast<size_t>(engine.size())) {}

Judge::~Judge() = default;

Judgement Judge::setReference(const Tensor &tokens) { return judge(tokens, Mode::SetReference); }
Judgement Judge::losses(const Tensor &tokens) { return judge(tokens, Mode::Losses); }
Judgement Judge::compare(const Tensor &tokens) { return judge(tokens, Mode::Compare); }

Judgement Judge::judge(const Tensor &tokens, Mode mode) {
  const ArraySpec &spec = engine.manifest().outputs[output];
  bool isDivided = engine.manifest().isDivided(spec);
  int64_t batch = tokens.shape[0], length = tokens.shape[1];
  auto count = static_cast<size_t>(batch * (length - 1)), ranks = static_cast<size_t>(engine.size());
  if (isDivided && mode != Mode::Losses)
    failInput("programs with rotated weights are not compared");
  Judgement result;
  result.nll.resize(count);
  if (mode == Mode::Compare) {
    if (reference[0].scales.size() != count)
      failInput("a reference of ", reference[0].scales.size(), " predictions cannot judge ", count);
    result.kl.resize(count);
    result.agree.resize(count);
  }

  engine.onRanks([&](Rank &rank) {
    std::vector<Part> mine(count, Part{{-INFINITY, 0}, NAN, 0}), all(count * ranks);
    Slice &slice = reference[static_cast<size_t>(rank.rank())];
    std::vector<Rank::Part> parts = rank.parts(output);
    if (mode != Mode::Losses && parts.size() > 1)
      failInput("programs with rotated weights are not compared");
    for (Rank::Part &columns : parts) {
      columns.data = onHost(rank.device(), columns.data);
      const Shape &shape = columns.data.shape;
      int64_t first = rank.rows().first, rows = isDivided ? rank.rows().count : shape[0];
      if (first + rows > batch || (rows != batch && !isDivided) || shape[1] != length)
        failInput("output '", spec.name, "' has shape ", toString(shape), ", scoring needs logits at each of ", length,
                  " positions");
      if (mode == Mode::SetReference) {
        slice.width = widthOf(columns.runs);
        slice.weights.resize(count * static_cast<size_t>(slice.width));
      }
      for (int64_t b = 0; b < rows; ++b)
        for (int64_t i = 0; i + 1 < length; ++i) {
          Row row{columns.data.as<float>() + (b * length + i) * shape[2], columns.runs};
          auto at = static_cast<size_t>((first + b) * (length - 1) + i);
          Part part = row.judge(tokens.as<int64_t>()[(first + b) * length + i + 1]);
          float *weights = slice.weights.data() + at * static_cast<size_t>(slice.width);
          if (mode == Mode::SetReference)
            row.weigh(weights, part.sum.max);
          if (mode != Mode::Losses)
            part.mean = row.mean(weights);
          mine[at].sum.add(part.sum);
          if (!std::isnan(part.target))
            mine[at].target = part.target;
          mine[at].mean = part.mean;
          mine[at].best = part.best;
        }
    }
    rank.communicator().allGatherBytes("judge", mine.data(), all.data(), count * sizeof(Part));

    bool isFirst = rank.rank() == engine.firstRank();
    if (mode == Mode::SetReference) {
      slice.scales.resize(count), slice.means.resize(count), slice.normalizers.resize(count), slice.best.resize(count);
    } else if (!isFirst) {
      return;
    }
    for (size_t i = 0; i < count; ++i) {
      LogSumExp sum{-INFINITY, 0};
      double target = NAN, largest = -INFINITY;
      int64_t best = -1;
      for (size_t r = 0; r < ranks; ++r) {
        const Part &part = all[r * count + i];
        sum.add(part.sum);
        if (!std::isnan(part.target))
          target = part.target;
        if (part.best >= 0 && part.sum.max > largest) {
          largest = part.sum.max;
          best = part.best;
        }
      }
      double normalizer = sum.value();
      if (mode == Mode::SetReference) {
        slice.normalizers[i] = normalizer;
        slice.scales[i] = mine[i].sum.sum > 0 ? std::exp(mine[i].sum.max - normalizer) : 0;
        slice.means[i] = slice.scales[i] * mine[i].mean;
        slice.best[i] = best;
      }
      if (!isFirst)
        continue;
      result.nll[i] = normalizer - target;
      if (!std::isfinite(result.nll[i]))
        failRun("the logits of row ", static_cast<int64_t>(i) / (length - 1), " at position ",
                static_cast<int64_t>(i) % (length - 1), " of a window give no finite loss");
      if (mode != Mode::Compare)
        continue;
      double kl = normalizer - slice.normalizers[i];
      for (size_t r = 0; r < ranks; ++r)
        kl += reference[r].means[i] - reference[r].scales[i] * all[r * count + i].mean;
      result.kl[i] = kl > 0 ? kl : 0; // rounding
      result.agree[i] = best == slice.best[i];
    }
  });
  return result;
}

} // namespace caat::runtime
