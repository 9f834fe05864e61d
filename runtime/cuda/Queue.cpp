// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Queue.h"
#include "caat/runtime/Error.h"
#include <cstring>

namespace caat::runtime::cuda {

/// Less than this is not worth a graph.
constexpr size_t fewSteps = 4;
/// Steps that are a segment of their own behind a point at which the host waited: a few layers, in whose time it goes
/// through the rest.
constexpr size_t firstSteps = 24;
/// So often may a graph be of no use before none is made any more.
constexpr int mostBroken = 4;
/// A run with more segments goes on without graphs.
constexpr size_t mostSegments = 4096;

bool Exchange::operator==(const Exchange &other) const {
  return kind == other.kind && call.index == other.call.index && call.kind == other.call.kind &&
         call.dtype == other.call.dtype && call.count == other.call.count && call.extra == other.call.extra &&
         in == other.in && out == other.out && count == other.count && type == other.type && root == other.root &&
         points == other.points;
}

CollectiveCall wholeOf(const std::vector<const Exchange *> &all) {
  CollectiveCall whole = all.front()->call;
  whole.count = 0;
  for (const Exchange *exchange : all)
    whole.count = static_cast<int64_t>(
        (static_cast<uint64_t>(whole.count) ^ static_cast<uint64_t>(exchange->call.index)) * 0x100000001b3 >> 8);
  whole.extra = static_cast<int64_t>(all.size());
  return whole;
}

void Step::addParameter(const void *value, size_t size) {
  size_t begin = (parameters.size() + 7) / 8 * 8;
  parameters.resize(begin + size);
  std::memcpy(parameters.data() + begin, value, size);
  offsets.push_back(begin);
}

bool Step::hasShapeOf(const Step &other) const {
  if (kind != other.kind)
    return false;
  if (kind == Kind::Kernel)
    return function == other.function && threads == other.threads && shared == other.shared &&
           offsets == other.offsets && exchange == other.exchange;
  return *this == other;
}

bool Step::operator==(const Step &other) const {
  if (kind != other.kind)
    return false;
  switch (kind) {
  case Kind::Kernel:
    return function == other.function && blocks == other.blocks && threads == other.threads && shared == other.shared &&
           offsets == other.offsets && parameters == other.parameters && exchange == other.exchange;
  case Kind::Product:
    return gemm == other.gemm;
  case Kind::Fused:
    return fused == other.fused;
  case Kind::Copy:
    return to == other.to && from == other.from && bytes == other.bytes;
  case Kind::Exchange:
    return exchange == other.exchange;
  }
  return false;
}

static std::vector<void *> pointersTo(const Step &step) {
  std::vector<void *> result;
  for (size_t offset : step.offsets)
    result.push_back(const_cast<std::byte *>(step.parameters.data() + offset));
  return result;
}

void Queue::clear() {
  for (Segment &old : segments)
    forget(old);
  segments.clear();
  recorded.clear();
}

void Queue::start(CUstream newStream, bool withGraphs, bool checking) {
  stream = newStream;
  makesGraphs = withGraphs && !checking;
  checks = checking;
}

void Queue::setExchanges(Exchanges *given) {
  for (Segment &segment : segments)
    if (!segment.exchanges.empty())
      forget(segment);
  exchanges = given;
}

void Queue::forget(Segment &old) {
  if (old.exec)
    context.driver().cuGraphExecDestroy(old.exec);
  if (old.graph)
    context.driver().cuGraphDestroy(old.graph);
  old.exec = nullptr;
  old.graph = nullptr;
  old.nodes.clear();
  old.pointers.clear();
  old.exchanges.clear();
}

void Queue::launch(const Step &kernel, CUstream where) {
  const Driver &driver = context.driver();
  LaunchAttribute attributes[2];
  unsigned count = 0;
  if (kernel.isDependent && context.hasDependentLaunch())
    attributes[count++] = {CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION, 0, {.allowed = 1}};
  if (kernel.cluster > 1)
    attributes[count++] = {CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, 0, {.cluster = {kernel.cluster, 1, 1}}};
  LaunchConfig config{kernel.blocks, 1, 1, kernel.threads, 1, 1, kernel.shared, where, attributes, count};
  driver.check(driver.cuLaunchKernelEx(&config, kernel.function, pointersTo(kernel).data(), nullptr), "kernel '",
               kernel.name, "'");
}

void Queue::startOn(CUstream other, const Step &kernel) {
  launch(kernel, other);
  if (checks)
    context.driver().check(context.driver().cuStreamSynchronize(other), context.name(), ", in '", kernel.name, "'");
}

void Queue::execute(const Step &step) {
  const Driver &driver = context.driver();
  bool isExchange = step.meetsOthers() && !isCapturing;
  if (isExchange)
    exchanges->begin(step.exchange, stream);
  switch (step.kind) {
  case Step::Kind::Kernel:
    launch(step, stream);
    break;
  case Step::Kind::Product:
    products.run(step.gemm, stream);
    break;
  case Step::Kind::Fused: // on the handle's stream, which is this one
    step.fused.run();
    break;
  case Step::Kind::Copy:
    driver.check(driver.cuMemcpyDtoDAsync_v2(step.to, step.from, step.bytes, stream), "copy of ", step.bytes, " bytes");
    break;
  case Step::Kind::Exchange:
    exchanges->ask(step.exchange, stream);
    break;
  }
  if (isExchange)
    exchanges->end(stream);
  last_ = step.name;
  if (checks)
    driver.check(driver.cuStreamSynchronize(stream), context.name(), ", in '", step.name, "'");
}

void Queue::beginRun() {
  if (mode == Mode::Replay)
    forget(segments[segment]);
  mode = Mode::Idle;
  segment = 0;
  isFirst = true;
}

Step Queue::newStep() {
  Step step;
  step.parameters.swap(spareParameters);
  step.offsets.swap(spareOffsets);
  return step;
}

/// Whether the first segment behind a point at which the host waited ends before `step`, so that its graph runs while
/// the host goes through the rest. Never behind an exchange: ranks whose steps differ begin with the same one all the
/// same.
bool Queue::endsFirstSteps(const Step &step) const {
  size_t count = mode == Mode::Replay ? position : recorded.size();
  return isFirst && mode != Mode::Idle && !metOthers && count >= fewSteps &&
         (count == firstSteps || step.meetsOthers());
}

void Queue::add(Step &&step) {
  ++asked_;
  if (!makesGraphs || segment >= mostSegments)
    return execute(step);
  if (endsFirstSteps(step)) {
    endSegment();
    isFirst = false;
  }
  if (mode == Mode::Idle) {
    if (segment == segments.size())
      segments.emplace_back();
    if (Segment &known = segments[segment]; !known.exchanges.empty() && known.generation != generation)
      forget(known);
    mode = segments[segment].exec ? Mode::Replay : Mode::Record;
    position = 0;
    metOthers = false;
    recorded.clear();
    changed.clear();
  }
  metOthers = metOthers || step.meetsOthers();
  if (mode == Mode::Replay) {
    std::vector<Step> &known = segments[segment].steps;
    if (position < known.size() && step.hasShapeOf(known[position])) {
      if (!(step == known[position])) {
        known[position].blocks = step.blocks; // in place: the graph's pointers are to these parameters
        std::memcpy(known[position].parameters.data(), step.parameters.data(), step.parameters.size());
        changed.push_back(position);
      }
      ++position;
      spareParameters.swap(step.parameters);
      spareOffsets.swap(step.offsets);
      spareParameters.clear();
      spareOffsets.clear();
      return;
    }
    leaveReplay();
  }
  execute(step);
  recorded.push_back(std::move(step));
}

/// What was held back starts now, one by one, and the rest of the segment too.
void Queue::leaveReplay() {
  Segment &now = segments[segment];
  recorded.assign(now.steps.begin(), now.steps.begin() + static_cast<std::ptrdiff_t>(position));
  for (const Step &step : recorded)
    execute(step);
  forget(now);
  ++now.broken;
  now.useful = 0;
  mode = Mode::Record;
}

void Queue::flush() {
  ++asked_;
  if (mode != Mode::Idle)
    endSegment();
  isFirst = true;
}

void Queue::endSegment() {
  Segment &now = segments[segment];
  if (mode == Mode::Replay && position < now.steps.size())
    leaveReplay();
  const Driver &driver = context.driver();
  if (mode == Mode::Replay) {
    for (size_t index : changed) {
      const Step &step = now.steps[index];
      KernelNodeParameters parameters{
          step.function, step.blocks, 1,      1, step.threads, 1, 1, step.shared, now.pointers[index].data(),
          nullptr,       nullptr,     nullptr};
      driver.check(driver.cuGraphExecKernelNodeSetParams_v2(now.exec, now.nodes[index], &parameters), "kernel '",
                   step.name, "' of a graph");
    }
    if (!now.exchanges.empty())
      exchanges->beginGraph(now.exchanges, stream);
    driver.check(driver.cuGraphLaunch(now.exec, stream), "a graph of ", now.steps.size(), " steps");
    if (!now.exchanges.empty())
      exchanges->endGraph(stream);
    last_ = now.steps.back().name;
    ++graphs_;
    if (++now.useful > mostBroken)
      now.broken = 0;
  } else {
    bool wanted = wantsCapture(now);
    now.steps.swap(recorded);
    now.generation = generation;
    if (wanted)
      capture(now);
  }
  mode = Mode::Idle;
  ++segment;
}

/// Whether what was recorded is what was recorded in the run before.
bool Queue::wantsCapture(const Segment &now) const {
  if (recorded.size() != now.steps.size() || recorded.size() < fewSteps || now.broken >= mostBroken)
    return false;
  bool hasExchanges = false;
  for (size_t i = 0; i < recorded.size(); ++i) {
    if (!recorded[i].hasShapeOf(now.steps[i]))
      return false;
    hasExchanges = hasExchanges || recorded[i].meetsOthers();
  }
  return !hasExchanges || now.generation == generation;
}

/// Makes the graph of a segment's steps, without running them.
void Queue::capture(Segment &now) {
  const Driver &driver = context.driver();
  for (const Step &step : now.steps)
    if (step.meetsOthers())
      now.exchanges.push_back(&step.exchange);
  driver.check(driver.cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL), "a graph");
  std::string error;
  isCapturing = true;
  try {
    for (const Step &step : now.steps) {
      execute(step);
      CUgraphNode node = nullptr;
      if (step.kind == Step::Kind::Kernel) { // it is what the next step would wait for
        int status = 0;
        const CUgraphNode *latest = nullptr;
        size_t count = 0;
        driver.check(driver.cuStreamGetCaptureInfo_v2(stream, &status, nullptr, nullptr, &latest, &count), "a graph");
        if (count != 1)
          failRun("a graph whose steps do not follow each other");
        node = *latest;
      }
      now.nodes.push_back(node);
      now.pointers.push_back(pointersTo(step));
    }
  } catch (const Error &e) {
    error = e.what();
  }
  isCapturing = false;
  CUresult ended = driver.cuStreamEndCapture(stream, &now.graph);
  bool good = error.empty() && ended == CUDA_SUCCESS &&
              driver.cuGraphInstantiateWithFlags(&now.exec, now.graph, 0) == CUDA_SUCCESS;
  if (!now.exchanges.empty())
    good = exchanges->agree(good);
  if (!good) {
    forget(now); // it goes on without
    now.broken = mostBroken;
  }
}

} // namespace caat::runtime::cuda
