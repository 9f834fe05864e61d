// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Ablate/Choice.h"
#include <cstdio>

namespace caat::ablate {

std::string Choice::text() const {
  if (isFull())
    return "full";
  char share[32];
  std::snprintf(share, sizeof share, " %g", shared);
  std::string text = isDropped() ? "drop" : (isPrivate ? "private" : "defer") + std::string(share);
  if (isPrivate && scalesBySqrt)
    text += " sqrt";
  if (!isDropped() && order != Order::Residual)
    text += order == Order::Energy ? " energy" : " index";
  if (!isPrivate && estimate != Estimate::None)
    text += estimate == Estimate::Mean ? " mean" : " affine";
  return text;
}

bool isPossible(const Choice &choice, const runtime::SiteSpec &site) {
  if (choice.getShared(site.channels) == site.channels)
    return choice.isFull();
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
