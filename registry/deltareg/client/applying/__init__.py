"""A folder that declares access, suites and policies: read it, compare it with a registry, apply it.

`declared` reads the folder without a server; `comparing` compares it with a registry and changes
nothing there; `carrying_out` makes the registry match the folder. All take a client.

    access.yaml                          groups, roles, services, who holds what everywhere
    namespaces/NS.yaml                   visibility, members, roles and webhooks of a namespace
    policies/server.yaml                 what the server asks of every channel
    policies/NS/namespace.yaml           what a namespace asks of its channels
    policies/NS/NAME/CHANNEL.yaml        what one channel asks
    suites/**/*.yaml                     suites, with the files of their samples beside them
"""
