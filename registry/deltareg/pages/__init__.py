"""The registry in a browser: one file per page, its template beside it in `templates/`.

A page calls the same use cases as the API and draws their answers; it has no rules of its own.
Each page works without scripts, has its state in its address, and is JSON with `?format=json`.
"""
