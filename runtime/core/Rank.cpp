// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Rank.h"
#include "caat/runtime/Error.h"
#include <cstring>

namespace caat::runtime {

Rank::Rank(const Program &program, Communicator &communicator, int threads)
    : context(program, communicator, threads), program(program), comm(communicator) {}

void Rank::load() {
  const Manifest &manifest = program.manifest();
  weights = SafeTensors::open(program.weightsPath(rank()));
  std::vector<const SafeTensors::Entry *> entryOfLinear;
  buffers.resize(manifest.bufferCount());
  void **slot = buffers.data() + (buffers.size() - manifest.parameters.size());
  for (const ParameterSpec &spec : manifest.parameters) {
    const SafeTensors::Entry &entry = weights.entry(spec.name);
    if (entry.dtype != spec.dtype || entry.shape != spec.shape)
      failArtifact(weights.path(), ": '", spec.name, "' is ", nameOf(entry.dtype), toString(entry.shape),
                   ", the manifest says ", nameOf(spec.dtype), toString(spec.shape));
    auto *data = const_cast<std::byte *>(weights.data(entry));
    if (reinterpret_cast<size_t>(data) % sizeOf(entry.dtype)) {
      Tensor &copy = parameters.emplace_back(entry.dtype, entry.shape);
      std::memcpy(copy.data.get(), data, entry.bytes);
      data = copy.data.get();
    }
    *slot++ = data;
    context.linearOfParameter.push_back(-1);
    if (spec.linear) {
      context.linearOfParameter.back() = static_cast<int64_t>(context.linears.add(spec, data));
      entryOfLinear.push_back(&entry);
    }
  }
  context.linears.pack([&](size_t i) { weights.file().release(entryOfLinear[i]->offset, entryOfLinear[i]->bytes); });
}

void Rank::prepare(const std::vector<Tensor> &inputs, std::span<const int64_t> values) {
  const Manifest &manifest = program.manifest();
  dims.assign(values.begin(), values.end());
  size_t at = 0;
  localInputs.resize(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    const ArraySpec &spec = manifest.inputs[i];
    localInputs[i] = inputs[i];
    if (spec.shard) {
      Tensor local(spec.dtype, spec.evaluate(dims));
      Shape to(local.shape.size(), 0), from = to, extent = local.shape;
      for (const ShardRun &run : heldRuns(*spec.shard, rank())) {
        to[spec.shard->dim] = run.local, from[spec.shard->dim] = run.global, extent[spec.shard->dim] = run.length;
        copyBox(local, to, inputs[i], from, extent);
      }
      localInputs[i] = local;
    }
    buffers[at++] = localInputs[i].data.get();
  }
  caches.resize(manifest.caches.size());
  for (size_t i = 0; i < caches.size(); ++i) {
    const ArraySpec &spec = manifest.caches[i].array;
    Shape shape = spec.evaluate(dims);
    if (!caches[i].data || caches[i].shape != shape)
      caches[i] = Tensor(spec.dtype, shape);
    buffers[at++] = caches[i].data.get();
  }
  outputs.resize(manifest.outputs.size());
  outputMemory.resize(outputs.size());
  for (size_t i = 0; i < outputs.size(); ++i) {
    const ArraySpec &spec = manifest.outputs[i];
    Shape shape = spec.evaluate(dims);
    outputMemory[i].reserve(static_cast<size_t>(elementCount(shape, sizeOf(spec.dtype))) * sizeOf(spec.dtype) + 64);
    outputs[i] = Tensor::view(spec.dtype, shape, outputMemory[i].data());
    buffers[at++] = outputMemory[i].data();
  }
}

void Rank::setPast(size_t index, const Tensor &whole) {
  const CacheSpec &spec = program.manifest().caches[index];
  Tensor &cache = caches[index];
  Shape to(cache.shape.size(), 0), from = to, extent = cache.shape;
  extent[spec.axis] = whole.shape[spec.axis];
  if (!spec.array.shard)
    return copyBox(cache, to, whole, from, extent);
  int64_t dim = spec.array.shard->dim;
  for (const ShardRun &run : heldRuns(*spec.array.shard, rank())) {
    to[dim] = run.local, from[dim] = run.global, extent[dim] = run.length;
    copyBox(cache, to, whole, from, extent);
  }
}

void Rank::forward() {
  int64_t bytes = program.workspaceBytes(dims.data());
  if (bytes < 0)
    failRun("the code asks for a workspace of ", bytes, " bytes");
  workspace.reserve(static_cast<size_t>(bytes) + 64);
  context.begin();
  auto before = std::chrono::steady_clock::now();
  program.forward(RankContext::api(), &context, buffers.data(), dims.data(), workspace.data());
  context.profile.total += std::chrono::duration<double>(std::chrono::steady_clock::now() - before).count();
  ++context.profile.runs;
  context.finish();
}

void Rank::collectOutput(size_t index, Tensor &whole) const {
  const ArraySpec &spec = program.manifest().outputs[index];
  const Tensor &local = outputs[index];
  Shape to(local.shape.size(), 0), from = to, extent = local.shape;
  if (!spec.shard) {
    if (comm.rank() == 0)
      copyBox(whole, to, local, from, extent);
    return;
  }
  for (const ShardRun &run : ownedRuns(*spec.shard, comm.rank())) {
    to[spec.shard->dim] = run.global, from[spec.shard->dim] = run.local, extent[spec.shard->dim] = run.length;
    copyBox(whole, to, local, from, extent);
  }
}

void Rank::collectPresent(size_t index, Tensor &whole, int64_t length) const {
  const CacheSpec &spec = program.manifest().caches[index];
  const Tensor &cache = caches[index];
  Shape to(cache.shape.size(), 0), from = to, extent = cache.shape;
  extent[spec.axis] = length;
  if (!spec.array.shard) {
    if (comm.rank() == 0)
      copyBox(whole, to, cache, from, extent);
    return;
  }
  int64_t dim = spec.array.shard->dim;
  for (const ShardRun &run : ownedRuns(*spec.array.shard, comm.rank())) {
    to[dim] = run.global, from[dim] = run.local, extent[dim] = run.length;
    copyBox(whole, to, cache, from, extent);
  }
}

} // namespace caat::runtime
