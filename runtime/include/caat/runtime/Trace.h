// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What each rank did when, for a viewer of Chrome traces (Perfetto, chrome://tracing): one process for each rank, with
// a row for its work and rows for what it sends. Ranks that are processes of their own give rank 0 what they have.
#ifndef CAAT_RUNTIME_TRACE_H
#define CAAT_RUNTIME_TRACE_H

#include <chrono>
#include <cstdint>
#include <deque>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace caat::runtime {

class Peers;

struct Interval {
  std::chrono::steady_clock::time_point begin, end;
};

/// A moment in a device's work: a time, or an event whose time is known later.
struct Moment {
  std::chrono::steady_clock::time_point time = {};
  void *event = nullptr;
};

class Trace {
public:
  enum class Row {
    Compute,       // kernels and products, one after the other, and waiting for what goes on beside them
    Communication, // collectives, which the rank waits for, or which were started
    Transfer       // weights that travel beside the work
  };
  static constexpr const char *rowNames[] = {"compute", "communication", "transfers"};
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
    Track() = default;
    Track(Track &&) = default; // a copy's events would have the texts of the original

    void add(const Event &event) {
      if (events.size() < maxEvents)
        events.push_back(event);
      else
        ++dropped;
    }

    /// As bytes for another process, with times of rank 0's clock; and back. The latter throws Error (Run).
    std::vector<char> pack(const Peers &peers) const;
    static Track unpack(const std::vector<char> &bytes);

  private:
    friend class Trace;
    static constexpr size_t maxEvents = 1 << 20;
    std::vector<Event> events;
    std::deque<std::string> texts; // of an unpacked track
    int64_t dropped = 0;           // behind the first maxEvents
  };

  /// Of the ranks of this process. Opens the file at once, so that a wrong path is found before the work is done; but
  /// with peers only rank 0 does. Throws Error (Input).
  Trace(const std::string &path, int ranks, std::shared_ptr<Peers> peers = {});
  /// By the rank's place in this process.
  Track &at(int index) { return tracks.at(static_cast<size_t>(index)); }
  /// Writes all events of all ranks, once; with peers every rank calls it, and rank 0 writes. Throws Error (Input)
  /// where the file cannot be written.
  void write();

private:
  void writeTracks();

  std::string path;
  std::shared_ptr<Peers> peers;
  std::ofstream file;
  std::deque<Track> tracks;
};

} // namespace caat::runtime

#endif
