"""Reports as files for CI and people: the outcome of a gate or a verification, and differences.

`gather` asks the registry and returns facts; `junit`, `markdown`, `document` and `html` write the
same facts in four forms, each a function from facts to text; `writing` puts them into files.
"""

ROOM = "deltareg.client.report_files"  # whose templates the pages are made of
