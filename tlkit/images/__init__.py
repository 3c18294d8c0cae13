"""Files to arrays: reading pictures, class folders, splits, batches."""
