"""Drawing a scene with matplotlib: its `Figure` and its canvases, never pyplot, which keeps state.

Only what is imported late imports this package: matplotlib takes half a second to load, and is an extra.
"""
