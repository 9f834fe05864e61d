// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Opsets.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringMap.h"

using namespace llvm;
using namespace caat;
using ::onnx::NodeProto;
using ::onnx::TensorProto;

namespace {

/// The element types that inputs or outputs take, as masks of TensorProto.DataType.
class TypeMasks {
public:
  /// "13cfe,20", the last with "*" where it stands for any number.
  explicit TypeMasks(StringRef text) : variadic(text.ends_with("*")) {
    SmallVector<StringRef> parts;
    text.split(parts, ',', /*MaxSplit=*/-1, /*KeepEmpty=*/false);
    for (StringRef part : parts) {
      uint64_t mask = 0;
      (void)part.rtrim('*').getAsInteger(16, mask);
      masks.push_back(mask);
    }
  }

  bool take(OpsetChoice::Types types) const {
    if (types.size() > masks.size() && !variadic)
      return false;
    for (auto [i, type] : llvm::enumerate(types))
      if (type != TensorProto::UNDEFINED && !(masks[std::min(i, masks.size() - 1)] >> type & 1))
        return false;
    return true;
  }

private:
  SmallVector<uint64_t, 4> masks;
  bool variadic;
};

struct Version {
  int64_t since;
  bool sameForm; ///< as the version before
  StringRef attributes;
  TypeMasks inputs, outputs;

  bool hasAttribute(StringRef name) const {
    SmallVector<StringRef> names;
    attributes.split(names, ',');
    return llvm::is_contained(names, name);
  }
};

} // namespace

/// The versions of an operator, oldest first; none for one that ONNX does not have.
static ArrayRef<Version> versionsOf(StringRef op) {
  static const auto table = [] {
    llvm::StringMap<SmallVector<Version, 0>> table;
#define OPERATOR_VERSION(NAME, SINCE, SAME, ATTRIBUTES, INPUTS, OUTPUTS)                                               \
  table[NAME].push_back({SINCE, SAME, ATTRIBUTES, TypeMasks(INPUTS), TypeMasks(OUTPUTS)});
#include "OperatorHistory.inc"
#undef OPERATOR_VERSION
    return table;
  }();
  auto found = table.find(op);
  return found == table.end() ? ArrayRef<Version>() : ArrayRef<Version>(found->second);
}

static std::string describe(const NodeProto &node) { return "node '" + node.name() + "' (" + node.op_type() + ")"; }

/// What attributes' values need beyond the attributes themselves, and meanings that changed within one form.
static int64_t gate(const NodeProto &node) {
  StringRef op = node.op_type();
  if (op == "GroupNormalization")
    return 21; // scale and bias of each channel, not of each group
  for (const auto &attribute : node.attribute()) {
    if (attribute.name() == "reduction" && (attribute.s() == "max" || attribute.s() == "min"))
      return 18;
    if (op == "Pad" && attribute.name() == "mode" && attribute.s() == "wrap")
      return 19;
  }
  return 0;
}

void OpsetChoice::raise(int64_t version, const Twine &by) {
  if (version > low) {
    low = version;
    lowBy = by.str();
  }
}

void OpsetChoice::lower(int64_t version, const Twine &by) {
  if (version < high) {
    high = version;
    highBy = by.str();
  }
}

void OpsetChoice::add(const NodeProto &node, Types inputs, Types outputs) {
  ArrayRef<Version> versions = versionsOf(node.op_type());
  if (versions.empty())
    return;
  auto fits = [&](const Version &version) {
    return version.inputs.take(inputs) && version.outputs.take(outputs) &&
           llvm::all_of(node.attribute(),
                        [&](const auto &attribute) { return version.hasAttribute(attribute.name()); });
  };
  // From the newest version down, as long as the node can be written so.
  int64_t needed = versions.back().since;
  for (const Version &version : llvm::reverse(versions)) {
    if (!fits(version))
      break;
    needed = version.since;
  }
  raise(std::max(needed, gate(node)), describe(node));
}

void OpsetChoice::addUnknown(const NodeProto &node, int64_t version) {
  ArrayRef<Version> versions = versionsOf(node.op_type());
  preferred = std::max(preferred, version);
  size_t at = versions.size();
  while (at > 0 && versions[at - 1].since > version)
    --at;
  if (at == 0)
    return; // ONNX does not know it, or not yet: what it means is between the file and its runtime
  size_t first = at - 1;
  while (first > 0 && versions[first].sameForm)
    --first;
  raise(versions[first].since, describe(node));
  while (at < versions.size() && versions[at].sameForm)
    ++at;
  if (at < versions.size())
    lower(versions[at].since - 1, describe(node));
}

llvm::Expected<int64_t> OpsetChoice::get() const {
  if (low <= high)
    return std::clamp(preferred, low, high);
  StringRef needs = lowBy.empty() ? StringRef("what is written around it") : StringRef(lowBy);
  return llvm::createStringError(highBy + " means what it does up to opset " + Twine(high) + " only, and " + needs +
                                 " needs opset " + Twine(low));
}

int64_t caat::irVersionOf(int64_t opset) {
  // The first opset of each version from 7 on.
  constexpr std::pair<int64_t, int64_t> first[] = {{28, 14}, {25, 13}, {24, 12}, {23, 11}, {21, 10}, {19, 9}, {15, 8}};
  for (auto [since, version] : first)
    if (opset >= since)
      return version;
  return 7;
}
