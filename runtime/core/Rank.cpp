// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Rank.h"
#include "Nvtx.h"
#include "caat/runtime/Error.h"
#include <algorithm>
#include <cstring>
#include <exception>
#include <thread>

namespace caat::runtime {

Rank::Rank(const Program &program, Communicator &communicator, Device &device, Trace::Track *trace)
    : program(program), comm(communicator), device_(device), trace(trace),
      run(program, communicator, device, profile, trace) {}

void Rank::load() {
  const Manifest &manifest = program.manifest();
  weights = program.openWeights(rank());
  std::vector<HostParameter> given;
  for (const ParameterSpec &spec : manifest.parameters) {
    const SafeTensors::Entry &entry = weights.entry(spec.name);
    if (entry.dtype != spec.storedType() || entry.shape != spec.storedShape())
      failArtifact(weights.path(), ": '", spec.name, "' is ", nameOf(entry.dtype), toString(entry.shape),
                   ", the manifest says ", nameOf(spec.storedType()), toString(spec.storedShape()));
    const std::byte *data = weights.data(entry);
    if (reinterpret_cast<size_t>(data) % sizeOf(entry.dtype)) {
      Tensor &copy = aligned.emplace_back(entry.dtype, entry.shape);
      std::memcpy(copy.data.get(), data, entry.bytes);
      data = copy.data.get();
    }
    given.push_back({&spec, data, entry.bytes, [this, &entry] { weights.file().release(entry.offset, entry.bytes); }});
  }
  give(given);
}

void Rank::loadRandom(uint32_t seed) {
  std::vector<HostParameter> given;
  for (const ParameterSpec &spec : program.manifest().parameters) {
    seed = nextRandom(seed);
    const std::byte *data = device_.isHost() ? aligned.emplace_back(madeUp(spec, seed)).data.get() : nullptr;
    given.push_back({&spec, data, spec.storedBytes(), {}, seed});
  }
  give(given);
}

void Rank::give(std::span<const HostParameter> given) {
  std::vector<void *> places = device_.load(given);
  std::vector<void *> &buffers = run.buffers;
  buffers.resize(program.manifest().bufferCount());
  size_t first = buffers.size() - places.size();
  std::copy(places.begin(), places.end(), buffers.begin() + static_cast<std::ptrdiff_t>(first));
  Rings *rings = context().rings.get();
  if (!rings)
    return;
  for (size_t i = 0; i < given.size(); ++i)
    if (const ParameterSpec &spec = *given[i].spec; spec.rotation)
      rings->add(*spec.rotation, i, &buffers[first + i], given[i].taken);
  rings->allocate();
}

/// Rows are dealt out evenly, the first ranks get one more.
void Rank::divideBatch() {
  std::optional<size_t> batch = program.manifest().batch;
  rows_ = {};
  if (!batch)
    return;
  int64_t total = dims[*batch], each = total / comm.size(), more = total % comm.size();
  rows_ = {rank() * each + std::min<int64_t>(rank(), more), each + (rank() < more)};
  if (total > 0)
    dims[*batch] = std::max<int64_t>(rows_.count, 1);
}

Shape Rank::partShape(const ArraySpec &spec, std::span<const int64_t> of) const {
  Shape shape = spec.evaluate(of);
  if (int64_t count = program.manifest().partsOf(spec); count > 1)
    shape.insert(shape.begin(), count);
  return shape;
}

/// One of the parts that lie one behind the other in an array of partShape().
Tensor Rank::partOf(const Tensor &parts, const ArraySpec &spec, int64_t number) const {
  if (program.manifest().partsOf(spec) == 1)
    return parts;
  Tensor part = parts;
  part.shape.erase(part.shape.begin());
  part.data = std::shared_ptr<std::byte>(parts.data, parts.data.get() + static_cast<size_t>(number) * part.bytes());
  return part;
}

/// The (virtual) rank whose shard a part is.
int64_t Rank::shardOf(int64_t part) const { return program.manifest().batch ? part : rank(); }

/// This rank's rows of an array whose batch is divided, in place; the array itself otherwise.
Tensor Rank::localRows(const ArraySpec &spec, const Tensor &whole) const {
  if (!program.manifest().isDivided(spec) || whole.shape[0] == 0)
    return whole;
  Tensor part = whole;
  size_t row = whole.bytes() / static_cast<size_t>(whole.shape[0]);
  part.shape[0] = std::max<int64_t>(rows_.count, 1);
  int64_t first = std::min(rows_.first, whole.shape[0] - part.shape[0]);
  part.data = std::shared_ptr<std::byte>(whole.data, whole.data.get() + static_cast<size_t>(first) * row);
  return part;
}

static size_t bytesOf(const ArraySpec &spec, const Shape &shape) {
  size_t size = sizeOf(spec.dtype);
  return static_cast<size_t>(elementCount(shape, size)) * size;
}

void Rank::prepare(const RunInputs &whole) {
  isHalved = false;
  dims = whole.dims;
  divideBatch();
  makeArrays();
  run.dims = dims;
  run.context.readTokens = whole.readTokens;
  takeInputs(run, whole.inputs);
  size_t at = whole.inputs.size();
  for (const std::vector<Tensor> *arrays : {&caches, &outputs})
    for (const Tensor &array : *arrays)
      run.buffers[at++] = array.data.get();
  reserveWorkspace(run);
}

/// Bytes of the half in front, where `whole` is one half with the other behind it.
static size_t bytesInFront(const Tensor &whole, const Shape &first, const Shape &second, const std::string &name) {
  size_t dim = 0;
  while (dim < whole.shape.size() && whole.shape[dim] == 1)
    ++dim;
  auto isPart = [&](const Shape &shape) {
    Shape rest = whole.shape;
    if (shape.size() != rest.size() || dim == rest.size())
      return false;
    rest[dim] = shape[dim];
    return shape == rest;
  };
  if (!isPart(first) || !isPart(second) || first[dim] + second[dim] != whole.shape[dim])
    failRun("'", name, "' of shape ", toString(whole.shape), " is not made of ", toString(first), " and ",
            toString(second));
  return static_cast<size_t>(elementCount(first)) * sizeOf(whole.dtype);
}

/// Inputs of a half are as its dimensions say, unless the manifest divides a run where it cannot be.
static void checkInputs(const Manifest &manifest, const RunInputs &half) {
  for (size_t i = 0; i < half.inputs.size(); ++i) {
    const ArraySpec &spec = manifest.inputs[i];
    Shape shape = spec.evaluate(half.dims);
    if (spec.shard)
      shape[spec.shard->dim] = spec.shard->global;
    if (half.inputs[i].shape != shape)
      failRun("input '", spec.name, "' of half a run has shape ", toString(half.inputs[i].shape), " instead of ",
              toString(shape));
  }
}

void Rank::prepareHalves(const RunInputs &whole, const std::array<RunInputs, 2> &halves) {
  const Manifest &manifest = program.manifest();
  for (const RunInputs &half : halves)
    checkInputs(manifest, half);
  if (!second) {
    second = std::make_unique<Run>(program, comm, device_, profile, trace);
    second->buffers = run.buffers;
  }
  isHalved = true;
  dims = whole.dims;
  rows_ = {};
  makeArrays();
  run.dims = halves[0].dims, second->dims = halves[1].dims;
  run.context.readTokens = halves[0].readTokens, second->context.readTokens = halves[1].readTokens;
  takeInputs(run, halves[0].inputs);
  takeInputs(*second, halves[1].inputs);
  size_t at = halves[0].inputs.size();
  auto divide = [&](const Tensor &array, const ArraySpec &spec) {
    Shape first = spec.evaluate(run.dims), last = spec.evaluate(second->dims);
    size_t behind = first == array.shape && last == array.shape ? 0 : bytesInFront(array, first, last, spec.name);
    run.buffers[at] = array.data.get();
    second->buffers[at++] = array.data.get() + behind;
  };
  for (size_t i = 0; i < caches.size(); ++i)
    divide(caches[i], manifest.caches[i].array);
  for (size_t i = 0; i < outputs.size(); ++i)
    divide(outputs[i], manifest.outputs[i]);
  reserveWorkspace(run);
  reserveWorkspace(*second);
}

void Rank::takeInputs(Run &to, const std::vector<Tensor> &inputs) {
  const Manifest &manifest = program.manifest();
  to.localInputs.resize(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    const ArraySpec &spec = manifest.inputs[i];
    Tensor whole = localRows(spec, inputs[i]);
    to.localInputs[i] = whole;
    if (spec.shard) {
      Tensor local(spec.dtype, partShape(spec, to.dims));
      for (int64_t number = 0; number < manifest.partsOf(spec); ++number) {
        Tensor part = partOf(local, spec, number);
        Shape at(part.shape.size(), 0), from = at, extent = part.shape;
        for (const ShardRun &held : heldRuns(*spec.shard, static_cast<int>(shardOf(number)))) {
          at[spec.shard->dim] = held.local, from[spec.shard->dim] = held.global, extent[spec.shard->dim] = held.length;
          copyBox(part, at, whole, from, extent);
        }
      }
      to.localInputs[i] = local;
    }
  }
  placeInputs(to);
}

/// In a device's memory one behind the other, so that small ones, as decoding has, are one upload.
void Rank::placeInputs(Run &to) {
  constexpr size_t page = 4096, most = 64 << 10; // bytes of an upload of several
  if (device_.isHost()) {
    for (size_t i = 0; i < to.localInputs.size(); ++i)
      to.buffers[i] = to.localInputs[i].data.get();
    return;
  }
  std::vector<size_t> places; // an array that grows step by step moves the others seldom
  size_t total = 0;
  for (const Tensor &input : to.localInputs) {
    places.push_back(total);
    total += (input.bytes() + page - 1) / page * page;
  }
  std::byte *memory = to.inputMemory.reserve(device_, total, "the inputs");
  std::vector<std::byte> all(total <= most ? total : 0);
  for (size_t i = 0; i < places.size(); ++i) {
    const Tensor &input = to.localInputs[i];
    to.buffers[i] = memory + places[i];
    if (all.empty())
      device_.upload(memory + places[i], input.data.get(), input.bytes());
    else
      std::memcpy(all.data() + places[i], input.data.get(), input.bytes());
  }
  device_.upload(memory, all.data(), all.size());
}

/// In the host's memory one behind the other: most models have many caches, each too small for large pages.
void Rank::makeCaches() {
  const std::vector<CacheSpec> &specs = program.manifest().caches;
  std::vector<Shape> shapes;
  for (const CacheSpec &spec : specs)
    shapes.push_back(partShape(spec.array, dims));
  if (caches.size() == specs.size() && std::equal(caches.begin(), caches.end(), shapes.begin(),
                                                  [](const Tensor &c, const Shape &shape) { return c.shape == shape; }))
    return;
  caches.clear();
  constexpr size_t line = 64, tooMuch = size_t{1} << 62; // of which a sum cannot overflow
  auto room = [&](size_t i) { return (bytesOf(specs[i].array, shapes[i]) + line - 1) / line * line; };
  std::shared_ptr<std::byte> all;
  size_t bytes = 0;
  for (size_t i = 0; i < specs.size(); ++i)
    bytes = std::min(bytes, tooMuch) + room(i);
  if (device_.isHost() && bytes > 0)
    all = device_.allocate(bytes, "the caches");
  size_t at = 0;
  for (size_t i = 0; i < specs.size(); at += room(i++)) {
    const ArraySpec &spec = specs[i].array;
    Tensor &cache = caches.emplace_back();
    cache.dtype = spec.dtype;
    cache.data = all ? std::shared_ptr<std::byte>(all, all.get() + at)
                     : device_.allocate(bytesOf(spec, shapes[i]), "cache '" + spec.name + "'");
    cache.shape = shapes[i];
  }
}

/// Caches and outputs of the whole run.
void Rank::makeArrays() {
  const Manifest &manifest = program.manifest();
  makeCaches();
  outputs.resize(manifest.outputs.size());
  outputMemory.resize(outputs.size());
  for (size_t i = 0; i < outputs.size(); ++i) {
    const ArraySpec &spec = manifest.outputs[i];
    Shape shape = partShape(spec, dims);
    outputMemory[i].reserve(device_, bytesOf(spec, shape) + 64, "output '" + spec.name + "'");
    outputs[i] = Tensor::view(spec.dtype, shape, outputMemory[i].data());
  }
}

void Rank::reserveWorkspace(Run &of) {
  int64_t bytes = program.workspaceBytes(of.dims.data());
  if (bytes < 0)
    failRun("arrays of this run are too large: their bytes are no number of 48 bits");
  of.workspace.reserve(device_, static_cast<size_t>(bytes) + 64, "the workspace");
}

void Rank::setPast(size_t index, const Tensor &array) {
  const CacheSpec &spec = program.manifest().caches[index];
  Tensor whole = localRows(spec.array, array), all = onHost(device_, caches[index]);
  for (int64_t number = 0; number < program.manifest().partsOf(spec.array); ++number) {
    Tensor cache = partOf(all, spec.array, number);
    Shape to(cache.shape.size(), 0), from = to, extent = cache.shape;
    extent[spec.axis] = whole.shape[spec.axis];
    if (!spec.array.shard) {
      copyBox(cache, to, whole, from, extent);
      continue;
    }
    int64_t dim = spec.array.shard->dim;
    for (const ShardRun &run : heldRuns(*spec.array.shard, static_cast<int>(shardOf(number)))) {
      to[dim] = run.local, from[dim] = run.global, extent[dim] = run.length;
      copyBox(cache, to, whole, from, extent);
    }
  }
  device_.upload(caches[index].data.get(), all.data.get(), all.bytes());
}

void Rank::forward(const SiteRange &range, const AskOfRank &ask) {
  ProfilerRange step(Trace::Row::Compute, "step", std::to_string(profile.runs));
  if (context().rings && !context().rings->isValid())
    context().rings->refill();
  context().sites.begin(range);
  auto before = std::chrono::steady_clock::now();
  device_.beginRun();
  if (isHalved) {
    forwardHalves();
  } else {
    context().begin();
    forward(run);
  }
  std::function<void()> then;
  context().finish([&] {
    if (ask && (!isHalved || second->context.isGood()))
      then = ask(*this);
  });
  if (isHalved)
    second->context.finish();
  profile.total += std::chrono::duration<double>(std::chrono::steady_clock::now() - before).count();
  ++profile.runs;
  if (then)
    then();
}

void Rank::forward(Run &of) {
  program.forward(RankContext::api(), &of.context, of.buffers.data(), of.dims.data(), of.workspace.data());
}

/// All ranks alike, so that the collectives of both halves alternate everywhere.
void Rank::forwardHalves() {
  Turns turns;
  comm.setAlwaysBeside(true);
  run.context.begin({&turns, 0});
  second->context.begin({&turns, 1});
  std::exception_ptr failure;
  std::thread other([&] {
    try {
      device_.attach();
    } catch (const std::exception &e) {
      failure = std::current_exception();
      comm.abort(e.what());
    }
    turns.enter(1);
    if (!failure)
      forward(*second);
    turns.end(1);
  });
  turns.enter(0);
  forward(run);
  turns.end(0);
  other.join();
  comm.setAlwaysBeside(false);
  if (failure)
    std::rethrow_exception(failure);
}

std::vector<Rank::Part> Rank::parts(size_t index) const {
  const Manifest &manifest = program.manifest();
  const ArraySpec &spec = manifest.outputs[index];
  std::vector<Part> result;
  if (!(manifest.isDivided(spec) ? rows_.count > 0 : rank() == 0 || (spec.shard && !manifest.batch)))
    return result;
  for (int64_t number = 0; number < manifest.partsOf(spec); ++number) {
    Part &part = result.emplace_back(Part{partOf(outputs[index], spec, number), {}});
    if (spec.shard)
      part.runs = ownedRuns(*spec.shard, static_cast<int>(shardOf(number)));
    else
      part.runs = {{0, 0, part.data.shape.empty() ? 1 : part.data.shape.back()}};
  }
  return result;
}

void Rank::collectOutput(size_t index, Tensor &whole) const {
  const ArraySpec &spec = program.manifest().outputs[index];
  for (Part &part : parts(index)) {
    part.data = onHost(device_, part.data);
    Shape to(part.data.shape.size(), 0), from = to, extent = part.data.shape;
    if (program.manifest().isDivided(spec))
      to[0] = rows_.first, extent[0] = rows_.count;
    if (!spec.shard) {
      copyBox(whole, to, part.data, from, extent);
      continue;
    }
    for (const ShardRun &run : part.runs) {
      to[spec.shard->dim] = run.global, from[spec.shard->dim] = run.local, extent[spec.shard->dim] = run.length;
      copyBox(whole, to, part.data, from, extent);
    }
  }
}

void Rank::collectPresent(size_t index, Tensor &whole, int64_t length) const {
  const Manifest &manifest = program.manifest();
  const CacheSpec &spec = manifest.caches[index];
  bool divided = manifest.isDivided(spec.array);
  if (divided ? rows_.count == 0 : rank() != 0 && (!spec.array.shard || manifest.batch))
    return;
  Tensor all = onHost(device_, caches[index]);
  for (int64_t number = 0; number < manifest.partsOf(spec.array); ++number) {
    Tensor cache = partOf(all, spec.array, number);
    Shape to(cache.shape.size(), 0), from = to, extent = cache.shape;
    extent[spec.axis] = length;
    if (divided)
      to[0] = rows_.first, extent[0] = rows_.count;
    if (!spec.array.shard) {
      copyBox(whole, to, cache, from, extent);
      continue;
    }
    int64_t dim = spec.array.shard->dim;
    for (const ShardRun &run : ownedRuns(*spec.array.shard, static_cast<int>(shardOf(number)))) {
      to[dim] = run.global, from[dim] = run.local, extent[dim] = run.length;
      copyBox(whole, to, cache, from, extent);
    }
  }
}

} // namespace caat::runtime
