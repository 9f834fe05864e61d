// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Ablate/Vocabulary.h"
#include <fstream>
#include <nlohmann/json.hpp>

namespace caat::ablate {

using Json = nlohmann::json;

static constexpr std::string_view pieceSpace = "\u2581"; // what SentencePiece writes for a space

std::optional<Vocabulary> Vocabulary::read(const std::string &path) {
  std::ifstream file(path);
  Json json = Json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("model") || !json["model"].is_object())
    return std::nullopt;
  Vocabulary result;
  const Json &table = json["model"].value("vocab", Json());
  if (table.is_object()) {
    for (const auto &[text, id] : table.items())
      if (id.is_number_integer())
        result.texts[id.get<int64_t>()] = text;
  } else if (table.is_array()) { // Unigram: [text, score] by number
    for (size_t i = 0; i < table.size(); ++i)
      if (table[i].is_array() && !table[i].empty() && table[i][0].is_string())
        result.texts[static_cast<int64_t>(i)] = table[i][0];
  }
  if (const Json &added = json.value("added_tokens", Json::array()); added.is_array())
    for (const Json &token : added)
      if (token.is_object() && token.value("id", Json()).is_number_integer() &&
          token.value("content", Json()).is_string())
        result.texts[token["id"].get<int64_t>()] = token["content"];
  if (result.texts.empty())
    return std::nullopt;
  std::string decoder = json.value("decoder", Json()).dump();
  if (decoder.find("\"ByteLevel\"") != std::string::npos)
    result.form = Form::Bytes;
  else if (decoder.find(pieceSpace) != std::string::npos || decoder.find("\"Metaspace\"") != std::string::npos)
    result.form = Form::Pieces;
  return result;
}

/// The byte that byte-level BPE writes as this character: printable ones as themselves, the 68 others, in order, as
/// U+0100 and so on. -1 for what stands for none.
static int byteOf(uint32_t character) {
  auto isItself = [](uint32_t c) {
    return (c >= 0x21 && c <= 0x7e) || (c >= 0xa1 && c <= 0xac) || (c >= 0xae && c <= 0xff);
  };
  if (character < 0x100)
    return isItself(character) ? static_cast<int>(character) : -1;
  uint32_t left = character - 0x100;
  for (uint32_t byte = 0; byte < 0x100; ++byte)
    if (!isItself(byte) && left-- == 0)
      return static_cast<int>(byte);
  return -1;
}

/// Characters below U+0800 to their bytes; the rest, of added tokens, as it is.
static std::string decodeBytes(const std::string &text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    auto first = static_cast<unsigned char>(text[i]);
    bool isPair = first >= 0xc2 && first < 0xe0 && i + 1 < text.size();
    uint32_t character = isPair ? (first & 0x1fu) << 6 | (static_cast<unsigned char>(text[i + 1]) & 0x3fu) : first;
    int byte = first < 0x80 || isPair ? byteOf(character) : -1;
    if (byte < 0) {
      result += text[i];
      continue;
    }
    result += static_cast<char>(byte);
    i += isPair;
  }
  return result;
}

/// Spaces for their signs, and <0x41> for a byte.
static std::string decodePiece(std::string text) {
  if (text.size() == 6 && text.starts_with("<0x") && text.ends_with(">"))
    return std::string(1, static_cast<char>(std::strtol(text.substr(3, 2).c_str(), nullptr, 16)));
  for (size_t at; (at = text.find(pieceSpace)) != std::string::npos;)
    text.replace(at, pieceSpace.size(), " ");
  return text;
}

std::string Vocabulary::decode(std::span<const int64_t> tokens) const {
  std::string result;
  for (int64_t token : tokens) {
    auto found = texts.find(token);
    if (found == texts.end())
      result += "<" + std::to_string(token) + ">";
    else if (form == Form::Bytes)
      result += decodeBytes(found->second);
    else if (form == Form::Pieces)
      result += decodePiece(found->second);
    else if (found->second.starts_with("##")) // WordPiece
      result += found->second.substr(2);
    else
      result += (result.empty() ? "" : " ") + found->second;
  }
  return result;
}

} // namespace caat::ablate
