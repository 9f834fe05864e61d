// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Compiles a model to an artifact directory that caat-run executes.
#include "Allocator.h"
#include "caat/Artifact/Compile.h"
#include "caat/Lower/WeightRules.h"
#include "caat/Support/SafeStream.h"
#include "caat/Support/Version.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/InitLLVM.h"

namespace cl = llvm::cl;

static cl::OptionCategory category("caat-compile options");
static cl::opt<std::string> model(cl::Positional, cl::desc("MODEL.onnx"), cl::cat(category));
static cl::opt<std::string> output("o", cl::desc("Directory of the artifact (required)"), cl::value_desc("DIR"),
                                   cl::cat(category));
static cl::opt<int64_t> tp("tp", cl::desc("Number of ranks (default 1)"), cl::init(1), cl::value_desc("N"),
                           cl::cat(category));
static cl::opt<std::string> plan("plan", cl::desc("Plan: what each sync point sends (default: everything)"),
                                 cl::value_desc("FILE.json"), cl::cat(category));
static cl::opt<bool> switchable("switchable",
                                cl::desc("Leave the policies of sync points to run time: caat-run score --plan, "
                                         "caat-ablate"),
                                cl::cat(category));
static cl::opt<std::string> heads("heads",
                                  cl::desc("Plan of which only the order of heads is taken, for a switchable program"),
                                  cl::value_desc("FILE.json"), cl::cat(category));
static cl::opt<std::string>
    strategy("strategy",
             cl::desc("tp: activations are summed; rtp: the batch is divided and weights travel; "
                      "auto: what takes less time on the link"),
             cl::init("tp"), cl::value_desc("tp|rtp|auto"), cl::cat(category));
static cl::opt<int64_t> tokens("tokens",
                               cl::desc("Tokens of a step, all rows together, that auto decides by (default 1)"),
                               cl::init(1), cl::value_desc("N"), cl::cat(category));
static cl::opt<std::string> linkText("link", cl::desc("Link between ranks that auto decides by (default 10GB/s,5us)"),
                                     cl::init("10GB/s,5us"), cl::value_desc("BANDWIDTH[,LATENCY]"), cl::cat(category));
static cl::opt<std::string> rotate("rotate",
                                   cl::desc("rtp: out-of-place (a spare buffer, transfers beside products) or "
                                            "in-place"),
                                   cl::init("out-of-place"), cl::value_desc("MODE"), cl::cat(category));
static cl::opt<std::string> overlap("overlap",
                                    cl::desc("Whether sums over the ranks go on beside products that do not need "
                                             "them: on (default) or off; not with --switchable or rtp"),
                                    cl::init("on"), cl::value_desc("on|off"), cl::cat(category));
static cl::opt<std::string> target("target", cl::desc("cpu (this machine's processor, default) or cuda (NVIDIA GPUs)"),
                                   cl::init("cpu"), cl::value_desc("cpu|cuda"), cl::cat(category));
static cl::list<std::string> gpuArchs("gpu-arch",
                                      cl::desc("Chips that kernels are assembled for by ptxas; others, and all "
                                               "without this option, get them compiled by the driver"),
                                      cl::value_desc("sm_80,sm_90,..."), cl::CommaSeparated, cl::cat(category));
static cl::opt<bool> noWeights("no-weights",
                               cl::desc("Leave out the weights, whose files need not be there: for caat-run bench "
                                        "--random-weights"),
                               cl::cat(category));
static cl::opt<bool> hostKernels("host-kernels", cl::desc("cuda: compile kernels for this processor as well (tests)"),
                                 cl::Hidden, cl::cat(category));
static cl::opt<std::string>
    dtype("dtype",
          cl::desc("What matrices of f32 are stored and multiplied as: f32 (default), bf16, f16; sums "
                   "are f32"),
          cl::init("f32"), cl::cat(category));
static cl::list<std::string> weightRules(
    "weights",
    cl::desc("Round matrices of products to blocks of 4 bits (i4: a scale and a minimum for 32 elements) or "
             "8 bits (i8: a scale for 32), or leave them float, also those that the model holds in few "
             "bits; GLOB: of names of initializers (default: all); may be repeated, the last that matches "
             "counts"),
    cl::value_desc("[GLOB=]i4|i8|float"), cl::cat(category));
static cl::opt<std::string>
    messages("messages",
             cl::desc("What sums of f32 at sync points travel as, where the plan does not round them: f32 (default), "
                      "bf16, f16"),
             cl::init("f32"), cl::cat(category));
static cl::opt<std::string> cache("cache",
                                  cl::desc("cpu: what caches of attention are stored as: f32, bf16 or f16 (default: "
                                           "what --dtype says); attention is computed in f32"),
                                  cl::cat(category));
static cl::opt<bool> wideActivations("wide-activations",
                                     cl::desc("cuda: keep activations and caches in f32 where weights have 16 bits"),
                                     cl::cat(category));
static cl::opt<bool> emulate("emulate", cl::desc("cuda: run the GPU kernels on the CPU, thread by thread (tests)"),
                             cl::Hidden, cl::cat(category));
static cl::list<std::string> dims("dim", cl::desc("Fixed value of a named dimension, e.g. batch=1; may be repeated"),
                                  cl::value_desc("NAME=VALUE"), cl::cat(category));
static cl::list<std::string> values("set",
                                    cl::desc("Fixed value of an input, e.g. use_cache_branch=true; may be repeated"),
                                    cl::value_desc("NAME=VALUE"), cl::cat(category));
static cl::opt<int64_t> maxLength("max-length", cl::desc("Positions of the key-value caches (default 1024)"),
                                  cl::init(1024), cl::value_desc("N"), cl::cat(category));
static cl::opt<bool> rowLengths("row-lengths",
                                cl::desc("Let rows of a GroupQueryAttention's cache have lengths of their own"),
                                cl::cat(category));
static cl::opt<bool> noRaise("no-raise", cl::desc("Leave decomposed norms, attention, … as they are (for comparison)"),
                             cl::cat(category));
static cl::opt<bool> timing("timing", cl::desc("Print the time of each stage"), cl::cat(category));
static cl::opt<std::string> dump("dump-ir", cl::desc("Write the module after each stage to DIR/01-raised.mlir, …"),
                                 cl::value_desc("DIR"), cl::cat(category));
static cl::opt<bool> report("report", cl::desc("Print how every op is sharded, why, and what is sent"),
                            cl::cat(category));
static cl::opt<bool> quiet("quiet", cl::desc("No progress on stderr and no summary"), cl::cat(category));
static cl::extrahelp examples("\nExamples:\n"
                              "  caat-compile model.onnx --tp=2 -o out\n"
                              "  caat-compile model.onnx --tp=3 --plan=plan.json --max-length=2048 --timing -o out\n"
                              "  caat-compile model.onnx --weights=i4 --weights='*lm_head*=i8' -o out\n"
                              "  caat-compile model.onnx --weights='*mlp*=i4' --weights='*.0.mlp*=float' -o out\n"
                              "  caat-compile model.onnx --dim batch=1 --dump-ir=stages -o out\n"
                              "  caat-compile model.onnx --tp=2 --target=cuda --gpu-arch=sm_80,sm_90 -o out\n"
                              "\nExit status: 0 compiled, 1 the model or its compilation failed, 2 usage.\n");

static int usage(const llvm::Twine &message) {
  caat::safeErrs() << "caat-compile: " << message << " (see caat-compile --help)\n";
  return 2;
}

static llvm::Error wrong(const llvm::Twine &message) { return llvm::createStringError(message); }

static bool isFloatName(llvm::StringRef type) { return type == "f32" || type == "bf16" || type == "f16"; }

static llvm::Error readArtifact(caat::CompileOptions &options) {
  if (model.empty())
    return wrong("no model given");
  if (output.empty())
    return wrong("no output directory given: -o DIR");
  if (tp < 1 || tp > caat::kMaxRanks)
    return wrong("--tp=" + llvm::Twine(tp.getValue()) + " is not in 1 … " + llvm::Twine(caat::kMaxRanks));
  options.model = model;
  options.output = output;
  options.tp = tp;
  options.weights = !noWeights;
  return llvm::Error::success();
}

static llvm::Error readTarget(caat::CompileOptions &options) {
  if (target != "cpu" && target != "cuda")
    return wrong("--target=" + target + ": expected cpu or cuda");
  if (target != "cuda" && (!gpuArchs.empty() || hostKernels || emulate || wideActivations))
    return wrong("--gpu-arch and --wide-activations go with --target=cuda");
  for (llvm::StringRef arch : gpuArchs)
    if (!caat::gpuArch(arch))
      return wrong("--gpu-arch=" + arch + ": expected chips from sm_80 on, e.g. sm_80,sm_90");
  options.target = target;
  options.gpuArchs.assign(gpuArchs.begin(), gpuArchs.end());
  options.hostKernels = hostKernels;
  options.emulate = emulate;
  options.wideActivations = wideActivations;
  return llvm::Error::success();
}

/// What weights, caches and messages are stored and sent as.
static llvm::Error readTypes(caat::CompileOptions &options) {
  if (!isFloatName(dtype))
    return wrong("--dtype=" + dtype + ": expected f32, bf16 or f16");
  if (cache.getNumOccurrences() && !isFloatName(cache))
    return wrong("--cache=" + cache + ": expected f32, bf16 or f16");
  if (cache.getNumOccurrences() && target != "cpu")
    return wrong("--cache goes with --target=cpu: on GPUs caches have the type of activations (--wide-activations: "
                 "f32)");
  for (llvm::StringRef text : weightRules)
    if (llvm::Expected<caat::WeightRule> rule = caat::WeightRule::parse(text); !rule)
      return wrong("--weights=" + text + ": " + llvm::toString(rule.takeError()) +
                   "; expected [GLOB=]i4, [GLOB=]i8 or [GLOB=]float");
  if (!isFloatName(messages))
    return wrong("--messages=" + messages + ": expected f32, bf16 or f16");
  if (messages != "f32" && (switchable || strategy != "tp"))
    return wrong("--messages goes without --switchable and --strategy: it is of sync points that are compiled");
  options.dtype = dtype;
  options.cache = cache;
  options.weightRules.assign(weightRules.begin(), weightRules.end());
  options.messages = messages;
  return llvm::Error::success();
}

static llvm::Error readCaches(caat::CompileOptions &options) {
  if (maxLength < 1)
    return wrong("--max-length=" + llvm::Twine(maxLength.getValue()) + " is less than 1");
  options.maxLength = maxLength;
  options.rowLengths = rowLengths;
  return llvm::Error::success();
}

/// What ranks send each other, and when.
static llvm::Error readStrategy(caat::CompileOptions &options) {
  if (strategy != "tp" && strategy != "rtp" && strategy != "auto")
    return wrong("--strategy=" + strategy + ": expected tp, rtp or auto");
  if (tokens < 1)
    return wrong("--tokens=" + llvm::Twine(tokens.getValue()) + " is less than 1");
  std::string why;
  std::optional<caat::cost::Link> link = caat::cost::Link::parse(linkText, why);
  if (!link)
    return wrong("--link=" + linkText + ": " + why);
  if (rotate != "out-of-place" && rotate != "in-place")
    return wrong("--rotate=" + rotate + ": expected out-of-place or in-place");
  if (overlap != "on" && overlap != "off")
    return wrong("--overlap=" + overlap + ": expected on or off");
  if (overlap == "on" && overlap.getNumOccurrences() && (switchable || strategy == "rtp"))
    return wrong("--overlap=on goes without --switchable, whose sites decide at run time what they send, and without "
                 "--strategy=rtp, whose transfers are always beside the work");
  if (strategy == "rtp" && !plan.empty())
    return wrong("--plan with --strategy=rtp: rotated weights leave no sums to rewrite");
  if (switchable && (!plan.empty() || strategy != "tp"))
    return wrong("--switchable goes without --plan and --strategy: every site takes its policy at run time");
  if (!plan.empty() && !heads.empty())
    return wrong("--heads goes without --plan, which has an order of heads itself");
  options.strategy = strategy;
  options.tokens = tokens;
  options.link = *link;
  options.rotateInPlace = rotate == "in-place";
  options.overlap = overlap == "on";
  options.plan = plan;
  options.switchable = switchable;
  options.heads = heads;
  return llvm::Error::success();
}

/// Sizes and inputs that are fixed.
static llvm::Error readBindings(caat::CompileOptions &options) {
  for (llvm::StringRef text : dims) {
    auto [name, value] = text.split('=');
    int64_t number;
    if (name.empty() || value.getAsInteger(10, number) || number < 1)
      return wrong("--dim=" + text + ": expected NAME=VALUE with a positive number");
    options.dims.push_back(text.str());
  }
  for (llvm::StringRef text : values) {
    auto [name, value] = text.split('=');
    if (name.empty() || value.empty())
      return wrong("--set=" + text + ": expected NAME=VALUE");
    options.values.push_back(text.str());
  }
  return llvm::Error::success();
}

/// The first thing that is wrong with the command line, or what it asks for.
static llvm::Expected<caat::CompileOptions> readOptions() {
  caat::CompileOptions options;
  for (auto *read : {readArtifact, readTarget, readTypes, readCaches, readStrategy, readBindings})
    if (llvm::Error error = read(options))
      return std::move(error);
  options.dumpDirectory = dump;
  options.progress = !quiet;
  options.report = report;
  options.raise = !noRaise;
  return options;
}

int main(int argc, char **argv) {
  caat::useLargePages();
  llvm::InitLLVM init(argc, argv);
  cl::HideUnrelatedOptions(category);
  cl::SetVersionPrinter([](llvm::raw_ostream &os) {
    os << "caat-compile " << caat::kVersion << ", LLVM " << LLVM_VERSION_STRING << "\n";
  });
  std::string errors;
  llvm::raw_string_ostream stream(errors);
  if (!cl::ParseCommandLineOptions(argc, argv, "Compiles an ONNX model for tensor-parallel ranks\n", &stream)) {
    caat::safeErrs() << errors;
    return 2;
  }
  llvm::Expected<caat::CompileOptions> options = readOptions();
  if (!options)
    return usage(llvm::toString(options.takeError()));
  caat::CompileSummary summary;
  if (failed(caat::compileModel(*options, summary)))
    return 1;
  if (!quiet)
    caat::printSummary(*options, summary, timing);
  return 0;
}
