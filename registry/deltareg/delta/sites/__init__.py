"""Where adapters and prefixes are inserted: sublayers of transformer layers, as data by model type."""

from deltareg.delta.sites.sites import Layer, Sites, Sublayer, sites_of

__all__ = ["Layer", "Sites", "Sublayer", "sites_of"]
