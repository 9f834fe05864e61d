// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "RankTimer.h"
#include "caat/runtime/Environment.h"
#include "caat/runtime/Error.h"
#include <algorithm>
#include <charconv>
#include <cstring>
#include <thread>

namespace caat::runtime {

void RankContext::add(Stretch &stretch) {
  if (stretch.isKnown())
    count(stretch);
  else
    open.push_back(stretch); // until the times are known
}

void RankContext::count(Stretch &stretch) {
  Interval &time = stretch.event.time;
  time = {device.timeOf(stretch.begin), device.timeOf(stretch.end)};
  for (double *sum : stretch.sums)
    if (sum)
      *sum += std::chrono::duration<double>(time.end - time.begin).count();
  if (stretch.hidden) {
    auto begin = std::max(time.begin, device.timeOf(stretch.workBegin));
    auto end = std::min(time.end, device.timeOf(stretch.workEnd));
    *stretch.hidden += std::max(0.0, std::chrono::duration<double>(end - begin).count());
  }
  if (trace)
    trace->add(stretch.event);
}

StopRank StopRank::fromEnvironment() {
  StopRank stop;
  const char *value = environment::text("CAAT_TEST_STOP_RANK");
  const char *at = value ? std::strchr(value, '@') : nullptr;
  if (!value)
    return stop;
  if (!at || std::from_chars(value, at, stop.rank).ptr != at)
    failInput("CAAT_TEST_STOP_RANK='", value, "' is not RANK@COLLECTIVE");
  stop.collective = at + 1;
  if (size_t number = stop.collective.find('#'); number != std::string::npos) {
    std::string_view turns = std::string_view(stop.collective).substr(number + 1);
    stop.turns = static_cast<int>(environment::parseNumber("CAAT_TEST_STOP_RANK", turns, {1, INT32_MAX}));
    stop.collective.resize(number);
  }
  return stop;
}

RankContext::RankContext(const Program &program, Communicator &communicator, Device &device, Profile &profile,
                         Trace::Track *trace)
    : sites(program.manifest(), communicator, device), program(program), communicator(communicator), device(device),
      profile(profile), trace(trace), stop(StopRank::fromEnvironment()) {
  if (!program.manifest().rotations.empty())
    rings = std::make_unique<Rings>(program.manifest(), device, communicator);
  profile.collectives.resize(program.manifest().collectives.size());
  profile.rotations.resize(program.manifest().rotations.size());
}

void RankContext::fail(const std::string &text) {
  if (!error.empty())
    return;
  error = text.empty() ? "unknown error" : text;
  communicator.abort(error);
}

void RankContext::begin(Half which) {
  half = which;
  turnNumber = 0;
  error.clear();
  open.clear();
  turned.clear();
  started.clear();
  lastProduct = {};
}

Turns::Clock::time_point RankContext::takeTurns() {
  ++turnNumber;
  half.turns->leave(half.number);
  return half.turns->enter(half.number);
}

void RankContext::finish(const std::function<void()> &last) {
  if (!isGood())
    failRun(error);
  try {
    if (last)
      last();
    device.synchronize();
  } catch (const Error &) {
    communicator.checkAborted(); // which may be why
    throw;
  }
  communicator.checkAborted();
  if (std::optional<int64_t> message = device.failedCheck())
    failCheck(*message);
  for (Stretch &stretch : open)
    count(stretch);
  open.clear();
  if (rings)
    rings->finishRun();
}

void RankContext::failCheck(int64_t message) const {
  const std::vector<std::string> &messages = program.manifest().messages;
  bool known = message >= 0 && static_cast<size_t>(message) < messages.size();
  failRun(known ? messages[static_cast<size_t>(message)] : "check " + std::to_string(message) + " failed");
}

const CollectiveSpec &RankContext::collective(int64_t index, CollectiveKind kind) {
  const auto &all = program.manifest().collectives;
  if (index < 0 || static_cast<size_t>(index) >= all.size())
    failRun("the code calls collective ", index, ", the manifest has ", all.size());
  const CollectiveSpec &spec = all[static_cast<size_t>(index)];
  if (spec.kind != kind)
    failRun("the code calls collective ", index, " ('", spec.name, "') as ", nameOf(kind), ", the manifest says ",
            nameOf(spec.kind));
  return spec;
}

void RankContext::stopWhereAsked(const std::string &name) {
  if (communicator.rank() == stop.rank && name == stop.collective && --stop.turns <= 0)
    while (!communicator.aborted())
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
}

std::string_view RankContext::groupOf(size_t parameter) const {
  const Manifest &manifest = program.manifest();
  std::optional<size_t> rotation = manifest.parameters[parameter].rotation;
  return rotation ? std::string_view(manifest.rotations[*rotation].name) : std::string_view();
}

RankContext::Rotation RankContext::rotation(int64_t number) {
  const auto &rotations = program.manifest().rotations;
  if (number < 0 || static_cast<size_t>(number) >= rotations.size())
    failRun("the code turns rotation ", number, ", the manifest has ", rotations.size());
  auto group = static_cast<size_t>(number);
  // Numbered below the runtime's own calls.
  return {group,
          {-2 - number, rotations[group].name.c_str(), CollectiveKind::Permute, DType::UI8,
           static_cast<int64_t>(rings->bytes(group)), 1},
          profile.rotations[group]};
}

void RankContext::beginRotation(const Rotation &rotation) {
  stopWhereAsked(rotation.call.name);
  ++rotation.stats.calls;
  rotation.stats.bytes += rotation.call.count;
}

/// Of a rotation that was started, the start and the wait are the rank's work, and the transfer goes on beside it.
void RankContext::startRotation(int64_t number) {
  Rotation turn = rotation(number);
  beginRotation(turn);
  {
    Timer timer(*this, turn.stats.seconds, {Trace::Row::Compute, "start", turn.call.name, {}, {}},
                &profile.communication);
    rings->start(turn.group, turn.call);
  }
  turned.push_back(device.now());
}

void RankContext::finishRotation(int64_t number) {
  Rotation turn = rotation(number);
  if (turned.empty())
    failRun("'", turn.call.name, "' is waited for, but was not turned");
  Stretch transfer{{Trace::Row::Transfer, "permute", turn.call.name, {}, {}, turn.call.count}, {}, {}, {}};
  transfer.workBegin = turned.front();
  transfer.workEnd = device.now();
  transfer.hidden = &turn.stats.hidden;
  turned.pop_front();
  {
    Timer timer(*this, turn.stats.seconds, {Trace::Row::Compute, "wait", turn.call.name, {}, {}},
                &profile.communication);
    auto [begin, end] = rings->finish(turn.group, turn.call);
    transfer.begin = begin;
    transfer.end = end;
  }
  add(transfer);
}

void RankContext::rotateInPlace(int64_t number) {
  Rotation turn = rotation(number);
  beginRotation(turn);
  Timer timer(*this, turn.stats.seconds,
              {Trace::Row::Communication, "permute", turn.call.name, {}, {}, turn.call.count}, &profile.communication);
  rings->rotateInPlace(turn.group, turn.call);
}

CollectiveStats &RankContext::beginExchange(const CollectiveSpec &spec, int64_t index, int64_t count) {
  if (count < 0)
    failRun(nameOf(spec.kind), " '", spec.name, "' of ", count, " elements");
  stopWhereAsked(spec.name);
  CollectiveStats &stats = profile.collectives[static_cast<size_t>(index)];
  stats.product += lastProduct.seconds;
  if (lastProduct.open)
    open[*lastProduct.open].sums[2] = &stats.product;
  lastProduct = {};
  return stats;
}

/// Of a sum that was started, the start and the wait are the rank's work, and the sum itself is what goes on beside it.
void RankContext::startSum(int64_t index, void *data, int64_t count, bool leaves) {
  const CollectiveSpec &spec = collective(index, CollectiveKind::AllReduce);
  StartedSum sum{{index, spec.name.c_str(), spec.kind, spec.dtype, count, 0}, data, turnNumber};
  if (count == 0) { // a part without rows
    started.push_back(sum);
    return;
  }
  CollectiveStats &stats = beginExchange(spec, index, count);
  sum.isLeft = !half.turns && (leaves || communicator.leavesToKernel(sum.call, data));
  if (!sum.isLeft) {
    Timer timer(*this, stats.seconds, {Trace::Row::Compute, "start", spec.name, {}, {}}, &profile.communication);
    communicator.startAllReduce(sum.call, data);
  }
  sum.work = device.now();
  started.push_back(sum);
  ++stats.calls;
  stats.bytes += sum.bytes();
}

/// Waits for the sum that was started first: of the whole rank, since each half waits for all that it has started
/// before it starts more, or leaves its turn again.
void RankContext::finishSum() {
  if (started.empty())
    failRun("the code waits for a sum that was not started");
  StartedSum sum = started.front();
  started.pop_front();
  if (half.turns && sum.turn == turnNumber)
    takeTurns();
  if (sum.call.count == 0)
    return;
  CollectiveStats &stats = profile.collectives[static_cast<size_t>(sum.call.index)];
  Trace::Event event{Trace::Row::Communication, nameOf(sum.call.kind), sum.call.name, {}, {}, sum.bytes()};
  if (sum.isLeft) {
    Timer timer(*this, stats.seconds, event, &profile.communication);
    communicator.allReduce(sum.call, sum.data);
    return;
  }
  Stretch stretch{event, {}, {}, {}};
  stretch.workBegin = sum.work;
  stretch.workEnd = device.now();
  stretch.hidden = &stats.hidden;
  {
    Timer timer(*this, stats.seconds, {Trace::Row::Compute, "wait", sum.call.name, {}, {}}, &profile.communication);
    auto [begin, end] = communicator.finishAllReduce(sum.call, sum.data);
    stretch.begin = begin;
    stretch.end = end;
  }
  add(stretch);
}

KernelLaunch RankContext::kernelLaunch(int64_t kernel, int64_t grid, void *buffers, int64_t numBuffers, void *dims,
                                       int64_t numDims) const {
  const auto &kernels = program.manifest().kernels;
  if (kernel < 0 || static_cast<size_t>(kernel) >= kernels.size())
    failRun("the code launches kernel ", kernel, ", the manifest has ", kernels.size());
  return {static_cast<size_t>(kernel),
          grid,
          {static_cast<void *const *>(buffers), static_cast<size_t>(numBuffers)},
          {static_cast<const int64_t *>(dims), static_cast<size_t>(numDims)}};
}

void RankContext::launch(const KernelLaunch &launch) {
  if (launch.rows <= 0)
    return;
  Timer timer(*this, profile.kernels,
              {Trace::Row::Compute, "kernel", program.manifest().kernels[launch.kernel], {}, {}});
  device.launch(launch);
}

/// The time of a kernel that begins with a sum is the sum's: it is mostly waiting for the other ranks.
void RankContext::launchBehindSums(int64_t sums, const KernelLaunch &kernel, size_t summing) {
  auto isEmpty = [](const StartedSum &sum) { return sum.call.count == 0; };
  auto last = started.begin() + std::min<std::ptrdiff_t>(sums, std::ssize(started));
  auto first = std::find_if_not(started.begin(), last, isEmpty);
  if (first != last && first->isLeft && kernel.rows > 0 && std::all_of(first + 1, last, isEmpty)) {
    KernelLaunch both = kernel;
    both.kernel = summing;
    Timer timer(*this, profile.collectives[static_cast<size_t>(first->call.index)].seconds,
                {Trace::Row::Communication,
                 nameOf(first->call.kind),
                 first->call.name,
                 program.manifest().kernels[summing],
                 {},
                 first->bytes()},
                &profile.communication);
    if (communicator.sumInKernel(first->call, first->data, both)) {
      started.erase(started.begin(), last);
      return;
    }
    timer.cancel();
  }
  for (int64_t i = 0; i < sums; ++i)
    finishSum();
  launch(kernel);
}

} // namespace caat::runtime
