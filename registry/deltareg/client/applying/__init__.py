"""A folder that says which suites there are and what is asked: read, compared, brought over.

`declared` reads a folder and asks nobody; `comparing` compares it with a registry, which it changes
nothing of; `carrying_out` makes the registry what the folder says. All take a client.

    policies/server.yaml                 what the server asks of every channel
    policies/NS/namespace.yaml           what a namespace asks of its channels
    policies/NS/NAME/CHANNEL.yaml        what one channel asks
    suites/**/*.yaml                     suites, with the files of their samples beside them
"""
