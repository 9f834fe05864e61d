// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Ablate/Embeddings.h"
#include "caat/runtime/Error.h"
#include <algorithm>
#include <cmath>
#include <numeric>

namespace caat::ablate {

using runtime::DType;
using runtime::Tensor;
using Rows = std::vector<std::vector<float>>;

/// Whether position `at` of the mask counts.
static bool isMarked(const Tensor *mask, int64_t at) {
  if (!mask)
    return true;
  switch (mask->dtype) {
  case DType::I64:
    return mask->as<int64_t>()[at] != 0;
  case DType::I32:
    return mask->as<int32_t>()[at] != 0;
  case DType::F32:
    return mask->as<float>()[at] != 0;
  case DType::Bool:
    return mask->as<uint8_t>()[at] != 0;
  default:
    runtime::failInput("'attention_mask' is ", nameOf(mask->dtype), ", expected i64, i32, f32 or bool");
  }
}

Rows Embeddings::of(const runtime::Manifest &manifest, const runtime::TensorMap &inputs,
                    const runtime::TensorMap &outputs) {
  for (const runtime::ArraySpec &spec : manifest.outputs) {
    const Tensor &output = outputs.at(spec.name);
    if (output.dtype != DType::F32 || (output.shape.size() != 2 && output.shape.size() != 3))
      continue;
    int64_t count = output.shape[0], width = output.shape.back();
    int64_t positions = output.shape.size() == 3 ? output.shape[1] : 1;
    auto found = inputs.find("attention_mask");
    const Tensor *mask = found != inputs.end() && output.shape.size() == 3 ? &found->second : nullptr;
    if (mask && mask->shape != runtime::Shape{count, positions})
      runtime::failInput("'attention_mask' has shape ", runtime::toString(mask->shape), ", the output '", spec.name,
                         "' has ", runtime::toString(output.shape));
    Rows rows(static_cast<size_t>(count), std::vector<float>(static_cast<size_t>(width)));
    for (int64_t row = 0; row < count; ++row)
      for (int64_t i = 0; i < positions; ++i)
        if (int64_t at = row * positions + i; isMarked(mask, at))
          for (int64_t c = 0; c < width; ++c) // the mean's divisor does not change a cosine
            rows[static_cast<size_t>(row)][static_cast<size_t>(c)] += output.as<float>()[at * width + c];
    return rows;
  }
  runtime::failInput("the program has no f32 output [rows, h] or [rows, n, h] that could be an embedding");
}

static double cosine(const std::vector<float> &x, const std::vector<float> &y) {
  double xy = 0, xx = 0, yy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    auto a = static_cast<double>(x[i]), b = static_cast<double>(y[i]);
    xy += a * b, xx += a * a, yy += b * b;
  }
  return xx > 0 && yy > 0 ? xy / std::sqrt(xx * yy) : 0;
}

std::vector<size_t> Embeddings::search(size_t self, const std::vector<float> &query) const {
  std::vector<double> values(exact.size());
  for (size_t i = 0; i < exact.size(); ++i)
    values[i] = cosine(query, exact[i]);
  std::vector<size_t> order(exact.size());
  std::iota(order.begin(), order.end(), size_t{0});
  order.erase(order.begin() + static_cast<std::ptrdiff_t>(self));
  auto end = order.begin() + static_cast<std::ptrdiff_t>(std::min(found, order.size()));
  std::partial_sort(order.begin(), end, order.end(),
                    [&](size_t a, size_t b) { return values[a] != values[b] ? values[a] > values[b] : a < b; });
  order.erase(end, order.end());
  return order;
}

runtime::Judgement Embeddings::compare(size_t first, const Rows &rows) const {
  runtime::Judgement result;
  for (size_t i = 0; i < rows.size(); ++i) {
    double loss = std::max(1 - cosine(rows[i], exact[first + i]), 0.0); // rounding
    if (!std::isfinite(loss))
      runtime::failRun("the embedding of row ", first + i, " is not finite");
    result.nll.push_back(loss);
    result.kl.push_back(loss);
    std::vector<size_t> mine = search(first + i, rows[i]);
    for (size_t wanted : search(first + i, exact[first + i]))
      result.agree.push_back(std::find(mine.begin(), mine.end(), wanted) != mine.end());
  }
  return result;
}

} // namespace caat::ablate
