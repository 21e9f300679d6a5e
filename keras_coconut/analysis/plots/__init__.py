"""Plots as figures, made by matplotlib."""

from keras_coconut.analysis.plots.accuracies import plot_controls, plot_tokens
from keras_coconut.analysis.plots.budget import plot_thought_budget
from keras_coconut.analysis.plots.causal import (
    plot_counterfactuals,
    plot_minimal_pairs,
)
from keras_coconut.analysis.plots.geometry import plot_geometry
from keras_coconut.analysis.plots.groups import plot_groups
from keras_coconut.analysis.plots.probes import plot_probes
from keras_coconut.analysis.plots.search import (
    plot_frontier_mass,
    plot_parallelism,
)
from keras_coconut.analysis.plots.stages import plot_stages
from keras_coconut.analysis.plots.tree import plot_search_tree

__all__ = [
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
]
