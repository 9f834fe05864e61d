// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Which version of ONNX's own operators a file needs.
#ifndef CAAT_LIB_EXPORT_OPSETS_H
#define CAAT_LIB_EXPORT_OPSETS_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include "onnx.pb.h"

namespace caat {

/// Collects the nodes of a file and finds the lowest opset in which all of them mean what they should.
class OpsetChoice {
public:
  /// Element types of a node's inputs or outputs; UNDEFINED for one that is not given.
  using Types = llvm::ArrayRef<::onnx::TensorProto::DataType>;

  /// A node in the form that the dialect has, the newest one.
  void add(const ::onnx::NodeProto &node, Types inputs, Types outputs);
  /// A node that is written as it was read from a file of opset `version`, which is kept where nothing speaks against
  /// it.
  void addUnknown(const ::onnx::NodeProto &node, int64_t version);

  /// The opset; the error names the nodes that cannot be in one file.
  llvm::Expected<int64_t> get() const;

private:
  void raise(int64_t version, const llvm::Twine &by);
  void lower(int64_t version, const llvm::Twine &by);

  int64_t low = 13; ///< Squeeze, Softmax and others got the form that the dialect has
  int64_t high = INT64_MAX, preferred = 0;
  std::string lowBy, highBy;
};

/// The version of the file format that came with an opset.
int64_t irVersionOf(int64_t opset);

} // namespace caat

#endif // CAAT_LIB_EXPORT_OPSETS_H
