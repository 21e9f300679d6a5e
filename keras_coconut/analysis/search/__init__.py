"""Whether thoughts search a graph: node values, attention, inner products."""
