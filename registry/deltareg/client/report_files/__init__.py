"""Reports as files: what a gate or a verification came to, and what differs, for CI and people.

`gather` asks the registry and gives facts; `junit`, `markdown`, `document` and `html` write the
same facts in four forms, each a function from facts to text; `writing` puts them into files.
"""

ROOM = "deltareg.client.report_files"  # whose templates the pages are made of
