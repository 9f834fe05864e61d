// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "NumpyFile.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Endian.h"

using namespace caat;
using llvm::StringRef;

llvm::Expected<llvm::SmallVector<int64_t>> caat::parseNumpyInts(StringRef content) {
  auto wrong = [](const llvm::Twine &message) {
    return llvm::createStringError("is no .npy list of integers: " + message);
  };
  if (!content.consume_front("\x93NUMPY") || content.size() < 4)
    return wrong("it does not start as one");
  uint8_t major = content[0];
  content = content.drop_front(2);
  size_t headerSize = llvm::support::endian::read16le(content.data());
  size_t skip = 2;
  if (major >= 2) {
    if (content.size() < 4)
      return wrong("its header is cut off");
    headerSize = llvm::support::endian::read32le(content.data());
    skip = 4;
  }
  if (content.size() - skip < headerSize)
    return wrong("its header is cut off");
  StringRef header = content.substr(skip, headerSize), data = content.drop_front(skip + headerSize);
  size_t width = header.contains("'<i8'") ? 8 : header.contains("'<i4'") ? 4 : 0;
  if (width == 0 || header.contains("'fortran_order': True"))
    return wrong("elements must be int32 or int64");
  // 'shape': (576,)
  StringRef shape = header.split("'shape':").second.ltrim();
  size_t count;
  if (!shape.consume_front("(") || shape.consumeInteger(10, count) || !shape.consume_front(",") ||
      !shape.ltrim().starts_with(")"))
    return wrong("it must have one dimension");
  if (data.size() % width != 0 || data.size() / width != count)
    return wrong("it holds " + llvm::Twine(data.size()) + " bytes for " + llvm::Twine(count) + " elements");
  llvm::SmallVector<int64_t> values;
  for (size_t i = 0; i < count; ++i)
    values.push_back(width == 8 ? int64_t(llvm::support::endian::read64le(data.data() + i * 8))
                                : int64_t(int32_t(llvm::support::endian::read32le(data.data() + i * 4))));
  return values;
}
