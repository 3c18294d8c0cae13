"""Copy, move and link files by a journal, so that it can be taken back."""
