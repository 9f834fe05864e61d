// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "QuantizedPieces.h"
#include "../comm/Quantize.h"

namespace caat::runtime::cuda {

/// A run without a cache has another number of rows at every step.
constexpr size_t maxTables = 256;

const QuantizedPieces::Table &QuantizedPieces::of(const WireFormat &format, int64_t rows, int ranks) {
  auto key = std::pair(&format, rows);
  if (auto found = tables.find(key); found != tables.end())
    return found->second;
  if (tables.size() >= maxTables)
    tables.clear();
  Table table;
  std::vector<QuantizedPiece> pieces;
  QuantizedRows layout(format, rows, ranks);
  for (int owner = 0; owner < ranks; ++owner) {
    auto first = static_cast<int64_t>(pieces.size());
    layout.forEachPiece(owner, [&](const WirePiece &piece) {
      pieces.push_back({piece.row, piece.block, piece.begin, piece.length, piece.exactBegin, piece.exacts});
    });
    table.owned.emplace_back(first, static_cast<int64_t>(pieces.size()) - first);
  }
  std::vector<long long> exact(format.exact.begin(), format.exact.end());
  size_t pieceBytes = pieces.size() * sizeof(QuantizedPiece), exactBytes = exact.size() * sizeof(long long);
  table.memory = device.allocate(pieceBytes + exactBytes, "the pieces of a message");
  device.upload(table.memory.get(), pieces.data(), pieceBytes);
  device.upload(table.memory.get() + pieceBytes, exact.data(), exactBytes);
  table.pieces = reinterpret_cast<const QuantizedPiece *>(table.memory.get());
  table.exact = reinterpret_cast<const long long *>(table.memory.get() + pieceBytes);
  table.count = static_cast<int64_t>(pieces.size());
  table.exacts = static_cast<int64_t>(exact.size());
  return tables.emplace(key, std::move(table)).first->second;
}

} // namespace caat::runtime::cuda
