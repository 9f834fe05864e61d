// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Ablate/SmallRank.h"
#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>
#include <oneapi/dnnl/dnnl.h>

namespace caat::ablate {

using Eigen::Index;
using runtime::RankSnapshot;
using runtime::SiteEstimate;
using runtime::Snapshot;
using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using MatrixF = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using RowsF = Eigen::Map<const MatrixF>;

namespace {

/// Added to the diagonal of the correlations of features: what keeps few tokens from deciding much.
constexpr double ridge = 3e-3;
/// A channel whose reader hardly sees it counts as if it saw this share of the channel that is seen best.
constexpr double leastGain = 1e-3;

/// An array of a snapshot; zeros where there is none.
MatrixF rows(const std::vector<float> &data, Index count, Index columns) {
  if (data.empty())
    return MatrixF::Zero(count, columns);
  return RowsF(data.data(), count, columns);
}

MatrixF waiting(const Snapshot &there, const RankSnapshot &rank) {
  return rows(rank.pending, there.rows, there.channels) + rows(rank.partial, there.rows, there.channels);
}

/// 1 / rms of each row; 0 where the row is empty.
Eigen::VectorXf inverseSizes(const MatrixF &stream) {
  Eigen::VectorXf squares = stream.rowwise().squaredNorm() / static_cast<float>(stream.cols());
  return (squares.array() > 0).select(squares.array().rsqrt(), 0);
}

/// Mean and covariance by the moments; the constant is the row and column `one`.
struct Centred {
  const Matrix &moments;
  Index one;

  double mean(Index column) const { return moments(one, column) / moments(one, one); }
  double operator()(Index row, Index column) const { return moments(row, column) - moments(row, one) * mean(column); }
};

} // namespace

/// Columns t, x, 1, T; rows the first three.
struct RankMoments::State {
  size_t rank;
  Index channels, inputs;
  Matrix sums;
  Eigen::RowVectorXf shift; // near the mean, taken off before products in f32

  Index one() const { return channels + inputs; }
  Index features() const { return one() + 1; }
};

RankMoments::RankMoments(size_t rank, int64_t channels, int64_t inputs)
    : state(std::make_unique<State>(State{rank, channels, inputs, {}, {}})) {
  state->sums = Matrix::Zero(state->features(), state->features() + channels);
}

RankMoments::RankMoments(RankMoments &&) noexcept = default;
RankMoments::~RankMoments() = default;

void RankMoments::add(const Snapshot &there) {
  const RankSnapshot &mine = there.ranks[state->rank];
  Index count = there.rows, one = state->one(), channels = state->channels;
  MatrixF z(count, state->features() + channels);
  z.leftCols(channels) = waiting(there, mine);
  z.middleCols(channels, state->inputs) = rows(mine.input, count, state->inputs);
  z.col(one).setZero();
  z.rightCols(channels).setZero();
  for (const RankSnapshot &other : there.ranks)
    z.rightCols(channels) += waiting(there, other);
  Eigen::VectorXf weights = inverseSizes(rows(mine.base, count, channels) + z.rightCols(channels));
  if (state->shift.size() == 0)
    state->shift = z.colwise().mean();
  z.rowwise() -= state->shift;
  z.col(one).setOnes();
  z.array().colwise() *= weights.array();
  MatrixF product(state->features(), z.cols());
  dnnl_sgemm('T', 'N', product.rows(), product.cols(), count, 1, z.data(), z.cols(), z.data(), z.cols(), 0,
             product.data(), product.cols());
  state->sums += product.cast<double>();
}

SiteEstimate RankMoments::fit(const Request &request) const {
  using Feature = SiteEstimate::Feature;
  Centred moment{state->sums, state->one()};
  Index channels = state->channels, total = state->features(); // the column of T's first channel
  std::vector<bool> isShared(static_cast<size_t>(channels));
  for (int64_t channel : request.shared)
    isShared[static_cast<size_t>(channel)] = true;
  SiteEstimate result;
  result.inner = request.rank;
  result.feature = request.feature;
  auto width = static_cast<Index>(result.getFeatures(channels));
  result.a.assign(static_cast<size_t>(channels), 1);
  result.b.assign(static_cast<size_t>(channels), 0);
  result.u.assign(static_cast<size_t>(channels * request.rank), 0);
  result.v.assign(static_cast<size_t>(request.rank * width), 0);

  // The line of each channel, the channels to be guessed, and the features that vary: their columns in the moments and
  // their places in f.
  std::vector<Index> outputs, columns, places;
  for (Index c = 0; c < channels; ++c)
    if (!isShared[static_cast<size_t>(c)]) {
      outputs.push_back(c);
      double variance = moment(c, c);
      if (variance > 1e-12 * std::abs(state->sums(c, c)))
        result.a[static_cast<size_t>(c)] = static_cast<float>(moment(c, total + c) / variance);
    }
  for (Index place = 0; place < width; ++place) {
    Index column = request.feature == Feature::Input ? channels + place : place;
    if ((column < channels && isShared[static_cast<size_t>(column)]) ||
        moment(column, column) <= 1e-12 * std::abs(state->sums(column, column)))
      continue;
    columns.push_back(column);
    places.push_back(place);
  }
  auto numOutputs = static_cast<Index>(outputs.size()), numColumns = static_cast<Index>(columns.size());
  Index inner = std::min({static_cast<Index>(request.rank), numOutputs, numColumns});
  Eigen::VectorXd gains = Eigen::VectorXd::Ones(numOutputs);
  if (!request.gains.empty()) {
    double least = leastGain * *std::max_element(request.gains.begin(), request.gains.end());
    for (Index o = 0; o < numOutputs; ++o)
      gains(o) = std::max(request.gains[static_cast<size_t>(outputs[static_cast<size_t>(o)])], least);
  }

  // Features scaled to variance one, so that f32 is enough: correlations + ridge, and what the lines leave by feature.
  Eigen::VectorXd scale(numColumns);
  Eigen::MatrixXf correlations(numColumns, numColumns), left(numColumns, numOutputs);
  for (Index i = 0; i < numColumns; ++i)
    scale(i) = 1 / std::sqrt(moment(columns[static_cast<size_t>(i)], columns[static_cast<size_t>(i)]));
  for (Index i = 0; i < numColumns; ++i) {
    Index column = columns[static_cast<size_t>(i)];
    for (Index j = 0; j < numColumns; ++j)
      correlations(i, j) = static_cast<float>(scale(i) * scale(j) * moment(column, columns[static_cast<size_t>(j)]) +
                                              (i == j ? ridge : 0));
    for (Index o = 0; o < numOutputs; ++o) {
      Index c = outputs[static_cast<size_t>(o)];
      auto line = static_cast<double>(result.a[static_cast<size_t>(c)]);
      left(i, o) = static_cast<float>(scale(i) * gains(o) * (moment(column, total + c) - line * moment(column, c)));
    }
  }
  // With the correlations L L^T, the regression of full rank explains Y^T Y, Y = L^-1 left. Of all factors of the rank
  // asked for the best: project what is guessed onto its strongest directions.
  Eigen::LLT<Eigen::MatrixXf> cholesky(correlations);
  cholesky.matrixL().solveInPlace(left);
  Eigen::MatrixXf explained = Eigen::MatrixXf::Zero(numOutputs, numOutputs);
  explained.selfadjointView<Eigen::Lower>().rankUpdate(left.transpose());
  Eigen::MatrixXf strongest = Eigen::SelfAdjointEigenSolver<Eigen::MatrixXf>(explained).eigenvectors().rightCols(inner);
  Eigen::MatrixXf regression = cholesky.matrixU().solve(left * strongest);
  Matrix v = regression.transpose().cast<double>() * scale.asDiagonal();
  Matrix u = gains.cwiseInverse().asDiagonal() * strongest.cast<double>();

  Eigen::VectorXd constant = Eigen::VectorXd::Zero(inner); // V times the features' means
  for (Index i = 0; i < numColumns; ++i) {
    Index column = columns[static_cast<size_t>(i)], place = places[static_cast<size_t>(i)];
    double mean = moment.mean(column) + static_cast<double>(state->shift(column));
    for (Index k = 0; k < inner; ++k) {
      result.v[static_cast<size_t>(k * width + place)] = static_cast<float>(v(k, i));
      constant(k) += v(k, i) * mean;
    }
  }
  for (Index o = 0; o < numOutputs; ++o) {
    Index c = outputs[static_cast<size_t>(o)];
    auto at = static_cast<size_t>(c);
    for (Index k = 0; k < inner; ++k)
      result.u[static_cast<size_t>(c * request.rank + k)] = static_cast<float>(u(o, k));
    double mean = moment.mean(total + c) + static_cast<double>(state->shift(total + c));
    double own = moment.mean(c) + static_cast<double>(state->shift(c));
    result.b[at] = static_cast<float>(mean - static_cast<double>(result.a[at]) * own - u.row(o).dot(constant));
  }
  return result;
}

SiteEstimate joinRanks(const std::vector<SiteEstimate> &all) {
  SiteEstimate joined = all.front();
  for (size_t i = 1; i < all.size(); ++i)
    for (auto part : {&SiteEstimate::a, &SiteEstimate::b, &SiteEstimate::u, &SiteEstimate::v})
      (joined.*part).insert((joined.*part).end(), (all[i].*part).begin(), (all[i].*part).end());
  return joined;
}

std::vector<double> readerGains(const std::vector<std::shared_ptr<const Snapshot>> &there) {
  Index channels = there.front()->channels;
  std::vector<double> gains(static_cast<size_t>(channels), 1);
  Eigen::ArrayXd s = Eigen::ArrayXd::Zero(channels), x = s, ss = s, sx = s;
  double count = 0;
  for (const auto &snapshot : there) {
    const RankSnapshot &rank = snapshot->ranks.front();
    if (rank.base.empty() || rank.input.empty() || snapshot->inputs != channels)
      return gains;
    MatrixF stream = rows(rank.base, snapshot->rows, channels) + rows(rank.pending, snapshot->rows, channels);
    stream.array().colwise() *= inverseSizes(stream).array();
    RowsF read(rank.input.data(), snapshot->rows, channels);
    for (Index r = 0; r < stream.rows(); ++r) {
      Eigen::ArrayXd from = stream.row(r).cast<double>().array(), to = read.row(r).cast<double>().array();
      s += from, x += to, ss += from.square(), sx += from * to;
    }
    count += static_cast<double>(snapshot->rows);
  }
  for (Index c = 0; c < channels; ++c) {
    double variance = ss(c) / count - s(c) * s(c) / count / count;
    gains[static_cast<size_t>(c)] =
        variance > 0 ? std::abs((sx(c) / count - s(c) * x(c) / count / count) / variance) : 0;
  }
  return gains;
}

} // namespace caat::ablate
