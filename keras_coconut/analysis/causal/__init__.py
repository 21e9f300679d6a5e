"""Whether answers follow the thoughts and the graph: twins, moved edges."""
