// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The entries of a tensor's external data, one `key=value` a line; the file next to the model has 512 bytes. Nothing
// but that file may be accepted.
#include "Fuzz.h"
#include "Pipeline.h"
#include "caat/Import/Import.h"
#include "dialects/onnx/ONNX.h"

#include "onnx.pb.h"

using namespace caat;

static ::onnx::ModelProto makeModel(llvm::StringRef entries) {
  ::onnx::ModelProto model;
  model.set_ir_version(10);
  model.add_opset_import()->set_version(24);
  auto *graph = model.mutable_graph();
  auto value = [](::onnx::ValueInfoProto *info, const char *name) {
    info->set_name(name);
    auto *type = info->mutable_type()->mutable_tensor_type();
    type->set_elem_type(::onnx::TensorProto::FLOAT);
    type->mutable_shape()->add_dim()->set_dim_value(128);
  };
  value(graph->add_input(), "x");
  value(graph->add_output(), "y");
  auto *node = graph->add_node();
  node->set_op_type("Add");
  node->add_input("x");
  node->add_input("w");
  node->add_output("y");
  auto *tensor = graph->add_initializer();
  tensor->set_name("w");
  tensor->set_data_type(::onnx::TensorProto::FLOAT);
  tensor->add_dims(128);
  tensor->set_data_location(::onnx::TensorProto::EXTERNAL);
  while (!entries.empty()) {
    llvm::StringRef line;
    std::tie(line, entries) = entries.split('\n');
    auto [key, text] = line.split('=');
    auto *entry = tensor->add_external_data();
    entry->set_key(key.str());
    entry->set_value(text.str());
  }
  return model;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static fuzz::Folder folder;
  static fuzz::Session session;
  static std::string weights = folder.write("weights.bin", std::string(512, '\1').data(), 512);
  std::string bytes = makeModel({reinterpret_cast<const char *>(data), size}).SerializeAsString();
  std::string path = folder.write("model.onnx", bytes.data(), bytes.size());
  mlir::FailureOr<mlir::OwningOpRef<mlir::ModuleOp>> module = importONNX(path, &session.next());
  if (failed(module))
    return 0;
  for (auto initializer : (*module)->getOps<caat::onnx::InitializerOp>()) {
    llvm::SmallVector<llvm::StringRef> parts;
    initializer.getFile().split(parts, '/', -1, /*KeepEmpty=*/false);
    llvm::erase(parts, ".");
    bool own = initializer.getFile() == "model.onnx"; // which it may name too, where it is long enough
    if (!own && (parts != llvm::ArrayRef<llvm::StringRef>{"weights.bin"} || initializer.getOffset() != 0))
      std::abort();
  }
  return 0;
}
