"""What a run does, as plain records that import almost nothing: the Plan and its Recipe."""
