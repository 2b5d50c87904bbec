"""Drafting a suite from data: the task of its rows, the samples to take, the margins to write.

Values in, values out: files are read by `deltareg.client.drafting`, and networks are run by the
worker's code.
"""
