"""The face of the library: a model, and the case that it makes of a study.

``import mose_med`` has its names. Nothing of the library imports it; the programs go through the same objects.
"""
