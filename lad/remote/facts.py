"""What is known of a file at a URL without its content."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lad.files import fingerprint

MD5 = re.compile(r"[0-9a-f]{32}")
OF_CONTENT = re.compile(r"[0-9a-f]{32}(-[0-9]+)?")  # an MD5, or S3's of an upload in parts


@dataclass(frozen=True)
class Facts:
    """What a server says of a file without sending it.

    Attributes:
        size: bytes; None: it does not say.
        etag: its name for this content, without quotes; empty: it has none.
        modified: when the file was changed, as the server writes it; empty: it does not say.
        sha256: of the content, where the server says too little and it was downloaded to be hashed.
    """

    size: int | None = None
    etag: str = ""
    modified: str = ""
    sha256: str = ""

    def identity(self, key: str) -> str | None:
        """A hash that changes with the content, as far as the server's word goes; None: it says too little.

        Two files have the same one only where the server's word is made of their content alone.

        Args:
            key: `Url.key` of the file.
        """
        if self.sha256:
            return self.sha256
        if OF_CONTENT.fullmatch(self.etag):
            return fingerprint(["etag", self.etag, self.size])
        if self.etag:  # often made of time and size
            return fingerprint(["etag", self.etag, self.size, key])
        if self.modified and self.size is not None:
            return fingerprint(["modified", self.modified, self.size, key])
        return None

    @property
    def may_be_md5(self) -> bool:
        """Whether `etag` looks like the MD5 of the content."""
        return MD5.fullmatch(self.etag) is not None
