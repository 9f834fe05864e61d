// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Halves.h"
#include "caat/runtime/Engine.h"
#include "caat/runtime/Error.h"
#include <algorithm>
#include <limits>

namespace caat::runtime {

int64_t firstHalf(int64_t count) {
  constexpr int64_t multiple = 16, many = 64;
  int64_t half = (count + 1) / 2;
  return count < many ? half : (half + multiple - 1) / multiple * multiple;
}

/// Rows [begin, begin + count) of an array, in place.
static Tensor rowsOf(const Tensor &whole, int64_t begin, int64_t count) {
  Tensor part = whole;
  part.shape[0] = count;
  size_t row = whole.bytes() / static_cast<size_t>(whole.shape[0]);
  part.data = std::shared_ptr<std::byte>(whole.data, whole.data.get() + static_cast<size_t>(begin) * row);
  return part;
}

TwoHalves divideRows(const Manifest &manifest, const RunInputs &whole, size_t batch) {
  int64_t rows = whole.dims[batch], first = firstHalf(rows), begin = 0;
  TwoHalves halves = {whole, whole};
  for (RunInputs &half : halves) {
    int64_t count = begin == 0 ? first : rows - first;
    half.dims[batch] = count;
    for (size_t i = 0; i < half.inputs.size(); ++i) {
      const std::vector<ShapeExpr> &shape = manifest.inputs[i].shape;
      if (!shape.empty() && shape[0].asSymbol() == static_cast<int64_t>(batch))
        half.inputs[i] = rowsOf(whole.inputs[i], begin, count);
    }
    begin += count;
  }
  return halves;
}

/// Seconds that the collectives of a run of these dimensions take on the link.
static double secondsOnLink(const Manifest &manifest, std::span<const int64_t> dims, const Link &link) {
  double seconds = 0;
  for (const CollectiveSpec &spec : manifest.collectives) {
    auto count = static_cast<double>(spec.count.evaluate(dims));
    bool isRounded = spec.kind == CollectiveKind::QuantizedAllReduce;
    double bytes = isRounded
                       ? count / static_cast<double>(spec.wire.channels) * static_cast<double>(spec.wire.rowBytes())
                       : count * static_cast<double>(sizeOf(spec.dtype));
    seconds += cost::trafficOf(nameOf(spec.kind), manifest.tp, bytes).value_or(cost::Traffic{}).seconds(link);
  }
  return seconds;
}

/// Rows of the last half's products, as far as the inputs tell: a token is one.
static int64_t rowsOfProducts(const RunInputs &whole, const TwoHalves &halves) {
  int64_t rows = std::numeric_limits<int64_t>::max();
  for (size_t i = 0; i < halves[1].inputs.size(); ++i)
    if (const Shape &shape = halves[1].inputs[i].shape; !shape.empty() && shape != whole.inputs[i].shape)
      rows = std::min(rows, elementCount(shape));
  return rows;
}

bool pays(const Manifest &manifest, const RunInputs &whole, const TwoHalves &halves, const Link &link) {
  constexpr double worthwhile = 0.5e-3; // seconds of a collective, of which a switch of threads is a fifth or less
  constexpr double latencyBound = 1.5;  // times as long in halves
  if (!link.isSlow() || rowsOfProducts(whole, halves) < fewestHalfRows)
    return false;
  double atOnce = secondsOnLink(manifest, whole.dims, link), inHalves = 0;
  for (const RunInputs &half : halves)
    inHalves += secondsOnLink(manifest, half.dims, link);
  auto collectives = static_cast<double>(manifest.collectives.size());
  return atOnce > worthwhile * collectives && inHalves < latencyBound * atOnce;
}

void checkDivisible(const Manifest &manifest) {
  const HalvesSpec &halves = manifest.halves;
  if (!manifest.sites.empty())
    failInput("switchable programs do not run in halves: compile one with the plan");
  if (halves.tokens || halves.batch)
    return;
  failInput("the program cannot run in halves: of its tokens: ", halves.tokensRefused,
            "; of its batch: ", halves.batchRefused);
}

} // namespace caat::runtime
