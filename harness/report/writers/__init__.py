"""Writers of Markdown, LaTeX, HTML, CSV and Parquet."""
