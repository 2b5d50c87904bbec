"""The verification worker: applies deltas to their bases in a sandboxed child and judges them.

The supervisor (`worker`) holds the token and talks to the registry; the zygote (`zygote_process`)
has torch imported and forks one child per run; the child (`child`) touches tenant bytes without
credentials and network. Only `torch_engine` imports torch.
"""
