"""Keep the features of all images in the bundle, for ``--keep-features``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tlkit.api.train.dataset import Dataset
from tlkit.api.train.finished import Finished
from tlkit.backbones.extractor import TOP, Taps, columns_of
from tlkit.bundle.backbone import network_extractor
from tlkit.bundle.kept import HALF, Kept, KeptFacts, group_digest, plain_name, write_kept
from tlkit.bundle.manifest import MODEL
from tlkit.context import Context
from tlkit.linear.classifier import ood_taps
from tlkit.plan.choices import EARLY
from tlkit.plan.plan import Plan

KEPT_GROUP = "kept group "
"""How a group is called of which only the digest is known."""


def keep_features(finished: Finished, plan: Plan, folder: Path, context: Context) -> None:
    """Write the features of all images into the folder of a bundle, whose network is there already.

    Those of a frozen network are known. A tuned network computes its own, in one more pass over the images.

    Args:
        finished: The result of the run.
        plan: The complete plan.
        folder: The folder of the bundle for now.
        context: Context of the run.
    """
    dataset, bundle = finished.dataset, finished.added_to
    if finished.trained.tuned is None:
        taps, matrix = _of_frozen(dataset, plan, finished.head_taps)
    else:
        dataset, taps, matrix = _of_tuned(finished, plan, folder, context)
    its = dataset.folder
    prints = [dataset.features.prints[dataset.features.rows[row]] for row in dataset.rows]
    write_kept(
        folder,
        Kept(
            matrix=matrix.astype(HALF),
            contents=tuple(dataset.contents),
            prints=tuple(prints),
            labels=its.labels,
            splits=its.splits,
            groups=tuple(_kept_group(name) for name in its.groups) or ("",) * len(its.files),
            names=tuple(plain_name(file.removeprefix(f"{bundle}/") if bundle else file) for file in its.files),
            facts=KeptFacts(taps, its.table is None, dataset.own_validation, dataset.own_test),
        ),
    )


def _kept_group(name: str) -> str:
    return name.removeprefix(KEPT_GROUP) if name.startswith(KEPT_GROUP) else group_digest(name)


def _of_frozen(dataset: Dataset, plan: Plan, head_taps: tuple[str, ...]) -> tuple[Taps, NDArray[np.float32]]:
    """Return the blocks that a frozen network's head and its statistics need, as the bundle's network names them."""
    taps = dataset.features.taps
    names = {*head_taps, *ood_taps(taps, head_taps)}
    cut = plan.boundary if plan.strategy == EARLY and TOP not in head_taps else None
    if cut is None:
        names.add(TOP)
    # a network that was cut ends at its last stage
    kept = tuple((TOP if name == cut else name, width) for name, width in taps if name in names)
    matrix = dataset.features.matrix[list(dataset.rows)]
    return kept, matrix[:, columns_of(taps, list(names))]


def _of_tuned(
    finished: Finished, plan: Plan, folder: Path, context: Context
) -> tuple[Dataset, Taps, NDArray[np.float32]]:
    """Compute the features of all images with the tuned network; an image that is gone by now is left out."""
    from tlkit.api.train.dataset import stored_features
    from tlkit.store.disk_matrix import in_memory

    dataset = finished.dataset
    extractor, head_taps = network_extractor(folder / MODEL, plan, own=plan.backbone_file is not None)
    names = {*head_taps, *ood_taps(extractor.taps, head_taps), TOP}
    found = stored_features(dataset.folder.paths, extractor, context, taps=list(names))
    whole = replace(
        dataset, features=replace(found, reused=dataset.features.reused), rows=tuple(range(len(found.rows)))
    )
    if found.errors:
        its = list(found.rows)
        whole = replace(whole, folder=dataset.folder.keep(its), group_of=tuple(dataset.group_of[i] for i in its))
    return whole, found.taps, in_memory(found.matrix)
