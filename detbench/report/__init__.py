"""Finished runs → tables, breakdowns, plots and a page."""
