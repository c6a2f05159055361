"""`hr doctor`: everything that can be wrong, looked at live, each with its cure.

Looking and judging are apart: a module an area, a function a check, a row of `table.py` each.
"""
