// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Where a program's logits are, and those that the next token follows from.
#include "Logits.h"
#include "caat/runtime/Error.h"
#include "caat/runtime/Tasks.h"
#include <algorithm>

namespace caat::runtime {

size_t logitsOutput(const Manifest &manifest) {
  if (manifest.outputs.empty())
    failInput("the program has no output, so no logits");
  auto named = std::find_if(manifest.outputs.begin(), manifest.outputs.end(),
                            [](const ArraySpec &output) { return output.name == "logits"; });
  size_t index = named == manifest.outputs.end() ? 0 : static_cast<size_t>(named - manifest.outputs.begin());
  const ArraySpec &spec = manifest.outputs[index];
  if (spec.dtype != DType::F32 || spec.shape.size() != 3 || (spec.shard && spec.shard->dim != 2))
    failInput("output '", spec.name, "' is not f32 [batch, n, vocabulary], so it cannot be read as logits");
  return index;
}

LastPositions lastPositions(const Rank &rank, const Manifest &manifest, size_t output, const Rank::Part &part,
                            int64_t batch) {
  const ArraySpec &spec = manifest.outputs[output];
  int64_t length = part.data.shape[1], width = part.data.shape[2];
  int64_t first = rank.rows().first, end = first + part.data.shape[0];
  if (manifest.isDivided(spec))
    end = first + rank.rows().count;
  if (length < 1)
    failInput("output '", spec.name, "' has no position");
  if (end > batch)
    failInput("output '", spec.name, "' has ", end - first, " rows for a batch of ", batch);
  return {first, end - first, part.data.as<float>() + (length - 1) * width, length * width};
}

Tensor lastLogits(Engine &engine, const Tensor &tokens) {
  const Manifest &manifest = engine.manifest();
  size_t output = logitsOutput(manifest);
  const ArraySpec &spec = manifest.outputs[output];
  std::optional<int64_t> vocabulary = spec.shard ? spec.shard->global : spec.shape[2].asConstant();
  if (!vocabulary)
    failInput("output '", spec.name, "' has no fixed vocabulary but ", spec.shape[2].text());
  int64_t batch = tokens.shape[0];
  Tensor logits(DType::F32, {batch, *vocabulary});
  auto collect = [&](Rank &rank) {
    for (const Rank::Part &part : rank.parts(output)) {
      LastPositions last = lastPositions(rank, manifest, output, part, batch);
      std::vector<float> values(static_cast<size_t>(part.data.shape[2]));
      float *to = logits.as<float>() + last.row * *vocabulary;
      for (int64_t row = 0; row < last.rows; ++row, to += *vocabulary) {
        rank.device().download(values.data(), last.first + row * last.pitch, values.size() * sizeof(float));
        for (const ShardRun &run : part.runs)
          std::copy_n(values.data() + run.local, run.length, to + run.global);
      }
    }
    engine.gather(logits);
  };
  engine.step(tokens, Results::LastToken, [&](Rank &rank) { return [&] { collect(rank); }; });
  return logits;
}

} // namespace caat::runtime
