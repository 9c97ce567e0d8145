"""The same work on windrow and on its peers, side by side in one run: ``python -m benchmarks``.

What lives here: the work, an adapter a system, the cases with their budgets, and the table that they fill. What this
package must never know: windrow's insides; it uses what a user can use, so that each system is measured alike.
"""
