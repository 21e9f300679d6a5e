"""What thoughts hold: decoded tokens, searches, probes, causal tests, plots."""

from keras_coconut.analysis.budget import (
    ForcedThoughts,
    ThoughtBudget,
    thought_budget,
)
from keras_coconut.analysis.causal.counterfactual_edges import (
    CounterfactualEdge,
    CounterfactualEdges,
    make_counterfactuals,
)
from keras_coconut.analysis.causal.edge_following import (
    CounterfactualEvaluation,
    evaluate_counterfactuals,
)
from keras_coconut.analysis.causal.minimal_pairs import (
    MinimalPair,
    MinimalPairs,
    make_minimal_pairs,
)
from keras_coconut.analysis.causal.thought_swaps import ThoughtSwap
from keras_coconut.analysis.causal.twin_thoughts import (
    MinimalPairEvaluation,
    evaluate_minimal_pairs,
)
from keras_coconut.analysis.early_stop import EarlyStop
from keras_coconut.analysis.geometry import (
    SlotGeometry,
    ThoughtGeometry,
    VectorGeometry,
    thought_geometry,
)
from keras_coconut.analysis.monitoring.measurements import Measurements
from keras_coconut.analysis.plots import (
    plot_controls,
    plot_counterfactuals,
    plot_frontier_mass,
    plot_geometry,
    plot_groups,
    plot_minimal_pairs,
    plot_parallelism,
    plot_probes,
    plot_search_tree,
    plot_stages,
    plot_thought_budget,
    plot_tokens,
)
from keras_coconut.analysis.pooled_means import PooledMean
from keras_coconut.analysis.probing.probes import ThoughtProbes, thought_probes
from keras_coconut.analysis.probing.step_probes import StepProbe
from keras_coconut.analysis.ranks import effective_rank
from keras_coconut.analysis.search.group_means import GroupMeans
from keras_coconut.analysis.search.node_values import StepText
from keras_coconut.analysis.search.search_tree import SearchTree, search_tree
from keras_coconut.analysis.search.superposition import (
    Superposition,
    superposition,
)
from keras_coconut.analysis.search.tree_figures import (
    FrontierMass,
    HeightValue,
    MassShare,
    Parallelism,
    TreeLevel,
)
from keras_coconut.analysis.thoughts import DecodedToken, decode_thoughts

__all__ = [
    "CounterfactualEdge",
    "CounterfactualEdges",
    "CounterfactualEvaluation",
    "DecodedToken",
    "EarlyStop",
    "ForcedThoughts",
    "FrontierMass",
    "GroupMeans",
    "HeightValue",
    "MassShare",
    "Measurements",
    "MinimalPair",
    "MinimalPairEvaluation",
    "MinimalPairs",
    "Parallelism",
    "PooledMean",
    "SearchTree",
    "SlotGeometry",
    "StepProbe",
    "StepText",
    "Superposition",
    "ThoughtBudget",
    "ThoughtGeometry",
    "ThoughtProbes",
    "ThoughtSwap",
    "TreeLevel",
    "VectorGeometry",
    "decode_thoughts",
    "effective_rank",
    "evaluate_counterfactuals",
    "evaluate_minimal_pairs",
    "make_counterfactuals",
    "make_minimal_pairs",
    "plot_controls",
    "plot_counterfactuals",
    "plot_frontier_mass",
    "plot_geometry",
    "plot_groups",
    "plot_minimal_pairs",
    "plot_parallelism",
    "plot_probes",
    "plot_search_tree",
    "plot_stages",
    "plot_thought_budget",
    "plot_tokens",
    "search_tree",
    "superposition",
    "thought_budget",
    "thought_geometry",
    "thought_probes",
]


def __dir__() -> list[str]:
    return sorted(__all__)
