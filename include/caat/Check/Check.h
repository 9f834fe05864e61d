// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Will a model shard, and what would it take? Answered from its graph alone.
#ifndef CAAT_CHECK_CHECK_H
#define CAAT_CHECK_CHECK_H

#include "mlir/Pass/PassOptions.h"

namespace caat {

struct CheckOptions : mlir::PassPipelineOptions<CheckOptions> {
  ListOption<int64_t> sizes{*this, "size", llvm::cl::desc("Numbers of ranks to look at closely (default 2,4,8)")};
  Option<std::string> link{*this, "link", llvm::cl::desc("Bandwidth and latency between ranks, e.g. 10GB/s,5us")};
  ListOption<std::string> dims{*this, "dim", llvm::cl::desc("Size of a named dimension, NAME=VALUE (default 1)")};
  Option<int64_t> prefill{*this, "prefill", llvm::cl::desc("Tokens of a prompt"), llvm::cl::init(512)};
  Option<int64_t> context{*this, "context", llvm::cl::desc("Positions of the key-value cache"), llvm::cl::init(1024)};
  Option<int64_t> limit{*this, "limit", llvm::cl::desc("Judge all numbers of ranks up to this one"),
                        llvm::cl::init(16)};
  Option<bool> json{*this, "json", llvm::cl::desc("Write JSON"), llvm::cl::init(false)};
  Option<bool> timing{*this, "timing", llvm::cl::desc("Print the time of each stage on standard error"),
                      llvm::cl::init(false)};
};

/// Prints which numbers of ranks `model` (.onnx, or .mlir of the onnx dialect) can be split over and why, and for the
/// sizes asked for what is padded, a rank's bytes of weights and cache, its messages, and their time over a link.
/// Weights are not read, and external files may be absent. Errors go to standard error.
mlir::LogicalResult checkModel(llvm::StringRef model, const CheckOptions &options, llvm::raw_ostream &os);

/// The same, with the options as `--tp-check=` takes them.
mlir::LogicalResult checkModel(llvm::StringRef model, llvm::StringRef options, llvm::raw_ostream &os);

} // namespace caat

#endif // CAAT_CHECK_CHECK_H
