"""Run directories → tables, plots and a page."""
