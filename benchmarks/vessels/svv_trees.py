"""Vascular trees of an independent generator, svv (MIT, PyPI), as JSON: straight segments with radii.

    python -m venv /tmp/svv && /tmp/svv/bin/pip install svv==0.0.57
    /tmp/svv/bin/python benchmarks/vessels/svv_trees.py trees.json --trees 12

It runs in an environment of its own: svv pins versions that medseg does not want.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

START, END, CHILDREN, PARENT, RADIUS = slice(0, 3), slice(3, 6), slice(15, 17), 17, 21
"""Columns of svv's table of segments."""

BOX_CM = (8.6, 8.6, 13.5)


def grown(seed: int, leaves: int) -> list[dict[str, object]]:
    import pyvista
    from svv.domain.domain import Domain
    from svv.tree.tree import Tree

    np.random.seed(seed)  # noqa: NPY002  svv draws from numpy's global state
    box = pyvista.Cube(x_length=BOX_CM[0], y_length=BOX_CM[1], z_length=BOX_CM[2]).triangulate().subdivide(2)
    domain = Domain(box)
    domain.set_random_seed(seed)
    domain.create()
    domain.solve()
    domain.build()
    tree = Tree()
    tree.set_domain(domain)
    tree.set_root()
    tree.n_add(leaves)
    rows = np.asarray(tree.data)
    return [
        {
            "start_mm": (10 * row[START]).tolist(),
            "end_mm": (10 * row[END]).tolist(),
            "parent": None if np.isnan(row[PARENT]) else int(row[PARENT]),
            "relative_radius": float(row[RADIUS] / rows[:, RADIUS].max()),
        }
        for row in rows
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--trees", type=int, default=12)
    parser.add_argument("--leaves", type=int, default=5)
    arguments = parser.parse_args()
    trees = [grown(seed, arguments.leaves) for seed in range(arguments.trees)]
    arguments.output.write_text(json.dumps(trees))


if __name__ == "__main__":
    main()
