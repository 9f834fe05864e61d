// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A plan and the files that it names, which the first byte chooses between.
#include "Fuzz.h"
#include "caat/runtime/Plan.h"

using namespace caat;
using runtime::Plan;
using runtime::PlanEntry;
using runtime::SiteEstimate;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0)
    return 0;
  static fuzz::Folder folder;
  std::string_view content(reinterpret_cast<const char *>(data + 1), size - 1);
  std::string error;
  auto plan = [&](std::string_view text) { return runtime::tryParsePlan(text, folder.path + "/plan.json", error); };
  switch (data[0] % 3) {
  case 0: {
    std::optional<Plan> read = plan(content);
    if (!read)
      break;
    const PlanEntry &entry = read->lookup("layers.0.attn");
    if (int64_t shared = entry.getShared(100); shared < 0 || shared > 100)
      std::abort();
    (void)entry.getScale(2);
    (void)runtime::tryCheckChannels(*read, entry, "layers.0.attn", 100);
    break;
  }
  case 1: {
    folder.write("order.npy", content.data(), content.size());
    plan(R"({"version": 1, "default": {"sync": "partial", "shared": 0.5, "order": "order.npy"}})");
    break;
  }
  case 2: {
    folder.write("e.safetensors", content.data(), content.size());
    std::optional<Plan> read = plan(R"({"version": 1, "default": {"sync": "drop", "estimate": "e.safetensors"}})");
    if (!read)
      std::abort();
    std::optional<SiteEstimate> estimate = runtime::tryReadEstimate(*read, read->defaults, "s", 2, 2, error);
    if (estimate && (estimate->a.size() != 4 || estimate->u.size() != size_t(4 * estimate->inner)))
      std::abort();
  }
  }
  return 0;
}
