"""A document as Markdown, LaTeX, HTML, CSV or Parquet."""
