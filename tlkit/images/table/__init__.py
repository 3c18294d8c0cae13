"""Labels from a table: which file is which class, as CSV, TSV or JSON Lines."""
