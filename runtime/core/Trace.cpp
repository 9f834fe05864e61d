// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/runtime/Trace.h"
#include "caat/runtime/Error.h"
#include <algorithm>
#include <nlohmann/json.hpp>

namespace caat::runtime {

using Json = nlohmann::ordered_json;

static constexpr const char *rowNames[] = {"compute", "communication", "transfers"};

Trace::Trace(const std::string &path, int ranks) : path(path), file(path), tracks(static_cast<size_t>(ranks)) {
  if (!file)
    failInput("cannot write the trace '", path, "'");
}

/// {"traceEvents": [...]}, one event a line. Times are microseconds since the first event of any rank.
void Trace::write() {
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
    for (int row = 0; row < static_cast<int>(std::size(rowNames)); ++row)
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
