"""OpenID Connect, as a registry uses it: who somebody is, as a provider says it.

This room talks to providers and checks what they say. It knows no tables and no principals. The
protocol is Authlib's, the signatures are joserfc's; nobody else imports them. They are loaded with
the first provider: a registry without one never waits for them.
"""
