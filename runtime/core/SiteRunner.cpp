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

/// What a rank makes of a site's sum; [rows, channels] unless said otherwise.
struct Rows {
  float *stream, *base, *pending;
  const float *sum, *error;       // [rows, numShared], the latter null where nothing is left of the shared channels
  const int32_t *places;          // [channels]: where on the wire the channel is, numShared where it is not
  const float *bias, *slope, *at; // [channels]: base gets bias; the stream is base + slope * pending + at
  int64_t rows, channels, numShared;
};

/// pending += partial, then on the wire the channels that are shared.
CAAT_WIDEST void takeShared(float *wire, float *pending, const float *partial, const int32_t *shared, size_t numShared,
                            int64_t rows, int64_t channels) {
  for (int64_t r = 0; r < rows; ++r, pending += channels, partial += channels) {
    for (int64_t c = 0; c < channels; ++c)
      pending[c] += partial[c];
    for (size_t i = 0; i < numShared; ++i)
      wire[i] = pending[shared[i]];
    wire += numShared;
  }
}

/// In one pass, since a row stays in the cache and all rows do not.
template <bool keepsError> [[gnu::always_inline]] inline void giveShared(Rows x) {
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t c = 0; c < x.channels; ++c) {
      bool isShared = x.places[c] < x.numShared;
      float sum = isShared ? x.sum[x.places[c]] : 0;
      float left = isShared ? (keepsError ? x.error[x.places[c]] : 0) : x.pending[c];
      float base = x.base[c] + x.bias[c] + sum;
      x.base[c] = base;
      x.pending[c] = left;
      x.stream[c] = base + x.slope[c] * left + x.at[c];
    }
    x.stream += x.channels, x.base += x.channels, x.pending += x.channels;
    x.sum += x.numShared;
    if (keepsError)
      x.error += x.numShared;
  }
}

CAAT_WIDEST void giveSums(const Rows &x) { giveShared<false>(x); }
CAAT_WIDEST void giveSumsAndErrors(const Rows &x) { giveShared<true>(x); }

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
  const SitePolicy &policy = sending.policy;
  packed.resize(static_cast<size_t>(x.rows) * policy.shared.size());
  if (policy.isPrivate) {
    takePrivate(x, policy.shared);
  } else {
    std::vector<int32_t> shared(policy.shared.begin(), policy.shared.end());
    takeShared(packed.data(), x.pending, x.partial, shared.data(), shared.size(), x.rows, x.channels);
  }
  const char *name = manifest.sites[site].name.c_str();
  auto count = static_cast<int64_t>(packed.size());
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
  if (policy.isPrivate)
    keepOthers(x, policy);
  give(x, sending);
}

/// What is read behind the site: base with the sums, and what is pending or guessed of it.
void SiteRunner::give(const Arrays &x, const Sending &sending) {
  const SitePolicy &policy = sending.policy;
  auto width = static_cast<size_t>(x.channels);
  std::vector<int32_t> places(width, static_cast<int32_t>(policy.shared.size()));
  for (size_t i = 0; i < policy.shared.size(); ++i)
    places[static_cast<size_t>(policy.shared[i])] = static_cast<int32_t>(i);
  std::vector<float> zeros(width), ones;
  const float *slope, *at = zeros.data();
  if (policy.estimate) {
    size_t row = static_cast<size_t>(communicator.rank()) * width;
    slope = policy.estimate->a.data() + row;
    at = policy.estimate->b.data() + row;
  } else {
    ones.assign(width, 1);
    slope = ones.data();
  }
  Rows rows{x.stream,
            x.base,
            x.pending,
            packed.data(),
            errors.data(),
            places.data(),
            x.bias && !policy.isPrivate ? x.bias : zeros.data(),
            slope,
            at,
            x.rows,
            x.channels,
            static_cast<int64_t>(policy.shared.size())};
  if (sending.rounding && sending.feedback)
    giveSumsAndErrors(rows);
  else
    giveSums(rows);
  if (policy.estimate && policy.estimate->inner > 0)
    addSmallRank(x, *policy.estimate);
}

/// On the wire what is pending and what was computed here, of the shared channels; the others wait for nothing.
void SiteRunner::takePrivate(const Arrays &x, const std::vector<int64_t> &shared) {
  float *wire = packed.data();
  auto width = static_cast<size_t>(x.channels);
  for (size_t at = 0; at != x.count(); at += width)
    for (int64_t channel : shared) {
      size_t place = at + static_cast<size_t>(channel);
      *wire++ = x.pending[place] + x.partial[place];
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
