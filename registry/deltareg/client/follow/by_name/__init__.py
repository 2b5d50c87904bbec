"""Versions that a serving engine asks for by name, one at a time, as its clients ask for them.

An agent decides what an engine serves; here the engine's clients do, by names that mean one version
for good. What is found is checked as an agent checks it, and looked after for as long as the engine
has it: its folder, its revocation, the room that all of them take.
"""
