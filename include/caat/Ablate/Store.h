// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What has been measured, in a file that grows line by line: an interrupted run goes on where it stopped.
#ifndef CAAT_ABLATE_STORE_H
#define CAAT_ABLATE_STORE_H

#include "caat/runtime/Judge.h"
#include <fstream>
#include <map>

namespace caat::ablate {

class Store {
public:
  /// Keeps nothing.
  Store() = default;
  /// Reads `path` where it exists; a last line that is cut off is dropped. Throws Error (Input) where the file was
  /// written for another `identity` (model, text, options that decide the figures) or is damaged elsewhere.
  Store(const std::string &path, const std::string &identity);

  /// What a plan gave on a batch of a text; null where it is not known.
  const runtime::Judgement *find(const std::string &key, int64_t batch) const;
  /// Throws Error (Run) where it cannot be written.
  void add(const std::string &key, int64_t batch, runtime::Judgement judgement);
  size_t size() const { return known.size(); }

  /// Times that were measured, so that a run that goes on chooses as if it had not been stopped; null where unknown.
  const std::vector<double> *findTimes(const std::string &what) const;
  void addTimes(const std::string &what, std::vector<double> seconds);

private:
  std::string path;
  std::ofstream file;
  std::map<std::pair<std::string, int64_t>, runtime::Judgement> known;
  std::map<std::string, std::vector<double>> times;

  template <typename T> void write(const T &line);
};

} // namespace caat::ablate

#endif
