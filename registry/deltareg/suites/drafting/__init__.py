"""Drafting a suite from somebody's data: what its rows are, which to take, what margins to write.

Values in, values out: files are read by `deltareg.client.drafting`, and networks are run by the
worker's code.
"""
