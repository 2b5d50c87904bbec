"""Drawing for people: numbers in words, plots, and pages of HTML.

Templates lie in `templates/`; `rendering` fills them and escapes the values.
"""
