// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Artifact/OutputFile.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/Path.h"

using namespace caat;
namespace fs = llvm::sys::fs;

OutputFile::OutputFile(fs::TempFile file, std::string path)
    : temporary(std::move(file)), stream(std::make_unique<llvm::raw_fd_ostream>(temporary->FD, /*shouldClose=*/false)),
      path(std::move(path)) {
  stream->SetBufferSize(1 << 20);
}

llvm::Expected<OutputFile> OutputFile::create(llvm::StringRef directory, llvm::StringRef name) {
  llvm::SmallString<256> path(directory);
  llvm::sys::path::append(path, name);
  llvm::Expected<fs::TempFile> file = fs::TempFile::create(path + ".%%%%%%.tmp", fs::all_read | fs::owner_write);
  if (!file)
    return llvm::createStringError("cannot write " + path.str() + ": " + llvm::toString(file.takeError()));
  return OutputFile(std::move(*file), path.str().str());
}

OutputFile::~OutputFile() {
  if (stream) { // given up: what could not be written does not matter
    stream->flush();
    stream->clear_error();
  }
  stream.reset();
  if (temporary && !temporary->TmpName.empty())
    llvm::consumeError(temporary->discard());
}

llvm::Error OutputFile::status() {
  if (std::error_code error = stream->error())
    return llvm::createStringError("cannot write " + path + ": " + error.message());
  return llvm::Error::success();
}

llvm::Error OutputFile::keep() {
  stream->flush();
  if (llvm::Error error = status())
    return error;
  stream.reset();
  llvm::Error result = temporary->keep(path);
  temporary.reset();
  if (result)
    return llvm::createStringError("cannot write " + path + ": " + llvm::toString(std::move(result)));
  return llvm::Error::success();
}
