// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Ablate/Choice.h"
#include <cstdio>

namespace caat::ablate {

std::string Choice::text() const {
  if (isFull())
    return "full";
  char share[32];
  std::snprintf(share, sizeof share, " %g", shared);
  std::string text;
  if (isDropped())
    text = "drop";
  else if (shared < 1)
    text = (isPrivate ? "private" : "defer") + std::string(share);
  if (bits) {
    text += (text.empty() ? "" : " ") + std::to_string(bits) + " bits";
    if (block != 32)
      text += " in " + std::to_string(block);
    if (exact)
      text += ", " + std::to_string(exact) + " exact";
    if (!feedback)
      text += ", plain";
  }
  if (isPrivate && scalesBySqrt)
    text += " sqrt";
  if (!isDropped() && order != (bits ? Order::Magnitude : Order::Residual))
    text += order == Order::Energy     ? " energy"
            : order == Order::Index    ? " index"
            : order == Order::Residual ? " residual"
                                       : " magnitude";
  if (!isPrivate && shared < 1 && estimate != Estimate::None)
    text += estimate == Estimate::Mean ? " mean" : " affine";
  return text;
}

bool isPossible(const Choice &choice, const runtime::SiteSpec &site) {
  if (choice.bits && choice.feedback && (!site.notDeferrable.empty() || site.flushes))
    return false;
  if (choice.getShared(site.channels) == site.channels)
    return choice.shared >= 1;
  return choice.isPrivate ? site.notPrivate.empty() : site.notDeferrable.empty() && !site.flushes;
}

std::string describe(const Choices &choices, const runtime::Manifest &manifest) {
  std::string text;
  for (size_t i = 0; i < choices.size(); ++i)
    if (!choices[i].isFull())
      text += (text.empty() ? "" : ", ") + manifest.sites[i].name + " " + choices[i].text();
  return text.empty() ? "full" : text;
}

} // namespace caat::ablate
