"""Files to arrays: reading images, class folders, splits, batches."""
