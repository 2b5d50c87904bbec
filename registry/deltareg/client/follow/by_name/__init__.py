"""Serves versions by name: an engine asks for one at a time, as its clients ask for them.

With an agent, the agent decides what an engine serves; here the engine's clients do, by names that
mean one version for good. Each version is checked as an agent checks it. As long as the engine has
it, its folder, its revocation and the space that all of them take are watched.
"""
