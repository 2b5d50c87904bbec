"""How much a question to versions may hold, for who asks before there is a message."""

from typing import Final

PROMPT_MOST: Final = 8_000
TOKENS_MOST: Final = 256
SIDES_MOST: Final = 3
