"""Heads solved in passes over features on disk: the same head as in memory."""

from __future__ import annotations

import numpy as np
import pytest

from tlkit.errors import TlkitError
from tlkit.linear import head as heads
from tlkit.linear import streamed
from tlkit.linear.head import Head, best_grid_point, solve_head
from tlkit.linear.label_issues import probe_probabilities
from tlkit.linear.ood import fit_ood
from tlkit.store.disk_matrix import DiskMatrix, in_parts


def blobs(classes: int, count: int, width: int = 12) -> tuple[np.ndarray, list[int]]:
    rng = np.random.default_rng(0)
    labels = np.minimum(*rng.integers(0, classes, (2, count)))  # uneven, so that balancing matters
    spread = np.linspace(0.3, 3, width)
    rows = (rng.normal(size=(classes, width))[labels] + rng.normal(size=(count, width))) * spread
    return rows.astype(np.float16).astype(np.float32), labels.tolist()


def on_disk(features: np.ndarray) -> DiskMatrix:
    matrix = DiskMatrix(*features.shape)
    for row, vector in enumerate(features):
        matrix[row] = vector
    return matrix


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("balanced", [False, True])
def test_the_head_from_disk_is_the_head_in_memory(
    classes: int, balanced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamed, "FEWEST_FIRST", 50)  # so that some rows are solved first
    features, labels = blobs(classes, 200)
    asked = {"balanced": balanced, "blocks": (4, 8), "c": 0.1}
    expected = solve_head(features, labels, classes, **asked)
    found = solve_head(on_disk(features), labels, classes, **asked)
    np.testing.assert_allclose(found.probabilities(features), expected.probabilities(features), atol=3e-3)
    np.testing.assert_allclose(found.probabilities(on_disk(features)), found.probabilities(features), atol=1e-6)


def test_features_that_do_not_fit_are_solved_in_passes_which_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = blobs(3, 200)
    expected = solve_head(features, labels, 3)
    monkeypatch.setattr(heads, "ALWAYS", 0)
    monkeypatch.setenv("TLKIT_MEMORY", "10KB")
    notes: list[str] = []

    class Noting(heads.SilentProgress):
        def note(self, message: str) -> None:
            notes.append(message)

    monkeypatch.setattr(heads, "_solver", None)  # scikit-learn's, for the final head
    found = solve_head(features, labels, 3, c=expected.c)
    np.testing.assert_allclose(found.probabilities(features), expected.probabilities(features), atol=3e-3)
    monkeypatch.undo()
    monkeypatch.setattr(heads, "ALWAYS", 0)
    monkeypatch.setenv("TLKIT_MEMORY", "10KB")
    assert solve_head(features, labels, 3, progress=Noting()).search == expected.search
    assert notes == [
        "the head is solved in passes over the features: in memory it would take 1 MB, and 1 MB may be used"
    ]


def test_everything_else_reads_features_from_disk() -> None:
    features, labels = blobs(3, 120)
    stored = on_disk(features)
    point, other = best_grid_point(features, labels), best_grid_point(stored, labels)
    assert point is not None
    assert other is not None
    assert (point.c, round(point.log_loss, 4)) == (other.c, round(other.log_loss, 4))
    mine, theirs = fit_ood(features, labels, ()), fit_ood(stored, labels, ())
    assert mine is not None
    assert theirs is not None
    np.testing.assert_allclose(mine.measures(features), theirs.measures(stored))
    groups = list(range(120))
    in_memory, read = (probe_probabilities(each, labels, groups, 0) for each in (features, stored))
    assert in_memory is not None
    assert read is not None
    assert (in_memory.argmax(1) == read.argmax(1)).mean() > 0.95


def test_parts_of_a_matrix_on_disk_are_those_of_an_array() -> None:
    array = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float16).astype(np.float32)
    matrix = on_disk(array)
    some, few = [40, 3, 3, 17], [4, 1]
    np.testing.assert_array_equal(matrix.part(some, few)[:], array[some][:, few])
    np.testing.assert_array_equal(matrix.part(some).part([1, 2])[-1], array[3])
    np.testing.assert_array_equal(matrix.changed(np.abs).part([5], [2])[:], np.abs(array[[5]][:, [2]]))
    assert matrix[[]].shape == (0, 6)
    np.testing.assert_array_equal(np.concatenate([rows for _, rows in in_parts(matrix, 7)]), array)


def test_a_full_disk_is_found_out_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> object:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tlkit.store.disk_matrix._unnamed", full)
    with pytest.raises(TlkitError, match=r"no room on the disk for the features, 5\.1 GB: No space left"):
        DiskMatrix(2_000_000, 1280)


def test_a_head_without_rows_has_no_probabilities() -> None:
    head = Head(np.zeros((6, 2), np.float32), np.zeros(2, np.float32), 1.0, ())
    assert head.probabilities(DiskMatrix(0, 6)).shape == (0, 2)
