// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What each rank did when, for a viewer of Chrome traces (Perfetto, chrome://tracing): one process for each rank, with
// a row for its work and rows for what it sends.
#ifndef CAAT_RUNTIME_TRACE_H
#define CAAT_RUNTIME_TRACE_H

#include <chrono>
#include <cstdint>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

namespace caat::runtime {

struct Interval {
  std::chrono::steady_clock::time_point begin, end;
};

class Trace {
public:
  enum class Row {
    Compute,       // kernels and products, one after the other, and waiting for transfers
    Communication, // collectives, which the rank waits for
    Transfer       // weights that travel beside the work
  };
  struct Event {
    Row row;
    std::string_view kind;        // kernel, product, all_reduce, …
    std::string_view name, group; // of the weights it reads, where they travel; the texts must outlive the trace
    Interval time;
    int64_t bytes = 0; // sent, where it is communication
  };
  /// The events of one rank: only its thread may add any.
  class Track {
  public:
    void add(const Event &event) {
      if (events.size() < maxEvents)
        events.push_back(event);
      else
        ++dropped;
    }

  private:
    friend class Trace;
    static constexpr size_t maxEvents = 1 << 20;
    std::vector<Event> events;
    int64_t dropped = 0; // behind the first maxEvents
  };

  /// Opens the file at once, so that a wrong path is found before the work is done. Throws Error (Input).
  Trace(const std::string &path, int ranks);
  Track &at(int rank) { return tracks.at(static_cast<size_t>(rank)); }
  /// Writes all events, once. Throws Error (Input) where the file cannot be written.
  void write();

private:
  std::string path;
  std::ofstream file;
  std::vector<Track> tracks;
};

} // namespace caat::runtime

#endif
