"""How the adapters library (AdapterHub) lays a delta out on disk: config, tensor names, heads.

No code of the library is run. A delta names modules by the paths of the library's own patched
network; they are found in the base by their layer and by their role within it. Poth et al. 2023,
arXiv 2311.11077.
"""
