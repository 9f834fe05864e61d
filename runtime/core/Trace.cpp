// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/runtime/Trace.h"
#include "caat/runtime/Error.h"
#include "caat/runtime/File.h"
#include "caat/runtime/Peers.h"
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>

namespace caat::runtime {

using Json = nlohmann::ordered_json;

namespace {

/// What another process is sent: the head, the texts (a length and the characters of each), the events.
struct TrackHead {
  uint64_t events, texts;
  int64_t dropped;
};
struct PackedEvent {
  uint32_t row, kind, name, group; // texts by their numbers
  int64_t begin, end, bytes;       // nanoseconds
};

using Nanoseconds = std::chrono::nanoseconds;

void append(std::vector<char> &to, const void *data, size_t bytes) {
  const char *begin = static_cast<const char *>(data);
  to.insert(to.end(), begin, begin + bytes);
}

/// Reads from the front of some bytes.
class Reader {
public:
  explicit Reader(const std::vector<char> &bytes) : at(bytes.data()), end(bytes.data() + bytes.size()) {}
  template <typename T> T read() {
    T value;
    std::memcpy(&value, take(sizeof value), sizeof value);
    return value;
  }
  const char *take(size_t bytes) {
    if (bytes > static_cast<size_t>(end - at))
      failRun("a rank's trace is damaged");
    return std::exchange(at, at + bytes);
  }

private:
  const char *at, *end;
};

} // namespace

std::vector<char> Trace::Track::pack(const Peers &peers) const {
  std::map<std::string_view, uint32_t> numbers;
  std::vector<char> known, packed;
  auto number = [&](std::string_view text) {
    auto [place, isNew] = numbers.emplace(text, static_cast<uint32_t>(numbers.size()));
    if (isNew) {
      auto length = static_cast<uint32_t>(text.size());
      append(known, &length, sizeof length);
      append(known, text.data(), text.size());
    }
    return place->second;
  };
  auto time = [&](std::chrono::steady_clock::time_point at) {
    return std::chrono::duration_cast<Nanoseconds>(at.time_since_epoch() + peers.clockOffset(at)).count();
  };
  for (const Event &e : events) {
    PackedEvent one{static_cast<uint32_t>(e.row), number(e.kind),   number(e.name), number(e.group),
                    time(e.time.begin),           time(e.time.end), e.bytes};
    append(packed, &one, sizeof one);
  }
  TrackHead head{events.size(), numbers.size(), dropped};
  std::vector<char> all;
  all.reserve(sizeof head + known.size() + packed.size());
  append(all, &head, sizeof head);
  append(all, known.data(), known.size());
  append(all, packed.data(), packed.size());
  return all;
}

Trace::Track Trace::Track::unpack(const std::vector<char> &bytes) {
  Track track;
  Reader reader(bytes);
  auto head = reader.read<TrackHead>();
  track.dropped = head.dropped;
  for (uint64_t i = 0; i < head.texts; ++i) {
    auto length = reader.read<uint32_t>();
    track.texts.emplace_back(reader.take(length), length);
  }
  auto text = [&](uint32_t number) -> std::string_view {
    if (number >= track.texts.size())
      failRun("a rank's trace is damaged");
    return track.texts[number];
  };
  auto time = [](int64_t count) { return std::chrono::steady_clock::time_point(Nanoseconds(count)); };
  for (uint64_t i = 0; i < head.events; ++i) {
    auto e = reader.read<PackedEvent>();
    if (e.row >= std::size(Trace::rowNames))
      failRun("a rank's trace is damaged");
    track.add(
        {static_cast<Row>(e.row), text(e.kind), text(e.name), text(e.group), {time(e.begin), time(e.end)}, e.bytes});
  }
  return track;
}

Trace::Trace(const std::string &path, int ranks, std::shared_ptr<Peers> given)
    : path(path), peers(std::move(given)), tracks(static_cast<size_t>(ranks)) {
  if (peers && peers->rank() != 0)
    return;
  checkOutputFile("--trace", path);
  file.open(path);
  if (!file)
    failInput("cannot write the trace '", path, "': ", std::strerror(errno));
}

void Trace::write() {
  if (!peers)
    return writeTracks();
  peers->measureClock();
  std::vector<char> mine = tracks[0].pack(*peers);
  std::vector<std::vector<char>> all = peers->gather("the trace", mine.data(), mine.size());
  try {
    tracks.clear();
    for (const std::vector<char> &bytes : all)
      tracks.push_back(Track::unpack(bytes));
    if (peers->rank() == 0)
      writeTracks();
  } catch (const std::exception &e) {
    peers->abort(e.what());
    throw;
  }
  // Nobody ends well where rank 0 cannot write; large traces take it a while.
  constexpr int forWriting = 20;
  std::vector<char> done(static_cast<size_t>(peers->size()));
  peers->allGather("the written trace", done.data(), done.data(), 1, 0, peers->timeout() * forWriting);
}

/// {"traceEvents": [...]}, one event a line. Times are microseconds since the first event of any rank.
void Trace::writeTracks() {
  auto start = std::chrono::steady_clock::time_point::max();
  for (const Track &track : tracks)
    for (const Event &event : track.events)
      start = std::min(start, event.time.begin);
  auto microseconds = [](std::chrono::steady_clock::duration time) {
    return std::chrono::duration<double, std::micro>(time).count();
  };
  const char *separator = "\n";
  auto put = [&](const Json &json) { file << std::exchange(separator, ",\n") << json.dump(); };
  file << "{\"displayTimeUnit\": \"ms\", \"traceEvents\": [";
  for (size_t rank = 0; rank < tracks.size(); ++rank) {
    const Track &track = tracks[rank];
    auto name = [&](const char *what, int row, const std::string &text) {
      put({{"ph", "M"}, {"pid", rank}, {"tid", row}, {"name", what}, {"args", {{"name", text}}}});
    };
    std::string lost = track.dropped ? " (" + std::to_string(track.dropped) + " later events left out)" : "";
    name("process_name", 0, "rank " + std::to_string(rank) + lost);
    for (int row = 0; row < static_cast<int>(std::size(Trace::rowNames)); ++row)
      name("thread_name", row, rowNames[row]);
    for (const Event &event : track.events) {
      Json json = {{"ph", "X"},
                   {"pid", rank},
                   {"tid", static_cast<int>(event.row)},
                   {"ts", microseconds(event.time.begin - start)},
                   {"dur", microseconds(event.time.end - event.time.begin)},
                   {"cat", event.kind},
                   {"name", event.name}};
      if (!event.group.empty())
        json["args"]["group"] = event.group;
      if (event.bytes)
        json["args"]["bytes"] = event.bytes;
      put(json);
    }
  }
  file << "\n]}\n";
  file.close();
  if (!file)
    failInput("cannot write the trace '", path, "'");
}

} // namespace caat::runtime
