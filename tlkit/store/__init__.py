"""All that is kept on disk between runs, by image content: features, decoded images, and the bound on their size."""
