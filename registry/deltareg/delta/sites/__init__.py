"""Where adapters and prefixes go in: the sublayers of transformer layers, as data by model type."""

from deltareg.delta.sites.sites import Layer, Sites, Sublayer, sites_of

__all__ = ["Layer", "Sites", "Sublayer", "sites_of"]
