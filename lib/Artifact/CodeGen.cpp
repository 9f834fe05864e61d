// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "CodeGen.h"
#include "caat/Artifact/OutputFile.h"
#include "caat/runtime/Fnv.h"
#include "caat/runtime/Program.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/Analysis/TargetLibraryInfo.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/IR/Verifier.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/Transforms/Utils/Cloning.h"

#ifndef CAAT_LLD_PATH
#define CAAT_LLD_PATH ""
#endif

using namespace caat;

Target caat::hostTarget() {
  Target target;
  target.triple = llvm::sys::getDefaultTargetTriple();
  target.cpu = llvm::sys::getHostCPUName().str();
  std::vector<std::string> features;
  for (const auto &feature : llvm::sys::getHostCPUFeatures())
    if (feature.second)
      features.push_back("+" + feature.first().str());
  llvm::sort(features);
  target.features = llvm::join(features, ",");
  return target;
}

Target caat::baselineTarget() {
  Target target;
  target.triple = llvm::sys::getDefaultTargetTriple();
  target.cpu = llvm::Triple(target.triple).getArch() == llvm::Triple::x86_64 ? "x86-64-v2" : "generic";
  return target;
}

static llvm::Expected<std::unique_ptr<llvm::TargetMachine>> createMachine(const Target &target,
                                                                          llvm::CodeGenOptLevel level) {
  llvm::InitializeNativeTarget();
  llvm::InitializeNativeTargetAsmPrinter();
  llvm::Triple triple(target.triple);
  std::string error;
  const llvm::Target *found = llvm::TargetRegistry::lookupTarget(triple, error);
  if (!found)
    return llvm::createStringError("no code generator for " + target.triple + ": " + error);
  llvm::TargetOptions options;
  options.AllowFPOpFusion = llvm::FPOpFusion::Standard;
  return std::unique_ptr<llvm::TargetMachine>(
      found->createTargetMachine(triple, target.cpu, target.features, options, llvm::Reloc::PIC_, std::nullopt, level));
}

/// Takes the host program out of `module`. It is a long list of calls: to optimize it takes time that grows with the
/// layers, and gains nothing. What it refers to stays, for the linker to find.
static std::unique_ptr<llvm::Module> takeHost(llvm::Module &module) {
  llvm::Function *function = module.getFunction("caat_forward");
  llvm::ValueToValueMapTy copies;
  auto host = llvm::CloneModule(module, copies, [&](const llvm::GlobalValue *value) { return value == function; });
  for (llvm::GlobalValue &value : llvm::make_early_inc_range(host->global_values())) {
    llvm::GlobalValue *original = module.getNamedValue(value.getName());
    if (value.isDeclaration() && value.use_empty()) {
      value.eraseFromParent();
    } else if (original->hasLocalLinkage()) {
      original->setLinkage(llvm::GlobalValue::ExternalLinkage);
      original->setVisibility(llvm::GlobalValue::HiddenVisibility);
    }
  }
  if (function)
    function->eraseFromParent();
  return host;
}

/// What the host program refers to stays visible; everything else is internal. Without the processor in the function
/// attributes nothing would be vectorized.
static void prepare(llvm::Module &module, llvm::TargetMachine &machine, const Target &target) {
  module.setTargetTriple(machine.getTargetTriple());
  module.setDataLayout(machine.createDataLayout());
  for (llvm::Function &function : module) {
    if (function.isDeclaration())
      continue;
    function.addFnAttr("target-cpu", target.cpu);
    function.addFnAttr("target-features", target.features);
    if (llvm::StringRef(target.features).contains("+avx512f"))
      function.addFnAttr("prefer-vector-width", "512");
    function.addFnAttr(llvm::Attribute::NoUnwind);
    function.setDSOLocal(true);
  }
}

void caat::optimizeModule(llvm::Module &module, llvm::TargetMachine &machine) {
  llvm::PipelineTuningOptions tuning;
  tuning.LoopVectorization = true;
  tuning.SLPVectorization = true;
  llvm::PassBuilder builder(&machine, tuning);
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager callGraph;
  llvm::ModuleAnalysisManager modules;
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(callGraph);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, callGraph, modules);
  builder.buildPerModuleDefaultPipeline(llvm::OptimizationLevel::O3).run(module, modules);
}

/// Code of `module` in a file of `directory`.
static llvm::Expected<OutputFile> writeObject(llvm::Module &module, llvm::TargetMachine &machine,
                                              llvm::StringRef directory, llvm::StringRef name) {
  llvm::Expected<OutputFile> object = OutputFile::create(directory, name);
  if (!object)
    return object;
  llvm::legacy::PassManager passes;
  if (machine.addPassesToEmitFile(passes, object->os(), nullptr, llvm::CodeGenFileType::ObjectFile))
    return llvm::createStringError("no object files for " + module.getTargetTriple().str());
  passes.run(module);
  object->os().flush();
  if (llvm::Error error = object->status())
    return std::move(error);
  return object;
}

static llvm::Error link(llvm::ArrayRef<llvm::StringRef> objects, llvm::StringRef library) {
  std::string linker;
  for (llvm::StringRef name : {"ld.lld-22", "ld.lld", "ld"}) {
    if (llvm::ErrorOr<std::string> found = llvm::sys::findProgramByName(name)) {
      linker = *found;
      break;
    }
    if (name == "ld.lld-22" && llvm::sys::fs::can_execute(CAAT_LLD_PATH)) {
      linker = CAAT_LLD_PATH;
      break;
    }
  }
  if (linker.empty())
    return llvm::createStringError("no linker: install lld (ld.lld), or put it on the PATH");
  std::string message;
  llvm::SmallVector<llvm::StringRef> command{linker, "-shared", "--build-id=none", "-z", "noexecstack", "-o", library};
  llvm::append_range(command, objects);
  int status = llvm::sys::ExecuteAndWait(linker, command, std::nullopt, {}, 0, 0, &message);
  if (status != 0)
    return llvm::createStringError(linker + " failed with status " + llvm::Twine(status) + " " + message);
  return llvm::Error::success();
}

static void addDigest(llvm::Module &module, llvm::StringRef manifest) {
  auto *type = llvm::Type::getInt64Ty(module.getContext());
  auto *digest = llvm::ConstantInt::get(type, runtime::fnv(std::string_view(manifest)));
  new llvm::GlobalVariable(module, type, /*isConstant=*/true, llvm::GlobalValue::ExternalLinkage, digest,
                           runtime::manifestDigestName);
}

llvm::Expected<int64_t> caat::writeCode(mlir::ModuleOp source, const Target &target, llvm::StringRef manifest,
                                        llvm::StringRef directory) {
  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> module = mlir::translateModuleToLLVMIR(source, context, "caat");
  if (!module)
    return llvm::createStringError("translation to LLVM IR failed");
  auto machine = createMachine(target, llvm::CodeGenOptLevel::Aggressive);
  auto hostMachine = createMachine(target, llvm::CodeGenOptLevel::None);
  if (!machine || !hostMachine)
    return llvm::joinErrors(machine.takeError(), hostMachine.takeError());
  prepare(*module, **machine, target);
  addDigest(*module, manifest);
  if (llvm::verifyModule(*module, &llvm::errs()))
    return llvm::createStringError("the generated LLVM IR is not valid");
  std::unique_ptr<llvm::Module> host = takeHost(*module);
  optimizeModule(*module, **machine);

  llvm::Expected<OutputFile> hostObject = writeObject(*host, **hostMachine, directory, "host.o");
  if (!hostObject)
    return hostObject.takeError();
  llvm::Expected<OutputFile> object = writeObject(*module, **machine, directory, "code.o");
  if (!object)
    return object.takeError();
  // Linkers map their output, so a full disk would be a bus error with a stack dump.
  uint64_t needed = 2 * (object->os().tell() + hostObject->os().tell()) + (64 << 10);
  llvm::ErrorOr<llvm::sys::fs::space_info> space = llvm::sys::fs::disk_space(directory);
  if (space && space->available < needed)
    return llvm::createStringError("cannot write " + directory + "/code.so: No space left on device");

  llvm::Expected<OutputFile> library = OutputFile::create(directory, "code.so");
  if (!library)
    return library.takeError();
  if (llvm::Error error = link({hostObject->temporaryName(), object->temporaryName()}, library->temporaryName()))
    return std::move(error);
  uint64_t size = 0;
  (void)llvm::sys::fs::file_size(library->temporaryName(), size);
  if (llvm::Error error = library->keep())
    return std::move(error);
  return static_cast<int64_t>(size);
}
