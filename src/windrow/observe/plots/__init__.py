"""The plots of the dashboard's pages: what each is made of, how it is drawn, and which page has which.

What lives here: one module a family of plots, whose functions turn facts into columns and are pure; `catalogue`, the
table of all plots and pages; `draw`, the only one that knows Bokeh. What this package must never know: HTTP, sessions,
and where facts come from.
"""
