"""The Plan of a training run and its Recipe, as plain records that import almost nothing."""
