"""The registry in a browser: a page a file, its template beside it in `templates/`.

A page asks the same use cases as the API and draws what they answer; it has no rules of its own.
Each is whole without scripts, has its state in its address, and is JSON with `?format=json`.
"""
