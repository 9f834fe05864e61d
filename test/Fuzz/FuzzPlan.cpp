// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A plan and the files that it names, which the first byte chooses between.
#include "Fuzz.h"
#include "caat/Sync/Plan.h"

using namespace caat;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0)
    return 0;
  static fuzz::Folder folder;
  llvm::StringRef content(reinterpret_cast<const char *>(data + 1), size - 1);
  auto plan = [&](llvm::StringRef text) { return parsePlan(text, folder.path + "/plan.json"); };
  switch (data[0] % 3) {
  case 0: {
    llvm::Expected<Plan> read = plan(content);
    if (!read) {
      llvm::consumeError(read.takeError());
      break;
    }
    const PlanEntry &entry = read->lookup("layers.0.attn");
    if (int64_t shared = entry.getShared(100); shared < 0 || shared > 100)
      std::abort();
    (void)entry.getScale(2);
    break;
  }
  case 1: {
    folder.write("order.npy", content.data(), content.size());
    llvm::Expected<Plan> read =
        plan(R"({"version": 1, "default": {"sync": "partial", "shared": 0.5, "order": "order.npy"}})");
    if (!read)
      llvm::consumeError(read.takeError());
    break;
  }
  case 2: {
    folder.write("e.safetensors", content.data(), content.size());
    llvm::Expected<Plan> read = plan(R"({"version": 1, "default": {"sync": "drop", "estimate": "e.safetensors"}})");
    if (!read)
      std::abort();
    llvm::Expected<SiteEstimate> estimate = readEstimate(*read, read->defaults, "s", 2, 2);
    if (!estimate)
      llvm::consumeError(estimate.takeError());
  }
  }
  return 0;
}
