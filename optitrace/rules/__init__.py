"""The update rules of optimizers, and the catalogue of their names.

Nothing here imports torch, so that help, lists and completion stay instant. A rule runs on whatever
it is given: Python floats, torch tensors of any dtype, or tensors of a whole batch of settings.
"""
