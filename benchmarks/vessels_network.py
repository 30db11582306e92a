"""From the scan to graded blockages with a trained network in place of an ideal map: what is lost.

    python benchmarks/vessels_network.py --model vessels_cta --first 10000 --studies 8

The studies are those of `benchmarks/vessels.py`; none was trained on. Calibres are taken from the image.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from vessels import LIKENESSES, from_report, matched

from medseg.analysis.vessels.analyse import analyse_vessels
from medseg.analysis.vessels.study_findings import soft_vessels
from medseg.datasets.phantoms.vessels.study import VESSEL, make_vessel_study
from medseg.models.kept_maps import Keep
from medseg.models.segmenter import NetworkSegmenter
from medseg.models.store import load_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="vessels_cta")
    parser.add_argument("--first", type=int, default=10000)
    parser.add_argument("--studies", type=int, default=8)
    options = parser.parse_args()
    model = load_model(options.model)
    segmenter = NetworkSegmenter(model, torch.device("cpu"))
    hits, misses, falses, exact, errors, dices = 0, 0, 0, 0, [], []
    for number in range(options.studies):
        study = make_vessel_study(options.first + number, LIKENESSES[number % len(LIKENESSES)])
        begin = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            seen = segmenter.segment({"CT": study.volume}, keep=Keep(("vessel",), Path(folder)))
            assert seen.probabilities is not None
            soft = soft_vessels(seen.probabilities, model.spec.task)
        found = from_report(analyse_vessels(soft, study.volume, prefer_image=True))
        pairs, missed, false = matched(study.truth, found)
        mask, truth = seen.label_map.array > 0, study.label_map.array == VESSEL
        dices.append(2 * (mask & truth).sum() / (mask.sum() + truth.sum()))
        errors += [one.percent - lesion.diameter_percent for one, lesion in pairs]
        hits, misses, falses = hits + len(pairs), misses + len(missed), falses + len(false)
        exact += len(found) == len(study.truth.lesions)
        took = time.perf_counter() - begin
        what = f"{study.truth.seed} {study.truth.likeness}: Dice {dices[-1]:.3f}"
        print(f"{what}, {len(pairs)} of {len(study.truth.lesions)} found, {len(false)} false, {took:.0f} s", flush=True)
    off = np.array(errors)
    print(
        f"Dice {np.mean(dices):.3f}, sensitivity {hits / (hits + misses):.3f}, PPV {hits / max(hits + falses, 1):.3f}, "
        f"error {np.abs(off).mean():.1f} (median {np.median(np.abs(off)):.1f}, bias {off.mean():+.1f}), "
        f"count exact {exact} of {options.studies}"
    )


if __name__ == "__main__":
    main()
