// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/runtime/Communicator.h"
#include "caat/runtime/Error.h"
#include <algorithm>
#include <cstring>

namespace caat::runtime {

Link parseLink(const std::string &text) {
  std::string reason;
  std::optional<Link> link = Link::parse(text, reason);
  if (!link)
    failInput("link '", text, "': ", reason);
  return *link;
}

void Communicator::checkSchedule(std::string_view digest) {
  // A fixed size, so that this exchange itself cannot disagree; longer digests are compared by their ends too.
  constexpr size_t bytes = 128;
  std::string mine(digest.substr(0, bytes / 2));
  mine.resize(bytes / 2, '\0');
  mine += digest.substr(digest.size() - std::min(digest.size(), bytes / 2));
  mine.resize(bytes, '\0');
  std::string all(bytes * static_cast<size_t>(size()), '\0');
  allGatherBytes("schedule digest", mine.data(), all.data(), bytes);
  for (int other = 0; other < size(); ++other)
    if (std::memcmp(all.data(), all.data() + bytes * static_cast<size_t>(other), bytes) != 0)
      failRun("rank ", other, " runs another schedule of collectives than rank 0 (digest '",
              all.substr(bytes * static_cast<size_t>(other), bytes / 2).c_str(), "' against '",
              all.substr(0, bytes / 2).c_str(), "'): are the artifacts of one compilation?");
}

} // namespace caat::runtime
