// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "RowClusters.h"
#include "mlir/Transforms/RegionUtils.h"

using namespace mlir;
using namespace caat::lower;
using linalg::LinalgOp;

/// The most elements that the loops inside one row may have, and the most ops of a cluster.
static constexpr int64_t kMaxInner = 4096;
static constexpr size_t kMaxOps = 32;

/// Whether `loop` can be cut to one iteration: every operand's dimension that depends on it is walked by it alone.
static bool canBeRow(LinalgOp op, unsigned loop) {
  if (op.getIteratorTypesArray()[loop] != utils::IteratorType::parallel)
    return false;
  for (AffineMap map : op.getIndexingMapsArray())
    for (AffineExpr expr : map.getResults())
      if (!isa<AffineDimExpr>(expr) && expr.isFunctionOfDim(loop))
        return false;
  return true;
}

/// The rows of an op by itself, in the order of its first result: all parallel loops of a reduction; of an element-wise
/// op all but the last few.
static RowLoops ownRows(LinalgOp op) {
  AffineMap map = op.getMatchingIndexingMap(op.getDpsInitOperand(0));
  SmallVector<int64_t> sizes = op.getStaticLoopRanges();
  RowLoops rows;
  for (AffineExpr expr : map.getResults())
    if (auto dim = dyn_cast<AffineDimExpr>(expr))
      rows.push_back(dim.getPosition());
  if (op.getNumReductionLoops() == 0 && !rows.empty()) {
    int64_t inner = sizes[rows.pop_back_val()];
    while (!rows.empty() && !ShapedType::isDynamic(inner) && !ShapedType::isDynamic(sizes[rows.back()]) &&
           inner * sizes[rows.back()] <= kMaxInner)
      inner *= sizes[rows.pop_back_val()];
  }
  llvm::erase_if(rows, [&](unsigned loop) { return !canBeRow(op, loop); });
  return rows;
}

/// An op's rows are usable when they are parallel, differ, and a reduction has no other parallel loop.
static bool areUsable(LinalgOp op, ArrayRef<unsigned> rows) {
  if (!llvm::all_of(rows, [&](unsigned loop) { return canBeRow(op, loop); }))
    return false;
  if (llvm::SmallDenseSet<unsigned>(rows.begin(), rows.end()).size() != rows.size())
    return false;
  return op.getNumReductionLoops() == 0 || rows.size() == op.getNumParallelLoops();
}

/// The loops of one side of an edge from the other side's. `from` and `to` are the maps of the value on both sides.
static std::optional<RowLoops> across(AffineMap from, AffineMap to, ArrayRef<unsigned> rows) {
  constexpr unsigned kNone = ~0u;
  RowLoops result(rows.size(), kNone);
  for (auto [a, b] : llvm::zip_equal(from.getResults(), to.getResults())) {
    auto dimA = dyn_cast<AffineDimExpr>(a), dimB = dyn_cast<AffineDimExpr>(b);
    if (!dimA || !dimB)
      return std::nullopt;
    auto row = llvm::find(rows, dimA.getPosition());
    if (row != rows.end())
      result[row - rows.begin()] = dimB.getPosition();
  }
  if (llvm::is_contained(result, kNone))
    return std::nullopt;
  // A dimension that is no row here must be none there.
  for (auto [a, b] : llvm::zip_equal(from.getResults(), to.getResults()))
    if (!llvm::is_contained(rows, cast<AffineDimExpr>(a).getPosition()) &&
        llvm::is_contained(result, cast<AffineDimExpr>(b).getPosition()))
      return std::nullopt;
  return result;
}

namespace {

class ClusterBuilder {
public:
  explicit ClusterBuilder(Block &block) : block(block) {
    for (Operation &op : block) {
      position[&op] = atPosition.size();
      atPosition.push_back(&op);
    }
    users.resize(atPosition.size());
    for (Operation &op : block)
      for (unsigned dependency : findDependencies(op))
        users[dependency].push_back(position[&op]);
  }

  SmallVector<RowCluster> run() {
    for (Operation &op : block)
      if (auto linalgOp = dyn_cast<LinalgOp>(op); linalgOp && linalgOp.hasPureTensorSemantics())
        place(linalgOp);
    SmallVector<RowCluster> result;
    for (RowCluster &cluster : clusters)
      if (!cluster.ops.empty())
        result.push_back(std::move(cluster));
    return result;
  }

private:
  /// Ops of this block that `op` uses, also from inside its regions.
  SmallVector<unsigned> findDependencies(Operation &op) {
    SetVector<unsigned> found;
    auto add = [&](Value value) {
      Operation *def = value.getDefiningOp();
      if (def && def->getBlock() == &block)
        found.insert(position[def]);
    };
    llvm::for_each(op.getOperands(), add);
    SetVector<Value> captured;
    getUsedValuesDefinedAbove(op.getRegions(), captured);
    llvm::for_each(captured, add);
    return found.takeVector();
  }

  /// Whether the clusters stay without circles when `ops` are one, and none of them reads another one's whole result
  /// inside its body.
  bool isConvex(ArrayRef<LinalgOp> ops) {
    DenseSet<unsigned> members, seen;
    SmallVector<unsigned> reached;
    for (LinalgOp op : ops)
      members.insert(position[op]);
    for (unsigned member : members)
      for (unsigned user : users[member])
        if (!members.contains(user) && seen.insert(user).second)
          reached.push_back(user);
    while (!reached.empty()) {
      unsigned at = reached.pop_back_val();
      auto reach = [&](unsigned next) {
        if (seen.insert(next).second)
          reached.push_back(next);
      };
      for (unsigned user : users[at]) {
        if (members.contains(user))
          return false;
        reach(user);
      }
      // Who reaches one op of a cluster reaches all of it.
      if (auto cluster = clusterOf.find(atPosition[at]); cluster != clusterOf.end())
        for (LinalgOp other : clusters[cluster->second].ops)
          reach(position[other]);
    }
    for (LinalgOp op : ops) {
      SetVector<Value> captured;
      getUsedValuesDefinedAbove(op->getRegions(), captured);
      for (Value value : captured)
        if (Operation *def = value.getDefiningOp(); def && position.contains(def) && members.contains(position[def]))
          return false;
    }
    return true;
  }

  /// Rows of all `ops`, given those of one, or nothing where they do not fit.
  std::optional<DenseMap<Operation *, RowLoops>> propagate(ArrayRef<LinalgOp> ops, LinalgOp seed, RowLoops rows) {
    DenseMap<Operation *, RowLoops> result{{seed.getOperation(), std::move(rows)}};
    DenseSet<Operation *> members;
    for (LinalgOp op : ops)
      members.insert(op);
    for (bool changed = true; changed;) {
      changed = false;
      for (LinalgOp consumer : ops)
        for (OpOperand &operand : consumer->getOpOperands()) {
          auto producer = operand.get().getDefiningOp<LinalgOp>();
          if (!producer || !members.contains(producer))
            continue;
          AffineMap read = consumer.getMatchingIndexingMap(&operand);
          AffineMap written = producer.getIndexingMapMatchingResult(cast<OpResult>(operand.get()));
          bool hasConsumer = result.contains(consumer), hasProducer = result.contains(producer);
          if (!hasConsumer && !hasProducer)
            continue;
          std::optional<RowLoops> derived =
              hasProducer ? across(written, read, result[producer]) : across(read, written, result[consumer]);
          if (!derived)
            return std::nullopt;
          Operation *other = hasProducer ? consumer : producer;
          if (hasConsumer && hasProducer) {
            if (result[other] != *derived)
              return std::nullopt;
            continue;
          }
          result[other] = *derived;
          changed = true;
        }
    }
    for (LinalgOp op : ops)
      if (!result.contains(op) || !areUsable(op, result[op]))
        return std::nullopt;
    return result;
  }

  /// Merges cluster `index` with the one that `op` is in, if they can be one.
  bool tryMerge(unsigned index, LinalgOp op) {
    RowCluster &into = clusters[clusterOf[op]], &from = clusters[index];
    if (into.ops.size() + from.ops.size() > kMaxOps)
      return false;
    SmallVector<LinalgOp> ops(from.ops);
    llvm::append_range(ops, into.ops);
    llvm::sort(ops, [&](LinalgOp a, LinalgOp b) { return position[a] < position[b]; });
    if (!isConvex(ops))
      return false;
    // The reader's own rows are best: they leave no more than it wants in a row. Else those of what it reads.
    auto rows = propagate(ops, op, into.rows[op]);
    if (!rows)
      rows = propagate(ops, from.ops.front(), from.rows[from.ops.front()]);
    if (!rows)
      return false;
    for (LinalgOp member : from.ops)
      clusterOf[member] = clusterOf[op];
    into.ops = std::move(ops);
    into.rows = std::move(*rows);
    from.ops.clear();
    return true;
  }

  void place(LinalgOp op) {
    clusterOf[op] = clusters.size();
    clusters.push_back({{op}, {{op.getOperation(), ownRows(op)}}});
    SmallVector<LinalgOp> producers;
    for (Value operand : op->getOperands())
      if (auto producer = operand.getDefiningOp<LinalgOp>(); producer && clusterOf.contains(producer))
        producers.push_back(producer);
    llvm::sort(producers, [&](LinalgOp a, LinalgOp b) { return position[a] > position[b]; });
    for (LinalgOp producer : producers)
      if (clusterOf[producer] != clusterOf[op])
        (void)tryMerge(clusterOf[producer], op);
  }

  Block &block;
  DenseMap<Operation *, unsigned> position;
  SmallVector<Operation *> atPosition;
  SmallVector<SmallVector<unsigned>> users; // by position, also from inside regions
  SmallVector<RowCluster> clusters;
  DenseMap<Operation *, unsigned> clusterOf;
};

} // namespace

SmallVector<RowCluster> caat::lower::findRowClusters(Block &block) { return ClusterBuilder(block).run(); }
