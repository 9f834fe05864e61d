// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/runtime/Engine.h"
#include "Dims.h"
#include "Halves.h"
#include "Workers.h"
#include "caat/runtime/Error.h"
#include <algorithm>
#include <cstring>
#include <span>

namespace caat::runtime {

namespace {

constexpr int mostThreads = 1024;
constexpr std::chrono::milliseconds mostTimeout{1'000'000'000}; // what is added to the clock must not overflow

std::string listNames(const Manifest &manifest) {
  std::string text;
  for (const ArraySpec &input : manifest.inputs)
    text += (text.empty() ? "'" : ", '") + input.name + "'";
  for (const CacheSpec &cache : manifest.caches)
    text += (text.empty() ? "'" : ", '") + cache.array.name + "'";
  return text.empty() ? "none" : text;
}

void checkTokens(const Tensor &tokens, const std::string &name, const Manifest &manifest) {
  if (!manifest.vocabulary)
    return;
  const int64_t *ids = tokens.as<int64_t>();
  for (int64_t i = 0, count = tokens.count(); i < count; ++i)
    if (ids[i] < 0 || ids[i] >= *manifest.vocabulary)
      failInput("'", name, "': token ", ids[i], " at position ", i, " is not in [0, ", *manifest.vocabulary, ")");
}

bool isTokens(const ArraySpec &input) { return input.name == "input_ids" && input.dtype == DType::I64; }

Tensor filled(Shape shape, int64_t start, int64_t step, DType dtype) {
  Tensor tensor(dtype, std::move(shape));
  int64_t inner = tensor.shape.back();
  for (int64_t i = 0, count = tensor.count(); i < count; ++i) {
    int64_t value = start + step * (i % inner);
    if (dtype == DType::I64)
      tensor.as<int64_t>()[i] = value;
    else if (dtype == DType::I32)
      tensor.as<int32_t>()[i] = static_cast<int32_t>(value);
    else if (dtype == DType::Bool)
      tensor.as<uint8_t>()[i] = value != 0;
    else if (dtype == DType::F32)
      tensor.as<float>()[i] = static_cast<float>(value);
    else
      failInput("an input of type ", nameOf(dtype), " cannot be filled");
  }
  return tensor;
}

} // namespace

Engine::Engine(const std::string &directory, EngineOptions opts) : options(std::move(opts)), program_(directory) {
  if (options.threadsPerRank < 1 || options.threadsPerRank > mostThreads)
    failInput("threads per rank: ", options.threadsPerRank, " is not in [1, ", mostThreads, "]");
  if (options.timeout.count() < 1 || options.timeout > mostTimeout)
    failInput("timeout: ", options.timeout.count(), " ms is not in [1, ", mostTimeout.count(), "]");
  if (options.halves == HalvesMode::On)
    checkDivisible(manifest());
  auto say = [&](const std::string &text) {
    if (options.progress)
      options.progress(text);
  };
  workers = std::make_unique<Workers>(program_, options);
  say("loading " + std::to_string(size()) + (size() == 1 ? " rank" : " ranks"));
  onRanks([&](Rank &rank) {
    rank.device().attach();
    options.randomWeights ? rank.loadRandom(*options.randomWeights + static_cast<uint32_t>(rank.rank())) : rank.load();
    rank.communicator().checkSchedule(manifest().digest);
  });
  say("loaded");
}

Engine::~Engine() = default;

void Engine::onRanks(const std::function<void(Rank &)> &work) { workers->run(work); }

/// A profile as numbers, and back, so that it travels.
static std::vector<double> numbersOf(const Profile &p) {
  std::vector<double> all{p.total, p.linear, p.matmul, p.kernels, p.communication, static_cast<double>(p.runs)};
  for (const auto *list : {&p.collectives, &p.rotations})
    for (const CollectiveStats &s : *list)
      all.insert(all.end(),
                 {static_cast<double>(s.calls), static_cast<double>(s.bytes), s.seconds, s.product, s.hidden});
  return all;
}
static void setNumbers(Profile &p, const double *from) {
  for (double *to : {&p.total, &p.linear, &p.matmul, &p.kernels, &p.communication})
    *to = *from++;
  p.runs = static_cast<int64_t>(*from++);
  for (auto *list : {&p.collectives, &p.rotations})
    for (CollectiveStats &s : *list) {
      s = {static_cast<int64_t>(from[0]), static_cast<int64_t>(from[1]), from[2], from[3], from[4]};
      from += 5;
    }
}

Profile Engine::slowestProfile() {
  std::vector<double> all;
  onRanks([&](Rank &rank) {
    std::vector<double> mine = numbersOf(rank.profile), got(mine.size() * static_cast<size_t>(size()));
    rank.communicator().allGatherBytes("profiles", mine.data(), got.data(), mine.size() * sizeof(double));
    if (rank.rank() == firstRank())
      all = std::move(got);
  });
  size_t count = all.size() / static_cast<size_t>(size()), slowest = 0;
  auto own = [&](size_t rank) { return all[rank * count] - all[rank * count + 4]; }; // total without communication
  for (size_t rank = 1; rank < static_cast<size_t>(size()); ++rank)
    if (own(rank) > own(slowest))
      slowest = rank;
  Profile result = workers->ranks[0]->profile;
  setNumbers(result, all.data() + slowest * count);
  return result;
}

void Engine::gather(Tensor &whole) const {
  if (!workers->peers || whole.bytes() == 0)
    return;
  std::vector<std::vector<char>> all = workers->peers->gather("an output", whole.data.get(), whole.bytes());
  std::byte *to = whole.data.get();
  for (size_t rank = 1; rank < all.size(); ++rank) {
    if (all[rank].size() != whole.bytes())
      failRun("rank ", rank, " sends ", all[rank].size(), " bytes of an output of ", whole.bytes());
    std::transform(to, to + whole.bytes(), std::as_bytes(std::span(all[rank])).data(), to, std::bit_or());
  }
}

void Engine::resetProfile() {
  for (auto &rank : workers->ranks)
    rank->profile.reset();
}

void Engine::setTiming(bool enabled) {
  for (auto &device : workers->devices)
    device->setTiming(enabled || workers->trace);
}

bool Engine::isHost() const { return workers->devices[0]->isHost(); }

int64_t Engine::graphs() const { return workers->devices[0]->graphs(); }

std::string Engine::attentionInfo() const { return workers->devices[0]->attentionInfo(); }

void Engine::writeTrace() {
  if (workers->trace)
    workers->trace->write();
}

size_t Engine::productBytes() const { return workers->devices[0]->productBytes(); }

/// The dimension "max_length" holds the room of the caches; checked against what the program was compiled for.
static void setCapacity(DimSolver &solver, const Manifest &manifest, int64_t capacity) {
  if (manifest.maxLength && capacity > *manifest.maxLength)
    failInput(capacity, " positions are needed, the program was compiled for at most ", *manifest.maxLength,
              " (max-length)");
  if (std::optional<size_t> dim = manifest.dim("max_length"))
    solver.set(*dim, capacity, "the caches' room");
}

namespace {
/// What a run is given, as the program wants it.
struct Given {
  std::vector<Tensor> inputs, pasts; // pasts: one for each cache, or none
};

void checkType(const ArraySpec &spec, const Tensor &array) {
  if (array.dtype != spec.outside())
    failInput("input '", spec.name, "' is ", nameOf(array.dtype), ", expected ", nameOf(spec.outside()));
}

/// Binds the dimensions of `solver` to the shapes of what is given.
Given takeInputs(const TensorMap &given, const Manifest &m, DimSolver &solver) {
  Given taken;
  for (const ArraySpec &spec : m.inputs) {
    auto found = given.find(spec.name);
    if (found == given.end())
      failInput("input '", spec.name, "' is missing; the program takes ", listNames(m));
    checkType(spec, found->second);
    solver.match(spec, found->second.shape);
    if (isTokens(spec))
      checkTokens(found->second, spec.name, m);
    taken.inputs.push_back(converted(found->second, spec.dtype));
  }
  for (const CacheSpec &cache : m.caches) {
    auto found = given.find(cache.array.name);
    if (found == given.end())
      continue;
    checkType(cache.array, found->second);
    ArraySpec past = cache.array;
    past.shape[static_cast<size_t>(cache.axis)] = cache.pastLength;
    solver.match(past, found->second.shape);
    taken.pasts.push_back(converted(found->second, cache.array.dtype));
  }
  if (!taken.pasts.empty() && taken.pasts.size() != m.caches.size())
    failInput(taken.pasts.size(), " of ", m.caches.size(), " past arrays are given; give all or none");
  if (taken.pasts.empty())
    for (const CacheSpec &cache : m.caches)
      solver.set(cache.pastLength, 0, "empty caches");
  if (taken.inputs.size() + taken.pasts.size() != given.size())
    for (const auto &[name, tensor] : given) {
      auto hasName = [&](const auto &spec) { return spec.name == name; };
      if (std::none_of(m.inputs.begin(), m.inputs.end(), hasName) &&
          std::none_of(m.caches.begin(), m.caches.end(), [&](const CacheSpec &c) { return c.array.name == name; }))
        failInput("the program has no input '", name, "'; it takes ", listNames(m));
    }
  return taken;
}

/// Positions that the caches hold after a run of these dimensions.
int64_t presentLength(const DimSolver &solver, const Manifest &m) {
  std::optional<size_t> room = m.dim("max_length");
  if (!room)
    return 0;
  // The room follows from the other dimensions: solve with a stand-in first.
  DimSolver others = solver;
  others.set(*room, m.maxLength.value_or(0), "the caches' room");
  std::vector<int64_t> dims = others.solve();
  int64_t length = 0;
  for (const CacheSpec &cache : m.caches)
    length = std::max(length, cache.presentLength.evaluate(dims));
  return length;
}
} // namespace

TensorMap Engine::infer(const TensorMap &given, const SiteRange &range) {
  const Manifest &m = manifest();
  past_ = capacity_ = 0; // ends a session: the caches are used here
  DimSolver solver(m);
  Given taken = takeInputs(given, m, solver);
  setCapacity(solver, m, presentLength(solver, m));
  RunInputs whole{std::move(taken.inputs), solver.solve()};
  const std::vector<int64_t> &dims = whole.dims;
  auto setPasts = [&](Rank &rank) {
    for (size_t i = 0; i < taken.pasts.size(); ++i)
      rank.setPast(i, taken.pasts[i]);
  };
  runProgram(whole, divide(whole, nullptr, 0), range, setPasts, {});
  if (range.stopAt)
    return {};

  TensorMap result;
  std::vector<Tensor> outputs, presents;
  for (const ArraySpec &spec : m.outputs) {
    Shape shape = spec.evaluate(dims);
    if (spec.shard)
      shape[static_cast<size_t>(spec.shard->dim)] = spec.shard->global;
    outputs.push_back(result.emplace(spec.name, Tensor(spec.dtype, shape)).first->second);
  }
  for (const CacheSpec &cache : m.caches) {
    Shape shape = cache.array.evaluate(dims);
    shape[static_cast<size_t>(cache.axis)] = cache.presentLength.evaluate(dims);
    if (cache.array.shard)
      shape[static_cast<size_t>(cache.array.shard->dim)] = cache.array.shard->global;
    presents.push_back(result.emplace(cache.present, Tensor(cache.array.dtype, shape)).first->second);
  }
  onRanks([&](Rank &rank) {
    for (size_t i = 0; i < outputs.size(); ++i)
      rank.collectOutput(i, outputs[i]);
    for (size_t i = 0; i < presents.size(); ++i)
      rank.collectPresent(i, presents[i], presents[i].shape[static_cast<size_t>(m.caches[i].axis)]);
    for (std::vector<Tensor> *arrays : {&outputs, &presents})
      for (Tensor &array : *arrays)
        gather(array);
  });
  if (firstRank() != 0)
    return {};
  for (const ArraySpec &spec : m.outputs)
    result[spec.name] = converted(result[spec.name], spec.outside());
  for (const CacheSpec &cache : m.caches)
    result[cache.present] = converted(result[cache.present], cache.array.outside());
  return result;
}

void Engine::setPolicies(Policies policies) {
  const std::vector<SiteSpec> &sites = manifest().sites;
  if (sites.empty())
    failInput("the program's sync points are fixed: compile it with --switchable");
  if (!policies.empty() && policies.size() != sites.size())
    failInput(policies.size(), " policies for ", sites.size(), " sites");
  for (size_t i = 0; i < policies.size(); ++i)
    checkPolicy(*policies[i], sites[i], size());
  auto shared = std::make_shared<const Policies>(std::move(policies));
  for (auto &rank : workers->ranks)
    rank->context().sites.setPolicies(shared);
}

void Engine::start(int64_t capacity) {
  if (capacity < 1)
    failInput("room for ", capacity, " positions");
  DimSolver unused(manifest());
  setCapacity(unused, manifest(), capacity);
  past_ = 0;
  capacity_ = capacity;
  sequence = Tensor();
}

/// What a step of these tokens is given.
RunInputs Engine::fillInputs(const Tensor &ids, int64_t past) const {
  const Manifest &m = manifest();
  int64_t batch = ids.shape[0], n = ids.shape[1];
  DimSolver solver(m);
  std::vector<Tensor> inputs;
  bool sawTokens = false;
  for (const ArraySpec &spec : m.inputs) {
    Tensor value;
    if (isTokens(spec)) {
      value = ids;
      sawTokens = true;
    } else if (spec.name == "attention_mask" && spec.shape.size() == 2) {
      value = filled({batch, past + n}, 1, 0, spec.dtype);
    } else if (spec.name == "position_ids" && spec.shape.size() == 2) {
      value = filled({batch, n}, past, 1, spec.dtype);
    } else if (spec.name == "cache_position" && spec.shape.size() == 1) {
      value = filled({n}, past, 1, spec.dtype);
    } else {
      std::string shape;
      for (const ShapeExpr &dim : spec.shape)
        shape += (shape.empty() ? "" : ", ") + dim.text();
      failInput("input '", spec.name, "' (", nameOf(spec.dtype), "[", shape,
                "]) cannot be filled from tokens; known are input_ids, attention_mask, position_ids and "
                "cache_position. Use infer and give all inputs");
    }
    solver.match(spec, value.shape);
    inputs.push_back(value);
  }
  if (!sawTokens)
    failInput("the program has no i64 input 'input_ids', so it cannot read tokens; its inputs are ", listNames(m));
  for (const CacheSpec &cache : m.caches)
    solver.set(cache.pastLength, past, "the caches");
  setCapacity(solver, m, capacity_);
  return {std::move(inputs), solver.solve()};
}

/// Columns [begin, end) of tokens of one row, in place.
static Tensor columnsOf(const Tensor &ids, int64_t begin, int64_t end) {
  Tensor part = ids;
  part.shape[1] = end - begin;
  part.data = std::shared_ptr<std::byte>(ids.data, ids.data.get() + static_cast<size_t>(begin) * sizeOf(ids.dtype));
  return part;
}

/// The halves of a run, where it is to be divided: rows where there are some, else tokens, where `ids` are a step's.
std::optional<TwoHalves> Engine::divide(const RunInputs &whole, const Tensor *ids, int64_t past) const {
  const Manifest &m = manifest();
  if (options.halves == HalvesMode::Off || size() == 1 || m.batch || !m.sites.empty())
    return std::nullopt;
  if (options.halves == HalvesMode::Auto && !options.link.isSlow())
    return std::nullopt;
  std::optional<TwoHalves> halves;
  if (m.halves.batch && whole.dims[*m.halves.batch] > 1) {
    halves = divideRows(m, whole, *m.halves.batch);
  } else if (m.halves.tokens && ids && ids->shape[0] == 1 && ids->shape[1] > 1) {
    int64_t first = firstHalf(ids->shape[1]), rest = ids->shape[1] - first;
    halves = {fillInputs(columnsOf(*ids, 0, first), past),
              fillInputs(columnsOf(*ids, first, ids->shape[1]), past + first)};
    (*halves)[0].readTokens = std::max<int64_t>(whole.readTokens - rest, 0);
    (*halves)[1].readTokens = whole.readTokens;
  }
  if (halves && options.halves == HalvesMode::Auto && !pays(m, whole, *halves, options.link))
    return std::nullopt;
  return halves;
}

/// `before`: when the arrays are there.
void Engine::runProgram(const RunInputs &whole, const std::optional<TwoHalves> &halves, const SiteRange &range,
                        const std::function<void(Rank &)> &before, const AskOfRank &ask) {
  if (range.into)
    range.into->ranks.resize(static_cast<size_t>(size()));
  onRanks([&](Rank &rank) {
    halves ? rank.prepareHalves(whole, *halves) : rank.prepare(whole);
    if (before)
      before(rank);
    rank.forward(range, ask);
  });
  halvedRuns_ += halves.has_value();
}

void Engine::step(const Tensor &next, Results read, const AskOfRank &ask, const SiteRange &range) {
  const Manifest &m = manifest();
  if (next.dtype != DType::I64 || next.shape.size() != 2 || next.count() == 0)
    failInput("tokens must be a non-empty i64 array [batch, n], not ", nameOf(next.dtype), toString(next.shape));
  if (capacity_ == 0)
    failInput("there is no session: start() begins one, and infer() ends it");
  if (past_ + next.shape[1] > capacity_)
    failInput("a sequence of ", past_ + next.shape[1], " tokens, but room for ", capacity_);
  checkTokens(next, "tokens", m);

  Tensor ids = next;
  int64_t past = past_;
  if (past > 0 && batch_ != next.shape[0])
    failInput("a batch of ", next.shape[0], " after one of ", batch_);
  if (m.caches.empty() && past > 0) { // the whole sequence again
    ids = Tensor(DType::I64, {next.shape[0], past + next.shape[1]});
    copyBox(ids, {0, 0}, sequence, {0, 0}, sequence.shape);
    copyBox(ids, {0, past}, next, {0, 0}, next.shape);
    past = 0;
  }
  RunInputs whole = fillInputs(ids, past);
  if (read == Results::LastToken)
    whole.readTokens = 1;
  runProgram(whole, divide(whole, &ids, past), range, {}, ask);
  past_ += next.shape[1];
  batch_ = next.shape[0];
  if (m.caches.empty())
    sequence = ids;
}

} // namespace caat::runtime
