"""The one place that reads bytes from strangers: plain files, within limits, and without running anything.

Each module reads one kind of file. Whatever is wrong with its content is reported as an `InputError` of one
line. `tests/project/test_untrusted.py` finds code outside that reads such files by itself.
"""
