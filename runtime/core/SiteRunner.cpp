// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "SiteRunner.h"
#include "../cpu/Linear.h"
#include "Multiversion.h"
#include "caat/runtime/Error.h"
#include <algorithm>
#include <chrono>
#include <cstring>

namespace caat::runtime {

/// The arguments of the entry point, [rows, channels] each unless said otherwise.
struct SiteRunner::Arrays {
  float *stream, *base, *pending;
  const float *partial, *bias, *input; // bias [channels] or null; input [rows, inputs] or null
  int64_t rows, channels, inputs;
  void *const *live;
  const int64_t *liveBytes;
  int64_t numLive;

  size_t count() const { return static_cast<size_t>(rows * channels); }
};

namespace {

CAAT_WIDEST void addTo(float *to, const float *from, size_t count) {
  for (size_t i = 0; i < count; ++i)
    to[i] += from[i];
}

/// to[r, c] += from[c]
CAAT_WIDEST void addRow(float *to, const float *from, int64_t rows, int64_t channels) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < channels; ++c)
      to[r * channels + c] += from[c];
}

/// to[r, c] = base + a[c] * pending + b[c]
CAAT_WIDEST void estimate(float *to, const float *base, const float *pending, const float *a, const float *b,
                          int64_t rows, int64_t channels) {
  for (int64_t r = 0; r < rows; ++r, to += channels, base += channels, pending += channels)
    for (int64_t c = 0; c < channels; ++c)
      to[c] = base[c] + a[c] * pending[c] + b[c];
}

CAAT_WIDEST void addBoth(float *to, const float *x, const float *y, size_t count) {
  for (size_t i = 0; i < count; ++i)
    to[i] = x[i] + y[i];
}

std::vector<float> copyOf(const float *data, size_t count) {
  if (!data || std::all_of(data, data + count, [](float x) { return x == 0; }))
    return {};
  return {data, data + count};
}

void putBack(float *to, const std::vector<float> &from, size_t count) {
  if (from.empty())
    std::fill_n(to, count, 0.0f);
  else
    std::copy(from.begin(), from.end(), to);
}

} // namespace

size_t Snapshot::bytes() const {
  size_t total = 0;
  for (const RankSnapshot &rank : ranks) {
    total += (rank.base.size() + rank.pending.size() + rank.partial.size() + rank.input.size()) * sizeof(float);
    for (const auto &live : rank.live)
      total += live.size();
  }
  return total;
}

SiteRunner::SiteRunner(const Manifest &manifest, Communicator &communicator, Device &device)
    : stats(manifest.sites.size()), manifest(manifest), communicator(communicator.ofHost()), device(device) {
  for (const SiteSpec &site : manifest.sites)
    flushNames.push_back(site.name + ".flush");
}

void SiteRunner::begin(const SiteRange &newRange) {
  range = newRange;
  skipping = range.from != nullptr;
}

void SiteRunner::run(size_t site, void *const *buffers, const int64_t *sizes, int64_t live) {
  if (site >= manifest.sites.size())
    failRun("the code calls sync point ", site, ", the manifest has ", manifest.sites.size());
  bool resumes = range.from && range.from->site == site, stops = range.stopAt == site;
  if (skipping && !resumes)
    return;
  if (device.isHost())
    return runOnHost(site, buffers, sizes, live);
  // stream, base, pending, partial, bias, input; then what is live, which is read or written only where a run is cut.
  auto rows = static_cast<size_t>(sizes[0] * manifest.sites[site].channels);
  std::vector<size_t> bytes = {rows * 4,
                               rows * 4,
                               rows * 4,
                               rows * 4,
                               static_cast<size_t>(manifest.sites[site].channels) * 4,
                               static_cast<size_t>(sizes[0] * sizes[1]) * 4};
  if (resumes || stops)
    for (int64_t i = 0; i < live; ++i)
      bytes.push_back(static_cast<size_t>(sizes[2 + i]));
  std::vector<std::vector<std::byte>> copies(bytes.size());
  std::vector<void *> places(6 + static_cast<size_t>(live));
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (!buffers[i])
      continue;
    copies[i].resize(bytes[i] + 4);
    device.download(copies[i].data(), buffers[i], bytes[i]);
    places[i] = copies[i].data();
  }
  runOnHost(site, places.data(), sizes, live);
  constexpr size_t partial = 3, bias = 4;
  for (size_t i = 0; i < bytes.size(); ++i)
    if (buffers[i] && i != bias && (i < partial || resumes))
      device.upload(buffers[i], copies[i].data(), bytes[i]);
}

void SiteRunner::runOnHost(size_t site, void *const *buffers, const int64_t *sizes, int64_t live) {
  bool resumes = range.from && range.from->site == site, stops = range.stopAt == site;
  auto array = [&](int i) { return static_cast<float *>(buffers[i]); };
  Arrays arrays{array(0), array(1),    array(2),  array(3), array(4), array(5), sizes[0], manifest.sites[site].channels,
                sizes[1], buffers + 6, sizes + 2, live};
  if (resumes) {
    restore(arrays);
    skipping = false;
  }
  if (stops) {
    save(site, arrays);
    skipping = true;
  } else {
    apply(site, arrays);
  }
}

void SiteRunner::save(size_t site, const Arrays &arrays) {
  const SiteSpec &spec = manifest.sites[site];
  if (!range.into)
    return;
  if (communicator.rank() == 0) {
    range.into->site = site;
    range.into->rows = arrays.rows;
    range.into->channels = arrays.channels;
    range.into->inputs = arrays.inputs;
  }
  RankSnapshot &mine = range.into->ranks[static_cast<size_t>(communicator.rank())];
  mine.base = copyOf(spec.startsBase ? nullptr : arrays.base, arrays.count());
  mine.pending = copyOf(spec.startsPending ? nullptr : arrays.pending, arrays.count());
  mine.partial = copyOf(arrays.partial, arrays.count());
  mine.input = copyOf(arrays.input, static_cast<size_t>(arrays.rows * arrays.inputs));
  mine.live.resize(static_cast<size_t>(arrays.numLive));
  for (size_t i = 0; i < mine.live.size(); ++i) {
    auto *data = static_cast<const std::byte *>(arrays.live[i]);
    mine.live[i].assign(data, data + arrays.liveBytes[i]);
  }
}

void SiteRunner::restore(const Arrays &arrays) {
  const RankSnapshot &mine = range.from->ranks[static_cast<size_t>(communicator.rank())];
  if (range.from->rows != arrays.rows || mine.live.size() != static_cast<size_t>(arrays.numLive))
    failRun("a snapshot of ", range.from->rows, " rows cannot go on in a run of ", arrays.rows);
  putBack(arrays.base, mine.base, arrays.count());
  putBack(arrays.pending, mine.pending, arrays.count());
  putBack(const_cast<float *>(arrays.partial), mine.partial, arrays.count()); // the program's own memory
  if (arrays.input)
    putBack(const_cast<float *>(arrays.input), mine.input, static_cast<size_t>(arrays.rows * arrays.inputs));
  for (size_t i = 0; i < mine.live.size(); ++i) {
    if (mine.live[i].size() != static_cast<size_t>(arrays.liveBytes[i]))
      failRun("a snapshot holds ", mine.live[i].size(), " bytes of a buffer of ", arrays.liveBytes[i]);
    std::memcpy(arrays.live[i], mine.live[i].data(), mine.live[i].size());
  }
}

template <typename F> void SiteRunner::exchange(size_t site, CollectiveCall call, int64_t bytes, F &&run) {
  if (communicator.size() == 1)
    return;
  CollectiveStats &counted = stats[site];
  auto before = std::chrono::steady_clock::now();
  run(call);
  counted.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - before).count();
  ++counted.calls;
  counted.bytes += bytes;
}

/// Calls of sites are numbered apart from the manifest's collectives and from rotations.
static int64_t numberOf(size_t site) { return -1'000'000 - static_cast<int64_t>(site); }

/// What the site's policy says, with t = pending + partial, as tp-expand-sync-points has it:
/// - full:     base + (all_reduce(t) + bias), nothing pending;
/// - deferred: the shared channels of base get all_reduce(t) + bias, the others bias; t stays pending in the others;
/// - private:  the shared channels as above, the others get scale * (partial + bias); what was pending there stays.
/// Where the sum is rounded, its error is pending in the shared channels.
void SiteRunner::apply(size_t site, const Arrays &x) {
  static const SitePolicy fullPolicy;
  const SiteSpec &spec = manifest.sites[site];
  const SitePolicy &policy = policies && !policies->empty() ? *(*policies)[site] : fullPolicy;
  if (spec.startsBase)
    std::fill_n(x.base, x.count(), 0.0f);
  if (spec.startsPending)
    std::fill_n(x.pending, x.count(), 0.0f);
  // What has to be summed at once anyway is neither deferred nor rounded with an error that is sent again.
  bool rounds = policy.rounding && communicator.size() > 1 && !(spec.flushes && policy.feedback);
  bool all = policy.full || static_cast<int64_t>(policy.shared.size()) == x.channels || communicator.size() == 1;
  bool atOnce = spec.flushes && !policy.isPrivate;
  if ((all || atOnce) && !rounds)
    return reduceAll(site, x);
  reduceShared(site, x, {policy, rounds ? &*policy.rounding : nullptr, policy.feedback && spec.notDeferrable.empty()});
  // Where all channels were summed, rounded without an error to send again, nothing is left to flush.
  if (spec.flushes && !all)
    flush(flushNames[site], site, x);
  else
    writeStream(x, policy);
}

void SiteRunner::reduceAll(size_t site, const Arrays &x) {
  addTo(x.pending, x.partial, x.count());
  if (x.bias)
    addRow(x.base, x.bias, x.rows, x.channels);
  flush(manifest.sites[site].name, site, x);
}

/// Everything pending is summed into base, and read there.
void SiteRunner::flush(const std::string &name, size_t site, const Arrays &x) {
  auto count = static_cast<int64_t>(x.count());
  CollectiveCall call{numberOf(site), name.c_str(), CollectiveKind::AllReduce, DType::F32, count, 0};
  exchange(site, call, count * 4, [&](const CollectiveCall &c) { communicator.allReduce(c, x.pending); });
  addTo(x.base, x.pending, x.count());
  std::fill_n(x.pending, x.count(), 0.0f);
  std::copy_n(x.base, x.count(), x.stream);
}

/// The shared channels are summed; the others stay pending, or join this rank's stream.
void SiteRunner::reduceShared(size_t site, const Arrays &x, const Sending &sending) {
  const std::vector<int64_t> &shared = sending.policy.shared;
  size_t row = static_cast<size_t>(x.channels);
  packed.resize(static_cast<size_t>(x.rows) * shared.size());
  float *wire = packed.data();
  for (size_t at = 0; at != x.count(); at += row)
    for (int64_t channel : shared) {
      size_t place = at + static_cast<size_t>(channel);
      *wire++ = x.pending[place] + x.partial[place];
    }
  const char *name = manifest.sites[site].name.c_str();
  auto count = static_cast<int64_t>(packed.size());
  bool keepsError = sending.rounding && sending.feedback;
  if (sending.rounding) {
    errors.resize(packed.size());
    CollectiveCall call{numberOf(site), name,  CollectiveKind::QuantizedAllReduce,
                        DType::F32,     count, sending.rounding->bits};
    exchange(site, call, x.rows * sending.rounding->rowBytes(), [&](const CollectiveCall &c) {
      communicator.quantizedAllReduce(c, *sending.rounding, packed.data(), errors.data(), x.rows);
    });
  } else if (count > 0) {
    CollectiveCall call{numberOf(site), name, CollectiveKind::AllReduce, DType::F32, count, 0};
    exchange(site, call, count * 4, [&](const CollectiveCall &c) { communicator.allReduce(c, packed.data()); });
  }
  if (sending.policy.isPrivate)
    keepOthers(x, sending.policy);
  else
    addTo(x.pending, x.partial, x.count());
  if (x.bias && !sending.policy.isPrivate)
    addRow(x.base, x.bias, x.rows, x.channels);
  const float *sum = packed.data(), *error = errors.data();
  for (size_t at = 0; at != x.count(); at += row)
    for (int64_t channel : shared) {
      size_t place = at + static_cast<size_t>(channel);
      x.base[place] += *sum++;
      x.pending[place] = keepsError ? *error++ : 0;
    }
}

/// base += scale * (partial + bias) in channels that are not shared, base += bias in the others.
void SiteRunner::keepOthers(const Arrays &x, const SitePolicy &policy) {
  auto width = static_cast<size_t>(x.channels);
  std::vector<float> ofPartial(width, policy.scale), ofBias = ofPartial;
  for (int64_t channel : policy.shared) {
    ofPartial[static_cast<size_t>(channel)] = 0;
    ofBias[static_cast<size_t>(channel)] = 1;
  }
  for (size_t at = 0; at != x.count(); at += width)
    for (size_t c = 0; c < width; ++c)
      x.base[at + c] += ofPartial[c] * x.partial[at + c] + (x.bias ? ofBias[c] * x.bias[c] : 0.0f);
}

void SiteRunner::writeStream(const Arrays &x, const SitePolicy &policy) {
  if (!policy.estimate) {
    addBoth(x.stream, x.base, x.pending, x.count());
    return;
  }
  const SiteEstimate &guess = *policy.estimate;
  auto rank = static_cast<size_t>(communicator.rank()), row = rank * static_cast<size_t>(x.channels);
  estimate(x.stream, x.base, x.pending, guess.a.data() + row, guess.b.data() + row, x.rows, x.channels);
  if (guess.inner > 0)
    addSmallRank(x, guess);
}

/// stream += U (V f), with f from what is pending, the module's input, or both.
void SiteRunner::addSmallRank(const Arrays &x, const SiteEstimate &guess) {
  int64_t inner = guess.inner, features = guess.getFeatures(x.channels);
  auto rank = static_cast<size_t>(communicator.rank());
  const float *u = guess.u.data() + rank * static_cast<size_t>(x.channels * inner);
  const float *v = guess.v.data() + rank * static_cast<size_t>(inner * features);
  hidden.resize(static_cast<size_t>(x.rows * inner));
  auto *z = hidden.data();
  auto product = [&](const float *f, int64_t columns, int64_t first, float beta) {
    runMatMul(
        {DType::F32, 1, x.rows, inner, columns, f, 0, columns, 1, v + first, 0, 1, features, z, 0, inner, 1, beta});
  };
  bool pending = guess.feature != SiteEstimate::Feature::Input;
  if (pending)
    product(x.pending, x.channels, 0, 0);
  if (guess.feature != SiteEstimate::Feature::Pending)
    product(x.input, x.inputs, pending ? x.channels : 0, pending ? 1.0f : 0.0f);
  runMatMul({DType::F32, 1, x.rows, x.channels, inner, z, 0, inner, 1, u, 0, 1, inner, x.stream, 0, x.channels, 1, 1});
}

} // namespace caat::runtime
