// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "CodeGen.h"
#include "caat/Artifact/Compile.h"
#include "caat/Artifact/OutputFile.h"
#include "caat/Lower/Program.h"
#include "caat/runtime/Digest.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/AsmParser/Parser.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/InlineAsm.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/IR/Verifier.h"
#include "llvm/Linker/Linker.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Transforms/Utils/Cloning.h"

using namespace caat;

/// Kernels are for these chips and, as PTX, for every later one; PTX of this version is known since CUDA 12.0.
static constexpr unsigned kLeastArch = 80, kDependentArch = 90;
static constexpr llvm::StringLiteral kPtxVersion = "+ptx80";

std::optional<unsigned> caat::gpuArch(llvm::StringRef name) {
  unsigned number = 0;
  if (!name.consume_front("sm_") || name.consumeInteger(10, number) || !(name.empty() || name == "a") ||
      number < kLeastArch)
    return std::nullopt;
  return number;
}

static llvm::Expected<std::unique_ptr<llvm::TargetMachine>> createMachine(unsigned arch) {
  LLVMInitializeNVPTXTargetInfo();
  LLVMInitializeNVPTXTarget();
  LLVMInitializeNVPTXTargetMC();
  LLVMInitializeNVPTXAsmPrinter();
  llvm::Triple triple("nvptx64-nvidia-cuda");
  std::string error;
  const llvm::Target *found = llvm::TargetRegistry::lookupTarget(triple, error);
  if (!found)
    return llvm::createStringError("no code generator for " + triple.str() + ": " + error);
  llvm::TargetOptions options;
  options.AllowFPOpFusion = llvm::FPOpFusion::Standard;
  return std::unique_ptr<llvm::TargetMachine>(
      found->createTargetMachine(triple, ("sm_" + llvm::Twine(arch)).str(), kPtxVersion, options, std::nullopt,
                                 std::nullopt, llvm::CodeGenOptLevel::Aggressive));
}

static std::string findPtxas() {
  if (llvm::ErrorOr<std::string> found = llvm::sys::findProgramByName("ptxas"))
    return *found;
  llvm::SmallVector<std::string> roots;
  for (llvm::StringRef variable : {"CUDA_HOME", "CUDA_PATH"})
    if (std::optional<std::string> value = llvm::sys::Process::GetEnv(variable))
      roots.push_back(*value);
  roots.push_back("/usr/local/cuda");
  for (const std::string &root : roots) {
    llvm::SmallString<128> path(root);
    llvm::sys::path::append(path, "bin", "ptxas");
    if (llvm::sys::fs::can_execute(path))
      return path.str().str();
  }
  return "";
}

static llvm::Error assemble(llvm::StringRef ptxas, llvm::StringRef arch, llvm::StringRef ptx, llvm::StringRef cubin) {
  llvm::SmallString<128> log;
  if (std::error_code error = llvm::sys::fs::createTemporaryFile("caat-ptxas", "log", log))
    return llvm::createStringError("cannot make a temporary file: " + error.message());
  std::string message, option = ("-arch=" + arch).str();
  int status = llvm::sys::ExecuteAndWait(ptxas, {ptxas, option, "-O3", "-o", cubin, ptx}, std::nullopt,
                                         {std::nullopt, llvm::StringRef(log), llvm::StringRef(log)}, 0, 0, &message);
  std::string said;
  if (auto text = llvm::MemoryBuffer::getFile(log))
    said = (*text)->getBuffer().split('\n').first.str();
  (void)llvm::sys::fs::remove(log);
  if (status != 0)
    return llvm::createStringError(ptxas + " failed for " + arch + ": " + said + message);
  return llvm::Error::success();
}

/// A name that PTX leaves to a library would keep the driver from loading the kernels.
static llvm::Error checkSymbols(const llvm::Module &module) {
  for (const llvm::Function &function : module)
    if (function.isDeclaration() && !function.isIntrinsic() && !function.use_empty())
      return llvm::createStringError("a GPU kernel calls " + function.getName() + ", which no library of caat has");
  return llvm::Error::success();
}

#ifdef CAAT_SUM_ROWS
#include "SumRowsText.h"
#else
static constexpr llvm::StringRef kSumRowsText; // no clang was there that compiles it
#endif

bool caat::haveSumRows() { return !kSumRowsText.empty(); }

/// Gives `module` the functions that sum rows over the ranks, where its kernels call any.
static llvm::Error linkSumRows(llvm::Module &module) {
  auto calls = [](const llvm::Function &function) {
    return function.isDeclaration() && function.getName().starts_with(kSumFunction);
  };
  if (llvm::none_of(module, calls))
    return llvm::Error::success();
  llvm::SMDiagnostic problem;
  std::unique_ptr<llvm::Module> library = llvm::parseAssemblyString(kSumRowsText, problem, module.getContext());
  if (!library)
    return llvm::createStringError("the functions that sum rows cannot be read: " + problem.getMessage());
  library->setTargetTriple(module.getTargetTriple());
  library->setDataLayout(module.getDataLayout());
  llvm::SmallVector<std::string> names;
  for (llvm::Function &function : *library)
    if (!function.isDeclaration()) {
      function.removeFnAttr("target-cpu"); // that of the kernels
      function.removeFnAttr("target-features");
      names.push_back(function.getName().str());
    }
  if (llvm::Linker::linkModules(module, std::move(library), llvm::Linker::LinkOnlyNeeded))
    return llvm::createStringError("the functions that sum rows cannot be linked to the kernels");
  for (const std::string &name : names)
    if (llvm::Function *function = module.getFunction(name)) {
      function->setDSOLocal(true);
      function->setLinkage(llvm::GlobalValue::InternalLinkage);
      function->addFnAttr(llvm::Attribute::AlwaysInline);
    }
  return llvm::Error::success();
}

/// Makes each kernel begin with letting the next one start, and with waiting for those before it, which may still run.
///
/// What it was becomes a function that is called behind that. Its arguments' `noalias` turns into the scopes of what is
/// inlined, so nothing is loaded as if no kernel ever wrote it, through a cache that does not see what others write.
static void makeDependent(llvm::Module &module) {
  llvm::SmallVector<llvm::Function *> kernels;
  for (llvm::Function &function : module)
    if (function.getCallingConv() == llvm::CallingConv::PTX_Kernel)
      kernels.push_back(&function);
  llvm::LLVMContext &context = module.getContext();
  auto *control = llvm::InlineAsm::get(llvm::FunctionType::get(llvm::Type::getVoidTy(context), false),
                                       "griddepcontrol.launch_dependents;\n\tgriddepcontrol.wait;", "~{memory}",
                                       /*hasSideEffects=*/true);
  for (llvm::Function *body : kernels) {
    llvm::FunctionType *type = body->getFunctionType();
    auto *kernel = llvm::Function::Create(type, body->getLinkage(), "", module);
    kernel->takeName(body);
    kernel->copyAttributesFrom(body);
    for (unsigned i = 0; i < type->getNumParams(); ++i)
      kernel->removeParamAttr(i, llvm::Attribute::NoAlias);
    body->setName(kernel->getName() + "_rest");
    body->setLinkage(llvm::GlobalValue::InternalLinkage);
    body->setCallingConv(llvm::CallingConv::C);
    body->addFnAttr(llvm::Attribute::AlwaysInline);
    llvm::IRBuilder<> b(llvm::BasicBlock::Create(context, "", kernel));
    b.CreateCall(control);
    llvm::SmallVector<llvm::Value *> arguments;
    for (llvm::Argument &argument : kernel->args())
      arguments.push_back(&argument);
    b.CreateCall(body, arguments);
    b.CreateRetVoid();
  }
}

/// Kernels of `module` for chips from `arch` on.
static llvm::Expected<llvm::SmallString<0>> compilePtx(llvm::Module &module, unsigned arch) {
  llvm::Expected<std::unique_ptr<llvm::TargetMachine>> machine = createMachine(arch);
  if (!machine)
    return machine.takeError();
  module.setTargetTriple((*machine)->getTargetTriple());
  module.setDataLayout((*machine)->createDataLayout());
  if (arch >= kDependentArch)
    makeDependent(module);
  if (llvm::verifyModule(module, &llvm::errs()))
    return llvm::createStringError("the LLVM IR of the GPU kernels is not valid");
  optimizeModule(module, **machine);
  if (llvm::Error error = checkSymbols(module))
    return std::move(error);
  llvm::SmallString<0> ptx;
  llvm::raw_svector_ostream stream(ptx);
  {
    llvm::legacy::PassManager passes; // writes the last of it when it is destroyed
    if ((*machine)->addPassesToEmitFile(passes, stream, nullptr, llvm::CodeGenFileType::AssemblyFile))
      return llvm::createStringError("the code generator writes no PTX");
    passes.run(module);
  }
  return ptx;
}

llvm::Expected<caat::GPUCode> caat::writeGPUCode(mlir::gpu::GPUModuleOp source, llvm::ArrayRef<std::string> archs,
                                                 llvm::StringRef directory) {
  std::string ptxas = archs.empty() ? "" : findPtxas();
  if (!archs.empty() && ptxas.empty())
    return llvm::createStringError("--gpu-arch needs ptxas: put it on the PATH, set CUDA_HOME, or leave the option out "
                                   "(the driver then compiles the kernels when it loads them)");
  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> module = mlir::translateModuleToLLVMIR(source, context, "kernels");
  if (!module)
    return llvm::createStringError("translation of the GPU kernels to LLVM IR failed");
  if (llvm::Error error = linkSumRows(*module))
    return std::move(error);

  GPUCode code;
  auto add = [&](llvm::StringRef name, llvm::StringRef content) {
    runtime::Digest digest;
    digest.add({reinterpret_cast<const std::byte *>(content.data()), content.size()});
    code.files.push_back({name.str(), digest.text()});
    code.bytes += static_cast<int64_t>(content.size());
  };
  for (bool dependent : {true, false}) {
    // What is compiled last need not be a copy.
    std::unique_ptr<llvm::Module> copy = dependent ? llvm::CloneModule(*module) : std::move(module);
    llvm::Expected<llvm::SmallString<0>> ptx = compilePtx(*copy, dependent ? kDependentArch : kLeastArch);
    if (!ptx)
      return ptx.takeError();
    llvm::StringRef name = dependent ? kDependentPtxFile : kPtxFile;
    llvm::Expected<OutputFile> file = OutputFile::create(directory, name);
    if (!file)
      return file.takeError();
    file->os() << *ptx;
    file->os().flush();
    add(name, *ptx);
    for (const std::string &arch : archs) {
      if ((*gpuArch(arch) >= kDependentArch) != dependent)
        continue;
      llvm::Expected<OutputFile> cubin = OutputFile::create(directory, cubinFile(arch));
      if (!cubin)
        return cubin.takeError();
      if (llvm::Error error = assemble(ptxas, arch, file->temporaryName(), cubin->temporaryName()))
        return std::move(error);
      auto assembled = llvm::MemoryBuffer::getFile(cubin->temporaryName());
      if (!assembled)
        return llvm::createStringError("cannot read " + cubinFile(arch) + ": " + assembled.getError().message());
      add(cubinFile(arch), (*assembled)->getBuffer());
      if (llvm::Error error = cubin->keep())
        return std::move(error);
    }
    if (llvm::Error error = file->keep())
      return std::move(error);
  }
  return code;
}
