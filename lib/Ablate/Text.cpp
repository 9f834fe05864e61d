// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Ablate/Text.h"
#include "caat/runtime/Error.h"
#include <algorithm>

namespace caat::ablate {

using runtime::Tensor;
using runtime::TensorMap;

/// Rows of `tensor`, with its memory.
static Tensor slice(const Tensor &tensor, int64_t first, int64_t count) {
  Tensor part = tensor;
  auto row = tensor.shape[0] > 0 ? static_cast<int64_t>(tensor.bytes()) / tensor.shape[0] : 0;
  part.data = std::shared_ptr<std::byte>(tensor.data, tensor.data.get() + first * row);
  part.shape[0] = count;
  return part;
}

Text Text::cut(const Tensor &tokens, int64_t first, int64_t count, int64_t length, int64_t batch) {
  if (tokens.dtype != runtime::DType::I64 || tokens.shape.size() != 1)
    runtime::failInput("tokens must be an i64 array [n], not ", nameOf(tokens.dtype), runtime::toString(tokens.shape));
  if (count < 1 || length < 2 || batch < 1 || first < 0)
    runtime::failInput(count, " windows of ", length, " tokens from token ", first, " on, ", batch, " together");
  int64_t total = tokens.shape[0];
  if (first > total || count > (total - first) / length)
    runtime::failInput("too few tokens: ", count, " windows of ", length, " from token ", first, " on need ",
                       first + count * length, ", there are ", total);
  Tensor windows = slice(tokens, first, count * length);
  windows.shape = {count, length};
  Text text = rows({{"tokens", windows}}, 0, count, batch);
  text.tokens = true;
  return text;
}

Text Text::rows(const TensorMap &inputs, int64_t first, int64_t count, int64_t batch) {
  Text text;
  for (const auto &[name, tensor] : inputs) {
    int64_t there = tensor.shape.empty() ? 0 : tensor.shape[0];
    if (count < 1 || first < 0 || first > there || count > there - first)
      runtime::failInput("too few inputs: ", count, " rows from row ", first, " on, but '", name, "' has ", there);
    if (there != inputs.begin()->second.shape[0])
      runtime::failInput("'", name, "' has ", there, " rows, '", inputs.begin()->first, "' has ",
                         inputs.begin()->second.shape[0]);
    text.arrays.emplace(name, slice(tensor, first, count));
  }
  text.count = count;
  text.batch = std::clamp<int64_t>(batch, 1, count);
  return text;
}

TensorMap Text::at(int64_t number) const {
  TensorMap part;
  int64_t first = number * batch;
  for (const auto &[name, tensor] : arrays)
    part.emplace(name, slice(tensor, first, std::min(batch, count - first)));
  return part;
}

TensorMap Text::run(runtime::Engine &engine, int64_t number, const runtime::SiteRange &range) const {
  if (!tokens)
    return engine.infer(at(number), range);
  Tensor windows = tokensAt(number);
  engine.start(windows.shape[1]);
  engine.step(windows, runtime::Results::All, {}, range);
  return {};
}

} // namespace caat::ablate
