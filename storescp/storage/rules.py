"""Rules: how a directory is written to."""

import attrs
from attrs.validators import ge, in_

from storescp.config import DURABILITIES, ON_DUPLICATE


@attrs.frozen(kw_only=True)
class Rules:
    """How a directory is written to. ValueError for what is no rule.

    `durability` says what Success waits for: "full", the file and its name are on the disk; "file", only its
    content; "none", neither. `on_duplicate` says what becomes of another content under a UID that is here
    already: "keep" both, "reject" it with 0111H, "overwrite" the older one. With fewer than `min_free` bytes
    free on the file system an instance is refused with A700H.
    """

    durability: str = attrs.field(default="full", validator=in_(DURABILITIES))
    on_duplicate: str = attrs.field(default="keep", validator=in_(ON_DUPLICATE))
    min_free: int = attrs.field(default=0, validator=ge(0))

    @property
    def syncs_files(self) -> bool:
        return self.durability != "none"

    @property
    def syncs_directory(self) -> bool:
        return self.durability == "full"
