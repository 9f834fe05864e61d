// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Tokens as text, for reports.
#ifndef CAAT_ABLATE_VOCABULARY_H
#define CAAT_ABLATE_VOCABULARY_H

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>

namespace caat::ablate {

/// The table of a tokenizer.json (Hugging Face tokenizers): enough to read what a model writes, not to encode.
class Vocabulary {
public:
  /// Nothing where there is no such file, or where it has no table of that form.
  static std::optional<Vocabulary> read(const std::string &path);

  /// The text of tokens: of byte-level BPE, SentencePiece with its byte tokens, or words as they are. Unknown tokens
  /// are written as <ID>.
  std::string decode(std::span<const int64_t> tokens) const;

private:
  enum class Form { Bytes, Pieces, Words };
  std::unordered_map<int64_t, std::string> texts;
  Form form = Form::Words;
};

} // namespace caat::ablate

#endif
