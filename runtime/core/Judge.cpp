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

  /// Room for so many predictions.
  void resize(size_t count) {
    scales.resize(count);
    means.resize(count);
    normalizers.resize(count);
    best.resize(count);
  }
  /// Of prediction `at`: this rank's share of the sum, its unscaled mean, and what all ranks have found.
  void keep(size_t at, const LogSumExp &share, double mean, double normalizer, int64_t mostLikely) {
    normalizers[at] = normalizer;
    scales[at] = share.sum > 0 ? std::exp(share.max - normalizer) : 0;
    means[at] = scales[at] * mean;
    best[at] = mostLikely;
  }
};

namespace {

/// What a rank knows of one prediction.
struct Part {
  LogSumExp sum = {-INFINITY, 0};
  double target = NAN; // the right token's logit, NaN where another rank has it
  double mean = 0;     // the reference's mean of these logits
  int64_t best = -1;   // the token of the largest logit here
};

/// What all ranks know of it.
struct Whole {
  double normalizer, target;
  int64_t best;
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
    Part part;
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

/// Of prediction `at`, from what each rank has of all `count` of them.
Whole wholeOf(const std::vector<Part> &all, size_t at, size_t count) {
  LogSumExp sum{-INFINITY, 0};
  double target = NAN, largest = -INFINITY;
  int64_t best = -1;
  for (; at < all.size(); at += count) {
    const Part &part = all[at];
    sum.add(part.sum);
    if (!std::isnan(part.target))
      target = part.target;
    if (part.best >= 0 && part.sum.max > largest) {
      largest = part.sum.max;
      best = part.best;
    }
  }
  return {sum.value(), target, best};
}

int64_t widthOf(const std::vector<ShardRun> &runs) {
  int64_t width = 0;
  for (const ShardRun &run : runs)
    width += run.length;
  return width;
}

} // namespace

/// An engine's last step, whose input were `tokens`.
struct Judge::Step {
  const Tensor &tokens;
  Mode mode;
  const ArraySpec &logits;
  bool isDivided; // over the ranks, by rows
  int64_t batch = tokens.shape[0], length = tokens.shape[1];
  size_t count = static_cast<size_t>(batch * (length - 1)); // predictions

  Judgement makeResult(size_t referenceCount) const;
  std::vector<Part> partsOf(Rank &rank, size_t output, Slice &slice) const;
  void judgeColumns(const Rank::Part &columns, int64_t first, int64_t rows, Slice &slice, std::vector<Part> &to) const;
  double lossOf(const Whole &whole, size_t at) const;
};

Judgement Judge::Step::makeResult(size_t referenceCount) const {
  if (isDivided && mode != Mode::Losses)
    failInput("programs with rotated weights are not compared");
  Judgement result;
  result.nll.resize(count);
  if (mode == Mode::Compare) {
    if (referenceCount != count)
      failInput("a reference of ", referenceCount, " predictions cannot judge ", count);
    result.kl.resize(count);
    result.agree.resize(count);
  }
  return result;
}

/// Of a rank's logits; with SetReference they become its slice.
std::vector<Part> Judge::Step::partsOf(Rank &rank, size_t output, Slice &slice) const {
  std::vector<Part> result(count);
  std::vector<Rank::Part> parts = rank.parts(output);
  if (mode != Mode::Losses && parts.size() > 1)
    failInput("programs with rotated weights are not compared");
  for (Rank::Part &columns : parts) {
    columns.data = onHost(rank.device(), columns.data);
    const Shape &shape = columns.data.shape;
    int64_t first = rank.rows().first, rows = isDivided ? rank.rows().count : shape[0];
    if (first + rows > batch || (rows != batch && !isDivided) || shape[1] != length)
      failInput("output '", logits.name, "' has shape ", toString(shape), ", scoring needs logits at each of ", length,
                " positions");
    if (mode == Mode::SetReference) {
      slice.width = widthOf(columns.runs);
      slice.weights.resize(count * static_cast<size_t>(slice.width));
    }
    judgeColumns(columns, first, rows, slice, result);
  }
  return result;
}

/// `rows` windows from `first` on, of which a rank has some of the columns.
void Judge::Step::judgeColumns(const Rank::Part &columns, int64_t first, int64_t rows, Slice &slice,
                               std::vector<Part> &to) const {
  const auto *data = columns.data.as<float>();
  int64_t width = columns.data.shape[2];
  for (int64_t b = 0; b < rows; ++b)
    for (int64_t i = 0; i + 1 < length; ++i) {
      Row row{data + (b * length + i) * width, columns.runs};
      auto at = static_cast<size_t>((first + b) * (length - 1) + i);
      Part part = row.judge(tokens.as<int64_t>()[(first + b) * length + i + 1]);
      float *weights = slice.weights.data() + at * static_cast<size_t>(slice.width);
      if (mode == Mode::SetReference)
        row.weigh(weights, part.sum.max);
      if (mode != Mode::Losses)
        part.mean = row.mean(weights);
      to[at].sum.add(part.sum);
      if (!std::isnan(part.target))
        to[at].target = part.target;
      to[at].mean = part.mean;
      to[at].best = part.best;
    }
}

double Judge::Step::lossOf(const Whole &whole, size_t at) const {
  double loss = whole.normalizer - whole.target;
  if (!std::isfinite(loss))
    failRun("the logits of row ", static_cast<int64_t>(at) / (length - 1), " at position ",
            static_cast<int64_t>(at) % (length - 1), " of a window give no finite loss");
  return loss;
}

Judge::Judge(Engine &engine)
    : engine(engine), output(logitsOutput(engine.manifest())), reference(static_cast<size_t>(engine.size())) {}

Judge::~Judge() = default;

Judgement Judge::setReference(const Tensor &tokens) { return judge(tokens, Mode::SetReference); }
Judgement Judge::losses(const Tensor &tokens) { return judge(tokens, Mode::Losses); }
Judgement Judge::compare(const Tensor &tokens) { return judge(tokens, Mode::Compare); }

Judgement Judge::judge(const Tensor &tokens, Mode mode) {
  const ArraySpec &spec = engine.manifest().outputs[output];
  Step step{tokens, mode, spec, engine.manifest().isDivided(spec)};
  Judgement result = step.makeResult(reference[0].scales.size());
  size_t count = step.count, ranks = reference.size();
  engine.onRanks([&](Rank &rank) {
    Slice &slice = reference[static_cast<size_t>(rank.rank())];
    std::vector<Part> mine = step.partsOf(rank, output, slice), all(count * ranks);
    rank.communicator().allGatherBytes("judge", mine.data(), all.data(), count * sizeof(Part));

    bool isFirst = rank.rank() == engine.firstRank();
    if (mode == Mode::SetReference)
      slice.resize(count);
    else if (!isFirst)
      return;
    for (size_t i = 0; i < count; ++i) {
      Whole whole = wholeOf(all, i, count);
      if (mode == Mode::SetReference)
        slice.keep(i, mine[i].sum, mine[i].mean, whole.normalizer, whole.best);
      if (isFirst)
        result.nll[i] = step.lossOf(whole, i);
      if (mode != Mode::Compare)
        continue;
      double kl = whole.normalizer - slice.normalizers[i];
      for (size_t r = 0; r < ranks; ++r)
        kl += reference[r].means[i] - reference[r].scales[i] * all[r * count + i].mean;
      result.kl[i] = kl > 0 ? kl : 0; // rounding
      result.agree[i] = whole.best == slice.best[i];
    }
  });
  return result;
}

} // namespace caat::runtime
